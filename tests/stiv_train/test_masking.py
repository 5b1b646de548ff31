"""Which tokens stay: how many, in order, evenly."""

import numpy as np
import pytest
import torch

from stiv_train.masking import keep_tokens, tokens_kept


@pytest.mark.parametrize(
    ("tokens", "share", "kept"), [(16, 0.5, 8), (16, 0.0, 16), (7, 0.5, 3), (1, 0.5, 1), (1, 0.9, 1), (10, 0.25, 8)]
)
def test_a_share_keeps_a_fixed_number(tokens: int, share: float, kept: int) -> None:
    assert tokens_kept(tokens, share) == kept
    ids = keep_tokens(tokens, share, np.random.default_rng(0))
    assert ids.shape == (kept,)
    assert ids.dtype == torch.int64


def test_ids_ascend_without_repeats_and_nothing_dropped_is_all() -> None:
    generator = np.random.default_rng(1)
    for _ in range(50):
        ids = keep_tokens(64, 0.5, generator)
        assert bool((ids.diff() > 0).all())
        assert ids.min() >= 0
        assert ids.max() < 64
    assert torch.equal(keep_tokens(64, 0.0, generator), torch.arange(64))


def test_every_token_stays_equally_often() -> None:
    generator = np.random.default_rng(2)
    counts = torch.zeros(16)
    for _ in range(2000):
        counts[keep_tokens(16, 0.75, generator)] += 1
    # Binomial with p = 1/4: standard deviation 0.0097.
    assert (counts / 2000 - 0.25).abs().max() < 0.045
