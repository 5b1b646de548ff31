"""Memory is foreseen within a factor of two, and what cannot fit is refused."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from curation.corpus import Corpus
from models.stiv.config import STIVConfig
from models.stiv.counting import count_parameters
from models.stiv.network import STIV
from models.text.contract import TextCondition
from schemas.errors import UsageError
from schemas.train_recipe import TrainRecipe
from stiv_train import memory
from stiv_train.distributed import World
from stiv_train.ema import Ema
from stiv_train.masking import keep_tokens
from stiv_train.optim import make_optimiser
from stiv_train.parallelize import ATTENTION, recompute

CPU = World(torch.device("cpu"))


def recipe(**train: object) -> TrainRecipe:
    return TrainRecipe.model_validate(
        {
            "data": {"buckets": [{"frames": 8, "height": 128, "width": 128}]},
            "conditioning": {"token_drop": 0.5},
            "train": {"precision": "fp32", "batch": 2, **train},
        }
    )


def kept_bytes(config: STIVConfig, settings: TrainRecipe, batch: int, size: tuple[int, int, int]) -> int:
    """What autograd keeps between a forward and a backward pass: storages behind saved tensors, parameters left out."""
    network = STIV(config)
    for block in (*network.blocks, *network.tail):
        if settings.train.checkpointing != "none":
            recompute(block, keep_attention=False)
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    seen: dict[int, torch.UntypedStorage] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage
        return x

    tokens = network.spatial_tokens(*size[1:])
    keep = torch.stack([keep_tokens(tokens, 0.5, np.random.default_rng(n)) for n in range(batch)])
    text = TextCondition(
        torch.randn(batch, 8, config.text_width), torch.randn(batch, config.text_width), torch.ones(batch, 8).bool()
    )
    precision = torch.autocast("cpu", torch.bfloat16, enabled=settings.train.precision == "bf16")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x), precision:
        x = torch.randn(batch, config.channels, *size)
        network(x, torch.rand(batch), text, torch.rand(batch, 6), keep).square().mean()
    return sum(storage.nbytes() for storage in seen.values())


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
@pytest.mark.parametrize(
    ("precision", "checkpointing", "attention"),
    [
        ("fp32", "none", "factorized"),
        ("bf16", "none", "factorized"),
        ("fp32", "none", "full"),
        ("fp32", "full", "factorized"),
    ],
)
def test_activations_are_foreseen(precision: str, checkpointing: str, attention: str) -> None:
    config = STIVConfig(width=192, depth=6, channels=16, text_width=64, mask_blocks=1, attention=attention)
    settings = recipe(precision=precision, checkpointing=checkpointing)
    size = (8, 16, 16)
    kept = kept_bytes(config, settings, 2, size)
    foreseen = 2 * memory.activations(config, settings, size)
    if checkpointing == "full":  # and, in the backward pass, one block in full
        kept += 2 * 182 * 192 * 4 * 64
    assert kept / 2 < foreseen < 2 * kept, (kept, foreseen)


class _Count(TorchDispatchMode):
    """Counts attentions, by whether keys are as many as queries."""

    def __init__(self) -> None:
        super().__init__()
        self.own = self.cross = 0

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if op in ATTENTION:
            own = args[0].shape == args[1].shape
            self.own, self.cross = self.own + own, self.cross + (not own)
        return op(*args, **(kwargs or {}))


@pytest.mark.parametrize(("checkpointing", "own", "cross"), [("none", 2, 1), ("attention", 2, 2), ("full", 4, 2)])
def test_checkpointing_computes_again_what_it_says(checkpointing: str, own: int, cross: int) -> None:
    config = STIVConfig(width=64, depth=1, channels=4, text_width=64, mask_blocks=0)
    network = STIV(config)
    if checkpointing != "none":
        recompute(network.blocks[0], keep_attention=checkpointing == "attention")
    text = TextCondition(torch.randn(1, 5, 64), torch.randn(1, 64), torch.ones(1, 5).bool())
    with _Count() as count:
        network(torch.randn(1, 4, 4, 4, 4), torch.rand(1), text, torch.rand(1, 6)).sum().backward()
    assert (count.own, count.cross) == (own, cross), "spatial and temporal attention, then attention to the text"


@pytest.mark.parametrize("kind", ["adamw", "adafactor"])
def test_state_is_foreseen(kind: str) -> None:
    settings = recipe().model_copy(update={"optim": recipe().optim.model_copy(update={"kind": kind})})
    config = STIVConfig(width=128, depth=2, channels=16, text_width=64)
    network = STIV(config)
    ema = Ema(network, 0.9)
    optimiser = make_optimiser(network.parameters(), settings.optim)
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    optimiser.step()
    parameters = list(network.parameters())
    found = memory.foresee(
        config, settings, CPU, parameters=count_parameters(config)["total"], latent_sizes=[(8, 16, 16)]
    )
    assert found.weights == sum(p.nbytes for p in parameters)
    assert found.gradients == sum(p.grad.nbytes for p in parameters if p.grad is not None)
    assert found.average == sum(t.nbytes for t in ema.state_dict().values())
    held = sum(t.nbytes for state in optimiser.state.values() for t in state.values() if isinstance(t, torch.Tensor))
    assert math.isclose(found.optimiser, held, rel_tol=0.1)


_PEAK = """
import json, resource, sys
import psutil, torch
from schemas.train_recipe import TrainRecipe
from stiv_train import memory
from stiv_train.loop import train
torch.set_num_threads(1)
before = {}
def check(foreseen, available, where):
    before.update(foreseen=foreseen.total, used=psutil.Process().memory_info().rss)
memory.check = check
corpus, out, recipe = sys.argv[1:]
train(corpus, TrainRecipe.model_validate_json(recipe), out)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([before["foreseen"], peak - before["used"]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("checkpointing", "kind"), [("none", "adamw"), ("full", "adafactor")])
def test_the_whole_is_foreseen(
    shapes_corpus: Corpus, tiny_recipe: Callable[..., TrainRecipe], tmp_path: Path, checkpointing: str, kind: str
) -> None:
    settings = {
        **{"data.buckets": [{"frames": 4, "height": 128, "width": 128}], "model.width": 384, "model.depth": 6},
        **{"train.steps": 2, "train.batch": 6, "train.checkpointing": checkpointing, "optim.kind": kind},
        **{"conditioning.token_drop": 0.0, "sampling.steps": 1},
    }
    arguments = [shapes_corpus.store.uri, str(tmp_path / "run"), tiny_recipe(settings).model_dump_json()]
    done = subprocess.run([sys.executable, "-c", _PEAK, *arguments], capture_output=True, text=True, check=True)
    foreseen, grown = json.loads(done.stdout.splitlines()[-1])
    assert grown / 2 < foreseen < 2 * grown, (foreseen / 2**20, grown / 2**20)


def test_pieces_sharding_and_checkpointing_lower_it() -> None:
    config = STIVConfig(width=384, depth=12, channels=16, text_width=64)
    sizes = [(8, 16, 16)]

    def foresee(world: World = CPU, **train: object) -> memory.Foreseen:
        return memory.foresee(config, recipe(batch=8, **train), world, parameters=10**7, latent_sizes=sizes)

    plain = foresee()
    assert foresee(accumulate=4).activations * 4 == plain.activations
    assert (
        foresee(checkpointing="full").activations < foresee(checkpointing="attention").activations < plain.activations
    )
    four = World(torch.device("cpu"), 0, 4, 4)
    assert foresee(four).activations * 4 == plain.activations
    assert foresee(four).weights == plain.weights == 4 * foresee(four, sharding="fsdp").weights


def test_what_cannot_fit_is_refused_with_what_to_do() -> None:
    config = STIVConfig(width=3072, depth=46, channels=16, text_width=1280)
    total = count_parameters(config)["total"]
    found = memory.foresee(config, recipe(batch=1024), CPU, parameters=total, latent_sizes=[(8, 16, 16)])
    assert found.total > 16 * total
    with pytest.raises(UsageError, match=r"would need about .* GiB of memory .*activations.* are free") as caught:
        memory.check(found, 64 * 2**30, "memory")
    assert "model.preset" in caught.value.fix
    assert "checkpointing" in caught.value.fix
    memory.check(found, found.total, "memory")


def test_free_memory_is_shared_with_neighbours_and_bounded_by_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tmp_path
    for name, text in (
        ("memory.max", f"{2**30}"),
        ("memory.current", f"{2**29}"),
        ("memory.stat", f"inactive_file {2**28}\nanon 5"),
    ):
        (group / name).write_text(text)
    monkeypatch.setattr(memory, "_CGROUP", group)
    assert memory.available(CPU) == 2**30 - 2**29 + 2**28
    assert memory.available(World(torch.device("cpu"), 0, 2, 2)) == (2**30 - 2**29 + 2**28) // 2
    (group / "memory.max").write_text("max")
    assert memory.available(CPU) > 2**30
