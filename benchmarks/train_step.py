"""How fast is a training step of our network, against diffusers' Latte (or PixArt) transformer of the same width, depth and tokens?

    python benchmarks/train_step.py                                  # CPU, fp32, preset S
    python benchmarks/train_step.py --device cuda --preset XL        # GPU, bf16 autocast, each block compiled; 256² × 20 frames
    PYTHONPATH=. python benchmarks/train_step.py --no-peer           # needs only torch and pydantic

A step is forward and backward pass on random latents of one batch, text already encoded; no optimiser, no data. Ours and the peer's
take turns, the first of each pair alternating, so that what disturbs the machine disturbs both; the ratio is the median over pairs.

Tokens are those of the whole sample, masked or not. Latte and PixArt have no temporal patch: they are given as many latent frames as
ours has temporal tokens. Depth counts blocks before tokens come back; ours is made without the blocks after that, unless --drop.
Latte's temporal blocks each have a feed-forward layer of their own, ours have none, so equal depth is more work for Latte: the share
of arithmetic is given too, model FLOP/s by the formula of models/stiv/flops.py (two per multiply-add; recomputing never counts).

Two denominators for the share of the machine: the matrix-product rate measured here with one large product in the same precision,
and the nominal peak of the device where it is known (dense, as the maker states it).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.stiv.config import HEAD_WIDTH, PRESETS, STIVConfig
from models.stiv.flops import train_flops
from models.stiv.network import STIV
from models.text.contract import TextCondition

NOMINAL_BF16 = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
"""Dense FLOP/s with fp32 accumulation; the first name found in the device's is taken."""

Step = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """What both networks are given."""

    config: STIVConfig
    latent: tuple[int, int, int]
    """Latent frames, rows and columns."""
    batch: int
    text: int
    """Text tokens."""
    drop: float
    device: torch.device
    half: bool

    @property
    def grid(self) -> tuple[int, int, int]:
        return self.config.tokens(*self.latent)

    @property
    def tokens(self) -> int:
        """In a sample."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def kept(self) -> int | None:
        """Spatial tokens in the main blocks; None: all."""
        spatial = self.grid[1] * self.grid[2]
        return spatial - round(spatial * self.drop) if self.drop else None

    def cast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()

    def random(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, device=self.device)


def our_step(case: Case, compiled: bool) -> Step:
    """Forward and backward of STIV."""
    network = _ready(STIV(case.config), case)
    if compiled:
        for block in (*network.blocks, *network.tail):
            block.compile()
    x, target = (case.random(case.batch, case.config.channels, *case.latent) for _ in range(2))
    text = TextCondition(
        case.random(case.batch, case.text, case.config.text_width),
        case.random(case.batch, case.config.text_width),
        torch.ones(case.batch, case.text, dtype=torch.bool, device=case.device),
    )
    when, micro = torch.rand(case.batch, device=case.device), torch.ones(case.batch, 6, device=case.device)
    keep = None
    if case.kept is not None:
        order = torch.rand(case.batch, case.grid[1] * case.grid[2], device=case.device).argsort(1)
        keep = order[:, : case.kept].sort(1).values

    return lambda: _train(network, case, lambda: network(x, when, text, micro, keep), target)


def peer_step(case: Case, name: str, compiled: bool) -> Step:
    """Forward and backward of diffusers' transformer of the same width, depth and tokens."""
    from diffusers import LatteTransformer3DModel, PixArtTransformer2DModel

    config, (frames, rows, columns) = case.config, case.grid
    if rows != columns:
        raise SystemExit("The peers take square latents only.")
    common = {
        "num_attention_heads": config.heads,
        "attention_head_dim": HEAD_WIDTH,
        "in_channels": config.channels,
        "out_channels": config.channels,
        "num_layers": config.depth,
        "cross_attention_dim": config.width,
        "attention_bias": True,
        "sample_size": case.latent[1],
        "patch_size": config.patch[1],
        "activation_fn": "gelu-approximate",
        "norm_type": "ada_norm_single",
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
        "caption_channels": config.text_width,
    }
    when = torch.rand(case.batch, device=case.device)
    words = case.random(case.batch, case.text, config.text_width)
    if name == "latte":
        network = _ready(LatteTransformer3DModel(**common, num_embeds_ada_norm=1000, video_length=frames), case)
        x, target = (case.random(case.batch, config.channels, frames, *case.latent[1:]) for _ in range(2))
        blocks = [*network.transformer_blocks, *network.temporal_transformer_blocks]

        def run() -> torch.Tensor:
            return network(x, timestep=when, encoder_hidden_states=words, return_dict=False)[0]
    else:
        network = _ready(PixArtTransformer2DModel(**common, use_additional_conditions=False), case)
        many = case.batch * frames  # an image model: each frame is a picture
        x, target = (case.random(many, config.channels, *case.latent[1:]) for _ in range(2))
        blocks = list(network.transformer_blocks)
        per_frame, times = words.repeat_interleave(frames, 0), when.repeat_interleave(frames)
        none: dict[str, Any] = {"resolution": None, "aspect_ratio": None}

        def run() -> torch.Tensor:
            return network(
                x, encoder_hidden_states=per_frame, timestep=times, added_cond_kwargs=none, return_dict=False
            )[0]

    if compiled:
        for block in blocks:
            block.compile()
    return lambda: _train(network, case, run, target)


def peer_flops(case: Case, name: str) -> int:
    """Of the peer's step for one sample, counted as ours is."""
    d, m, (t, rows, columns) = case.config.width, case.text, case.grid
    s = rows * columns
    n = t * s
    projection = 2 * m * (case.config.text_width * d + d * d)  # once, not in every block
    repeats = t  # cross-attention's keys and values are made for each frame
    spatial = 28 * n * d * d + 4 * n * (s + m) * d + 4 * m * d * d * repeats
    temporal = 24 * n * d * d + 4 * n * t * d if name == "latte" else 0
    return 3 * (case.config.depth * (spatial + temporal) + projection * (1 if name == "latte" else repeats))


def _ready(network: Any, case: Case) -> Any:
    network.to(case.device).train()
    with torch.no_grad():  # weights that start at zero would stop gradients that a trained network has
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return network


def _train(network: nn.Module, case: Case, run: Callable[[], torch.Tensor], target: torch.Tensor) -> None:
    network.zero_grad(set_to_none=True)
    with case.cast():
        loss = nn.functional.mse_loss(run().float(), target)
    loss.backward()


def timed(step: Step, device: torch.device) -> float:
    """Seconds of one step, all work on the device finished."""
    _wait(device)
    begin = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - begin


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, half: bool) -> float:
    """FLOP/s of a large matrix product in the precision of the networks: the best of some."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16 if half else torch.float32) for _ in range(2))
    best = min(timed(lambda: torch.mm(a, b), device) for _ in range(20 if device.type == "cuda" else 6))
    return 2 * side**3 / best


def nominal_peak(device: torch.device) -> float | None:
    """The maker's bf16 figure, where it is known."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for key, peak in NOMINAL_BF16.items() if key in name), None)


def measure(case: Case, peer: str | None, rounds: int, compiled: bool) -> dict[str, Any]:
    """Take turns; all that is printed, as plain values."""
    steps = {"ours": our_step(case, compiled)} | ({peer: peer_step(case, peer, compiled)} if peer else {})
    flops = {"ours": train_flops(case.config, case.latent, case.text, case.kept)}
    if peer:
        flops[peer] = peer_flops(case, peer)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(3 if compiled else 1):  # compiling and first allocations
            timed(step, case.device)
    rate = [matrix_rate(case.device, case.half)]
    for turn in range(rounds):
        for name in sorted(steps, reverse=bool(turn % 2)):
            seconds[name].append(timed(steps[name], case.device))
    rate.append(matrix_rate(case.device, case.half))
    measured, nominal = max(rate), nominal_peak(case.device) if case.half else None
    rows = {}
    for name in steps:
        middle = statistics.median(seconds[name])
        done = flops[name] * case.batch / middle
        rows[name] = {
            "ms": 1000 * middle,
            "fastest_ms": 1000 * min(seconds[name]),
            "tokens_per_s": case.batch * case.tokens / middle,
            "tflop_per_sample": flops[name] / 1e12,
            "tflops": done / 1e12,
            "share_of_measured": done / measured,
            "share_of_nominal": done / nominal if nominal else None,
        }
    ratios = [p / o for o, p in zip(seconds["ours"], seconds[peer], strict=True)] if peer else []
    return {
        "rows": rows,
        "peer_time_over_ours": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
        if peer
        else None,
        "matrix_tflops": measured / 1e12,
        "nominal_tflops": nominal / 1e12 if nominal else None,
    }


def show(case: Case, facts: dict[str, Any]) -> None:
    """Print a table."""
    where = (
        torch.cuda.get_device_name(case.device)
        if case.device.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    config = case.config
    print(
        f"{where}, {'bf16 autocast' if case.half else 'fp32'}: width {config.width}, depth {config.depth} + {config.mask_blocks}, "
        f"{' × '.join(map(str, case.grid))} = {case.tokens} tokens, {case.text} of text, batch {case.batch}"
        + (f", {case.drop:.0%} of spatial tokens dropped" if case.drop else "")
    )
    measured, nominal = facts["matrix_tflops"], facts["nominal_tflops"]
    print(
        f"matrix product here: {measured:.3g} TFLOP/s; nominal peak: {f'{nominal:.0f} TFLOP/s' if nominal else 'not known'}\n"
    )
    print(
        f"{'':8} {'ms/step':>9} {'fastest':>9} {'tokens/s':>10} {'TFLOP/sample':>13} {'TFLOP/s':>8} {'of measured':>12} {'of nominal':>11}"
    )
    for name, row in facts["rows"].items():
        of_nominal = f"{row['share_of_nominal']:.1%}" if row["share_of_nominal"] is not None else "–"
        print(
            f"{name:8} {row['ms']:9.1f} {row['fastest_ms']:9.1f} {row['tokens_per_s']:10,.0f} {row['tflop_per_sample']:13.4g} "
            f"{row['tflops']:8.3g} {row['share_of_measured']:12.1%} {of_nominal:>11}"
        )
    ratio = facts["peer_time_over_ours"]
    if ratio:
        print(
            f"\npeer's time over ours, pair by pair: median {ratio['median']:.2f} "
            f"({ratio['least']:.2f} to {ratio['most']:.2f}); above 1 ours is quicker"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--preset", choices=tuple(PRESETS), help="default: S on a CPU, XL on a GPU")
    add("--frames", type=int, help="latent frames (default: 16 on a CPU, 20 on a GPU)")
    add("--rows", type=int, help="latent rows and columns (default: 16 on a CPU, 32 on a GPU)")
    add("--channels", type=int, default=4, help="latent channels (default: %(default)s)")
    add("--text-tokens", type=int, default=77, help="(default: %(default)s)")
    add("--text-width", type=int, help="default: 256 on a CPU, as our small encoder; 1280 on a GPU, as OpenCLIP's bigG")
    add("--batch", type=int, help="default: 2 on a CPU, 16 on a GPU")
    add(
        "--drop",
        type=float,
        default=0.0,
        help="share of spatial tokens dropped; the peer keeps all (default: %(default)s)",
    )
    add(
        "--peer",
        choices=("latte", "pixart"),
        default="latte",
        help="pixart: ours without temporal attention (default: %(default)s)",
    )
    add("--no-peer", action="store_true", help="ours alone; diffusers is not needed")
    add("--no-compile", action="store_true", help="on a GPU: do not compile the blocks")
    add("--rounds", type=int, help="default: 7 on a CPU, 30 on a GPU")
    add("--threads", type=int, help="of the CPU (default: as many as torch takes)")
    add("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    gpu = args.device == "cuda"
    width, depth = PRESETS[args.preset or ("XL" if gpu else "S")]
    peer = None if args.no_peer else args.peer
    rows = args.rows or (32 if gpu else 16)
    config = STIVConfig(
        width,
        depth,
        channels=args.channels,
        text_width=args.text_width or (1280 if gpu else 256),
        temporal=peer != "pixart",
        mask_blocks=2 if args.drop else 0,
    )
    case = Case(
        config,
        (args.frames or (20 if gpu else 16), rows, rows),
        args.batch or (16 if gpu else 2),
        args.text_tokens,
        args.drop,
        torch.device(args.device),
        half=gpu,
    )
    torch.manual_seed(0)
    facts = measure(case, peer, args.rounds or (30 if gpu else 7), compiled=gpu and not args.no_compile)
    if args.json:
        print(json.dumps({"tokens": case.tokens, "batch": case.batch, **facts}, indent=2))
    else:
        show(case, facts)


if __name__ == "__main__":
    main()
