"""Which sources are held out for validation."""

import numpy as np
import pyarrow as pa

from stiv_train.data.holdout import components, hold_out, units


def names(count: int, prefix: str = "n") -> pa.Array:
    return pa.array([f"{prefix}{i}" for i in range(count)])


def test_about_the_share_of_the_sources() -> None:
    held = hold_out(names(20_000), 0.1)
    assert 0.09 < held.mean() < 0.11
    assert not hold_out(names(100), 0.0).any()
    assert hold_out(names(0), 0.5).shape == (0,)


def test_a_source_stays_on_its_side_when_others_come() -> None:
    few = hold_out(names(500), 0.1)
    many = hold_out(pa.concat_arrays([names(500, "m"), names(500)]), 0.1)
    assert few.any()
    assert (many[500:] == few).all()


def test_a_larger_share_holds_out_more_of_the_same() -> None:
    small, large = hold_out(names(500), 0.1), hold_out(names(500), 0.3)
    assert (large[small]).all()
    assert large.sum() > small.sum()


def test_at_least_one_of_two_groups_and_never_the_only_one() -> None:
    for count in (2, 3, 10):
        assert hold_out(names(count), 1e-12).sum() == 1
    assert not hold_out(names(1), 0.99).any()
    assert not hold_out(pa.array(["a", "a", "a"]), 0.99).any()


def test_equal_content_is_on_one_side() -> None:
    doubled = pa.concat_arrays([names(300), names(300)])
    held = hold_out(doubled, 0.2)
    assert (held[:300] == held[300:]).all()


def test_clusters_join_groups_under_the_first_name() -> None:
    # a–b by cluster 1, b–c by cluster 2; d alone; NULL joins nothing.
    keys = pa.array(["a", "b", "b", "c", "d", "e"])
    clusters = pa.array([1, 1, 2, 2, None, None])
    for share in (0.05, 0.3, 0.6, 0.9):
        held = hold_out(keys, share, [clusters])
        assert len(set(held[:4])) == 1
        assert held.any()
    alone = units(pa.array(["a", "d", "e"]))
    share = float(np.sort(alone)[1]) + 1e-9
    assert hold_out(keys, share, [clusters]).tolist() == [(alone[i] < share) for i in (0, 0, 0, 0, 1, 2)]


def test_components_follow_long_chains() -> None:
    n = 50
    one, other = np.arange(n) // 2, (np.arange(n) + 1) // 2
    start = np.random.default_rng(0).permutation(n)
    assert (components(start, [one, other]) == 0).all()
    assert (components(start, [np.arange(n)]) == start).all()


def test_units_are_spread_and_known() -> None:
    found = units(names(10_000))
    assert found.min() >= 0
    assert found.max() < 1
    assert np.abs(np.histogram(found, 10, (0, 1))[0] / 1000 - 1).max() < 0.15
    # Of the text alone, in every run and version: other numbers would move sources between training and validation.
    import hashlib

    digest = hashlib.md5(b"held out for validation:n7").digest()
    assert found[7] in {
        (int.from_bytes(half, order) >> 11) / 2**53 for half in (digest[:8], digest[8:]) for order in ("little", "big")
    }
