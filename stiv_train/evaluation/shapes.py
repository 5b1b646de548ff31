"""Do a model's moving shapes follow their prompts? Makes prompts, measures the videos, prints shares with their 95 % bounds.

    python -m stiv_train.evaluation.shapes RUN --prompts 96 [--out grid.png] [--require-colour 0.95 --require-direction 0.45]

Room: stiv_train. In: a run trained on the golden set ``shapes``, or any videos (N, T, H, W, 3) uint8 RGB with their prompts. Out:
for colour, direction and shape, how many are right. Guessing gets 17 %, 25 % and 33 %; ``unknown`` is never right.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from curation.golden.shapes import COLOURS, DIRECTIONS, GROUNDS, SHAPES, MovingShape, combination
from schemas.errors import StivError, UsageError
from stiv_train.evaluation.shape_measure import Seen, measure

WORDS = ("colour", "direction", "shape")
CHANCE = {"colour": 1 / len(COLOURS), "direction": 1 / len(DIRECTIONS), "shape": 1 / len(SHAPES)}
COMBINATIONS = len(COLOURS) * len(DIRECTIONS) * len(SHAPES)
_Z = 1.959964
"""Standard normal quantile of 97.5 %: both sides together leave 5 %."""


@dataclass(frozen=True)
class ShapePrompt:
    """A prompt worded as the captions of the golden set, and what a video must show to be right."""

    text: str
    colour: str
    direction: str
    shape: str


def prompts(count: int, seed: int = 0) -> list[ShapePrompt]:
    """``count`` prompts over all 72 combinations: each once before any twice, in an order and on grounds given by the seed."""
    order, chance = np.random.default_rng([seed, 72]), np.random.default_rng([seed, 4])
    grounds = tuple(GROUNDS)
    found: list[ShapePrompt] = []
    turn: list[int] = []
    while len(found) < count:
        turn = turn or order.permutation(COMBINATIONS).tolist()
        shape, colour, direction = combination(turn.pop())
        ground = grounds[int(chance.integers(len(grounds)))]
        golden = MovingShape(shape, colour, direction, radius=1.0, speed=0.0, start=(0.0, 0.0))
        found.append(ShapePrompt(golden.caption(f"a plain {ground} background"), colour, direction, shape))
    return found


@dataclass(frozen=True)
class Share:
    """How many of how many are right, with Wilson's 95 % interval."""

    right: int
    of: int

    @property
    def share(self) -> float:
        return self.right / self.of if self.of else 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound of the true share; (0, 1) of nothing."""
        if not self.of:
            return 0.0, 1.0
        centre = self.share + _Z**2 / (2 * self.of)
        half = _Z * sqrt(self.share * (1 - self.share) / self.of + _Z**2 / (4 * self.of**2))
        scale = 1 + _Z**2 / self.of
        return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


@dataclass(frozen=True)
class Result:
    """What was asked and seen, video by video, and the shares."""

    seen: list[Seen]
    shares: dict[str, Share]

    def as_json(self) -> dict[str, object]:
        shares = {
            word: {"right": s.right, "of": s.of, "share": s.share, "bounds_95": list(s.bounds), "chance": CHANCE[word]}
            for word, s in self.shares.items()
        }
        return {**shares, "seen": [{word: getattr(seen, word) for word in WORDS} for seen in self.seen]}


def evaluate(videos: np.ndarray, wanted: Sequence[ShapePrompt]) -> Result:
    """Measure videos (N, T, H, W, 3) uint8 against their N prompts."""
    if len(videos) != len(wanted):
        raise ValueError(f"{len(videos)} videos for {len(wanted)} prompts")
    seen = [measure(video) for video in videos]
    shares = {
        word: Share(sum(getattr(s, word) == getattr(w, word) for s, w in zip(seen, wanted, strict=True)), len(wanted))
        for word in WORDS
    }
    return Result(seen, shares)


def table(result: Result) -> str:
    """A few lines of text."""
    lines = [f"{'':10} {'right':>12} {'share':>7}   95 % bounds    chance"]
    for word, s in result.shares.items():
        low, high = s.bounds
        unknown = sum(getattr(seen, word) == "unknown" for seen in result.seen)
        note = f"   ({unknown} unknown)" if unknown else ""
        lines.append(
            f"{word:10} {f'{s.right} of {s.of}':>12} {s.share:7.1%}   {low:.1%}–{high:.1%}".ljust(50)
            + f"{CHANCE[word]:.0%}{note}"
        )
    return "\n".join(lines)


def unmet(result: Result, colour: float | None, direction: float | None) -> list[str]:
    """What a required share of colours, or a required lower bound of directions, is not met by; empty when all is well."""
    found = []
    share = result.shares["colour"].share
    if colour is not None and share < colour:
        found.append(f"Colour is right in {share:.1%}; required are {colour:.1%}.")
    low = result.shares["direction"].bounds[0]
    if direction is not None and low <= direction:
        found.append(f"The lower 95 % bound of direction is {low:.1%}; required is more than {direction:.1%}.")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Generate, measure, print. 0: required shares are met (or none were given); 1: they are not; 2: wrong use."""
    args = _parser().parse_args(arguments)
    try:
        return _run(args)
    except StivError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code


def _run(args: argparse.Namespace) -> int:
    from stiv_train.generate import Generator
    from stiv_train.run_folder import Run
    from stiv_train.video_files import check_target, write_pictures

    if args.prompts < 1:
        raise UsageError("`--prompts` must be at least 1.", fix="96 prompts give bounds of about ± 10 %.")
    if args.out is not None:
        check_target(args.out, (".png",))
    generator = Generator(Run.open(args.run), args.device, step=args.step, ema=not args.no_ema)
    wanted = prompts(args.prompts, args.seed)
    videos = generator.generate(
        [prompt.text for prompt in wanted],
        sampling=generator.sampling(guidance=args.guidance, steps=args.steps, solver=args.solver),
        seeds=[args.seed + index for index in range(len(wanted))],
    )
    result = evaluate(videos, wanted)
    missed = unmet(result, args.require_colour, args.require_direction)
    if args.out is not None:
        write_pictures(args.out, videos[: args.grid_rows])
    if args.json:
        facts = {"run": args.run, "step": generator.step, "prompts": [p.text for p in wanted], **result.as_json()}
        print(json.dumps({**facts, "unmet": missed}, indent=2, ensure_ascii=False))
    else:
        print(f"{args.run}, step {generator.step}: {len(wanted)} prompts\n{table(result)}")
    for line in missed:
        print(line, file=sys.stderr)
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m stiv_train.evaluation.shapes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder of `stiv train`")
    add("--prompts", type=int, default=96, metavar="N", help="prompts to measure (default: %(default)s)")
    add("--seed", type=int, default=0, help="of prompts and noise (default: %(default)s)")
    add("--step", type=int, help="checkpoint (default: the newest)")
    add("--no-ema", action="store_true", help="the weights themselves, not their average")
    add("--guidance", type=float, help="guidance scale (default: the recipe's)")
    add("--steps", type=int, help="solver steps (default: the recipe's)")
    add("--solver", choices=("euler", "heun"), help="solver (default: the recipe's)")
    add("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    add("--json", action="store_true", help="print the result as JSON")
    add("--out", type=Path, metavar="grid.png", help="write the videos as a picture: a row each, a column per frame")
    add("--grid-rows", type=int, default=16, metavar="N", help="most rows in that picture (default: %(default)s)")
    add("--require-colour", type=float, metavar="SHARE", help="exit 1 when the share of right colours is below this")
    add(
        "--require-direction",
        type=float,
        metavar="BOUND",
        help="exit 1 when the lower 95 %% bound of the share of right directions is not above this",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
