"""The small text encoder: tokens, padding, order, and that it learns."""

import hashlib

import pytest
import torch

from models.text.make import make_text
from models.text.small import SmallText, token_codes
from models.text.tokens import END, VOCABULARY, masked_mean, until_end
from schemas.train_recipe import Text

torch.set_num_threads(1)
CAPTIONS = ["A red circle moves to the left.", "", "a blue square!"]


def small(depth: int = 2, width: int = 64, max_tokens: int = 24, seed: int = 0) -> SmallText:
    torch.manual_seed(seed)
    made = make_text(Text(width=width, depth=depth, max_tokens=max_tokens))
    assert isinstance(made, SmallText)
    return made


def test_tokens_are_those_of_open_clip() -> None:
    import open_clip

    ids = small().tokenize(CAPTIONS)
    assert ids.shape == (3, 24)
    assert ids.dtype == torch.int64
    assert torch.equal(ids, open_clip.get_tokenizer("ViT-L-14", context_length=24)(CAPTIONS))
    assert ids[1].tolist() == [END - 1, END] + [0] * 22


def test_a_long_caption_is_cut_and_keeps_its_end() -> None:
    ids = small(max_tokens=6).tokenize(["one two three four five six seven eight", "one"])
    assert ids.shape == (2, 6)
    assert ids[0, -1] == END
    assert int((ids[0] == END).sum()) == 1
    condition = small(max_tokens=6).encode(ids)
    assert condition.mask.tolist() == [[True] * 6, [True] * 3 + [False] * 3]


def test_mask_marks_all_up_to_the_end_even_where_an_id_is_zero() -> None:
    encoder = small()
    ids = encoder.tokenize(["!% more", "", "a b c d"])
    assert ids[0, 1] == 0  # "!" before another sign has the id of padding
    end, mask = until_end(ids)
    assert mask.shape[1] == int(end.max()) + 1 < 24
    assert torch.equal(mask.sum(1), end + 1)
    assert torch.equal(ids[torch.arange(3), end], torch.full((3,), END))
    assert bool(mask.any(1).all())


def test_condition_has_the_contract_s_shapes() -> None:
    encoder = small()
    condition = encoder.encode(encoder.tokenize(CAPTIONS))
    assert (encoder.width, encoder.max_tokens, encoder.trained) == (64, 24, True)
    longest = condition.mask.shape[1]
    assert condition.tokens.shape == (3, longest, 64)
    assert condition.pooled.shape == (3, 64)
    for row in range(3):
        last = int(condition.mask[row].sum()) - 1
        assert torch.equal(condition.pooled[row], condition.tokens[row, last])


def test_neighbours_in_the_batch_change_nothing() -> None:
    encoder = small()
    together = encoder.encode(encoder.tokenize(CAPTIONS))
    for row, caption in enumerate(CAPTIONS):
        alone = encoder.encode(encoder.tokenize([caption]))
        length = alone.tokens.shape[1]
        assert bool(alone.mask.all())
        assert torch.allclose(alone.tokens[0], together.tokens[row, :length], atol=1e-5)
        assert torch.allclose(alone.pooled[0], together.pooled[row], atol=1e-5)


def test_pooled_knows_words_and_their_order() -> None:
    encoder = small()
    pooled = encoder.encode(
        encoder.tokenize(["red left of blue", "blue left of red", "red left of green"])
    ).pooled.detach()
    assert float((pooled[0] - pooled[1]).norm()) > 0.1
    assert float((pooled[0] - pooled[2]).norm()) > 0.1


def test_tokens_do_not_see_what_follows() -> None:
    encoder = small()
    tokens = encoder.encode(encoder.tokenize(["a red circle", "a red square"])).tokens.detach()
    assert torch.allclose(tokens[0, :3], tokens[1, :3], atol=1e-6)
    assert float((tokens[0, 3] - tokens[1, 3]).norm()) > 0.1


def test_without_layers_pooled_is_the_mean() -> None:
    encoder = small(depth=0)
    condition = encoder.encode(encoder.tokenize(CAPTIONS))
    assert torch.equal(condition.pooled, masked_mean(condition.tokens, condition.mask))
    first = int(condition.mask[1].sum())
    assert torch.allclose(condition.pooled[1], condition.tokens[1, :first].mean(0), atol=1e-6)


def test_codes_are_distinct_balanced_and_the_same_for_ever() -> None:
    codes = token_codes(torch.device("cpu"))
    assert codes.shape == (VOCABULARY, 256)
    assert set(codes.unique().tolist()) == {-1, 1}
    assert len({row.tobytes() for row in codes.numpy()}) == VOCABULARY
    assert abs(float(codes.float().mean())) < 1e-3
    some = codes[torch.randperm(VOCABULARY, generator=torch.Generator().manual_seed(0))[:2000]].float()
    likeness = (some @ some.T).fill_diagonal_(0).abs().max() / 256
    assert float(likeness) < 0.5
    # A trained encoder is of no use with other codes, so this value must never change.
    assert hashlib.sha256(codes.numpy().tobytes()).hexdigest()[:16] == "903d1f6e4661c597"


def test_weights_follow_the_seed_and_codes_are_not_saved() -> None:
    first, same, other = small(), small(), small(seed=1)
    state = first.state_dict()
    assert all(torch.equal(value, same.state_dict()[key]) for key, value in state.items())
    assert not torch.equal(state["position"], other.state_dict()["position"])
    ids = first.tokenize(CAPTIONS)
    other.load_state_dict(state)
    assert torch.equal(other.encode(ids).tokens, first.encode(ids).tokens)
    count = sum(p.numel() for p in first.parameters())
    assert count == sum(value.numel() for value in state.values())
    assert count < 200_000
    assert not list(first.buffers())


@pytest.mark.parametrize("depth", [0, 2])
def test_every_parameter_gets_a_gradient(depth: int) -> None:
    encoder = small(depth=depth)
    condition = encoder(encoder.tokenize(CAPTIONS))
    (condition.tokens.square().sum() + condition.pooled.sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name


def test_the_stream_starts_at_about_unit_variance() -> None:
    encoder = small(width=128)
    ids = encoder.tokenize(CAPTIONS)
    embedded = encoder.embed(token_codes(ids.device)[ids[0, :8]].float())
    assert 0.3 < float(embedded.detach().var()) < 1.5
    tokens = encoder.encode(ids).tokens
    assert float(tokens.detach().var()) == pytest.approx(1, abs=0.05)


def test_it_learns_what_captions_say() -> None:
    colours, directions = ["red", "green", "blue"], ["left", "right", "up", "down"]
    pairs = [(c, d) for c in range(3) for d in range(4)]
    encoder = small()
    head = torch.nn.Linear(64, 7)
    ids = encoder.tokenize([f"A {colours[c]} circle moves {directions[d]}." for c, d in pairs])
    truth = torch.tensor(pairs)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(25):
        answer = head(encoder.encode(ids).pooled)
        loss = torch.nn.functional.cross_entropy(answer[:, :3], truth[:, 0])
        loss = loss + torch.nn.functional.cross_entropy(answer[:, 3:], truth[:, 1])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert bool((answer[:, :3].argmax(1) == truth[:, 0]).all())
    assert bool((answer[:, 3:].argmax(1) == truth[:, 1]).all())


def test_an_empty_batch_of_captions() -> None:
    encoder = small()
    ids = encoder.tokenize([])
    assert ids.shape == (0, 24)
    condition = encoder.encode(ids)
    assert condition.tokens.shape == (0, 1, 64)
    assert condition.pooled.shape == (0, 64)
