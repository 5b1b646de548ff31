"""The average of weights against its formula, its exact return and its saving."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from schemas.errors import UsageError
from stiv_train.ema import Ema


def module(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def stir(net: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn(p.shape, generator=generator))


@pytest.mark.parametrize("decay", [0.0, 0.15, 0.9999])
def test_the_average_follows_its_formula(decay: float) -> None:
    net = module()
    ema = Ema(net, decay)
    wanted = {name: p.detach().double().clone() for name, p in net.named_parameters()}
    for n in range(12):
        stir(net, n)
        ema.update(net)
        now = min(decay, (1 + n) / (10 + n))
        for name, p in net.named_parameters():
            wanted[name] = now * wanted[name] + (1 - now) * p.detach().double()
    for name, shadow in ema.state_dict().items():
        torch.testing.assert_close(shadow.double(), wanted[name], rtol=1e-5, atol=1e-6)
    assert ema.updates == 12


def test_decay_rises_to_its_value() -> None:
    ema = Ema(module(), 0.999)
    assert ema.decay_now() == pytest.approx(0.1)
    ema.updates = 10_000
    assert ema.decay_now() == 0.999


def test_the_average_is_its_own_memory_in_float32() -> None:
    net = module().bfloat16()
    ema = Ema(net, 0.5)
    before = {name: t.clone() for name, t in ema.state_dict().items()}
    stir(net, 1)
    assert all(torch.equal(before[name], t) for name, t in ema.state_dict().items())
    assert {t.dtype for t in before.values()} == {torch.float32}
    ema.update(net)
    assert not torch.equal(before["0.weight"], ema.state_dict()["0.weight"])


def test_frozen_parameters_are_left_out() -> None:
    net = module()
    net[0].requires_grad_(False)  # type: ignore[index]
    assert set(Ema(net, 0.9).state_dict()) == {"1.weight", "1.bias", "2.weight", "2.bias"}


def test_within_applied_the_module_is_the_average_and_then_itself() -> None:
    net = module()
    ema = Ema(net, 0.5)
    stir(net, 1)
    ema.update(net)
    own = copy.deepcopy(net.state_dict())

    def look() -> None:
        with ema.applied(net):
            for name, p in net.named_parameters():
                assert torch.equal(p, ema.state_dict()[name])
                assert not torch.equal(p, own[name])
            raise RuntimeError("as when sampling fails")

    with pytest.raises(RuntimeError, match="sampling"):
        look()
    assert all(torch.equal(own[name], t) for name, t in net.state_dict().items())
    assert all(p.requires_grad for p in net.parameters())


def test_saved_and_loaded_it_goes_on_bit_for_bit(tmp_path: Path) -> None:
    net = module()
    straight = Ema(net, 0.99)
    for n in range(3):
        stir(net, n)
        straight.update(net)
    save_file(straight.state_dict(), tmp_path / "ema.safetensors")
    resumed = Ema(module(5), 0.99)
    resumed.load(load_file(tmp_path / "ema.safetensors"), straight.updates)
    stir(net, 9)
    straight.update(net)
    resumed.update(net)
    assert all(torch.equal(resumed.state_dict()[name], t) for name, t in straight.state_dict().items())
    assert resumed.updates == 4


def test_another_models_average_is_refused() -> None:
    ema = Ema(module(), 0.99)
    tensors = ema.state_dict()
    with pytest.raises(UsageError, match=r"2\.bias differs"):
        ema.load({name: t for name, t in tensors.items() if name != "2.bias"}, 1)
    with pytest.raises(UsageError, match=r"0\.weight differs.*recipe"):
        ema.load({**tensors, "0.weight": torch.zeros(5, 3)}, 1)
