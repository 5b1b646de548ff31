"""The search for duplicates: what it finds, what it merges by mistake, and what a million clips cost.

    python benchmarks/duplicates.py [--golden 40] [--shapes 288] [--seeds 0 21 22] [--videos FOLDER]
    python benchmarks/duplicates.py --clips 100000 300000 1000000 [--semantic 64]

The first makes copies of golden clips (and of clips of real videos, with the first seed) of seven kinds, scans originals and copies as
`stiv scan` does, and prints how many copies of each kind are found, and how many clips that differ in hue alone. Then it counts what is merged
by mistake among distinct clips: golden and real ones, dark, flat and title pictures, and the set `shapes`; and, where there are real ones,
works out what that means for 90 million clips. It prints what the proof costs. The limits of the proof were set on seed 0 and the real videos; other seeds are held out.

The second writes tables of random clips with planted copies, without video, and prints time, peak memory and growth (`duplicates_scale.py`).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from math import exp, lgamma, log
from pathlib import Path

import duplicates_scale
import duplicates_sets as sets
import numpy as np
from rich.console import Console

from curation import variants
from curation.duplicates import groups, looks, near, stills
from curation.lock import hold
from curation.opening import quiet_decoder
from curation.storage import Store
from pipelines import curate
from pipelines.progress import Progress
from pipelines.recipe_files import load_recipe
from pipelines.run import Options
from pipelines.stages import dedup
from pipelines.stages.dedup_proof import Proof

CORPUS_OF_INTEREST = 90_000_000
SET_ON = (0,)
"""Seeds on which the limits in `curation/duplicates/stills.py` were set."""
JOBS = 2


class Searched:
    """A folder of videos, scanned and searched."""

    def __init__(self, folder: Path, out: Path) -> None:
        settings = ("select.rules=[]", "features.text.enabled=false", "features.embeddings.enabled=false")
        recipe = load_recipe(None, settings)
        with (
            open(os.devnull, "w", encoding="utf-8") as nowhere,
            Progress(Console(file=nowhere), limit=recipe.scan, quiet=True) as progress,
            hold(Store(out), "benchmark"),
        ):
            self.corpus, _ = curate.plan(curate.list_and_check([str(folder)], str(out)), str(out), recipe, None)
            options = Options(executor="inline", jobs=JOBS)
            made = curate.run(self.corpus, recipe, ("scan", "features", "dedup"), options, progress, "benchmark")
        self.variant: variants.Variant = made.variants["duplicates"]
        self.proof = Proof(self.corpus, self.variant)
        pieces, self.names = [], list[str]()
        for part in self.corpus.parts():
            table = self.corpus.store.read_table(groups.looks_path(self.variant, part))
            sources = self.corpus.read("sources", part).to_pylist()
            files = {row["source_id"]: row["rel_path"].rpartition(".")[0] for row in sources}
            owner = {row["clip_id"]: files[row["source_id"]] for row in self.corpus.read("clips", part).to_pylist()}
            pieces.append(looks.load([(part, table, None)]))
            self.names += [owner[clip] for clip in table.column("clip_id").to_pylist()]
        self.looks = looks.concatenate(pieces)
        """Of all clips; ``names`` are those of their files, without the ending."""
        self.of = dict(zip(self.looks.index.tolist(), self.names, strict=True))

    def near_pairs(self, some: np.ndarray) -> list[tuple[int, int, bool, bool]]:
        """(worse, better, mirrored, proven) of all near pairs among some clips (a mask)."""
        settings, found = dedup.settings_of(self.variant).near, []
        both = near.with_mirrored(self.looks.take(some))
        for bucket in near.buckets(1):
            mine = both.take(near.members(both, bucket))
            pairs = near.candidates(mine, bucket, settings.max_distance, settings.hashes)
            worse, better = mine.index[pairs.worse], mine.index[pairs.better]
            proven = self.proof.same(worse, better, pairs.mirrored)
            found += list(zip(worse.tolist(), better.tolist(), pairs.mirrored.tolist(), proven.tolist(), strict=True))
        return found


# Copies ---------------------------------------------------------------------------------------------------------------


def recall(searched: Searched) -> None:
    """Print, for each kind, how many copies meet their original, each kind searched by itself."""
    names, found = searched.names, list[tuple[int, int, bool, bool]]()
    families = [f for f in sets.FAMILIES if any(name.startswith(f) for name in names)]
    print(f"{'kind':14}" + "".join(f"{sets.FAMILIES[f]:>18}" for f in families) + f"{'proposed':>12}")
    for kind in sets.KINDS:
        mine = np.array([name.count(".") == 0 or name.endswith("." + kind) for name in names])
        pairs = searched.near_pairs(mine)
        hits = {
            (searched.of[a].partition(".")[0], proven)
            for a, b, _, proven in pairs
            if _copies(searched.of[a], searched.of[b])
        }
        found += [pair for pair in pairs if _copies(searched.of[pair[0]], searched.of[pair[1]])]
        copied = {n.partition(".")[0] for n in names if n.endswith("." + kind)} & {n for n in names if "." not in n}
        line = f"{kind:14}"
        for family in families:
            of = {name for name in copied if name.startswith(family)}
            good = sum((name, True) in hits for name in of)
            line += f"{f'{good}/{len(of)} {good / len(of):.3f}' if of else '-':>18}"
        proposed = sum((name, True) in hits or (name, False) in hits for name in copied)
        print(line + f"{f'{proposed}/{len(copied)}':>12}" + ("  (no copies)" if kind == sets.RECOLOURED else ""))
    print_cost(searched, found)


def _copies(a: str, b: str) -> bool:
    return a.partition(".")[0] == b.partition(".")[0] and a != b


# Mistakes -------------------------------------------------------------------------------------------------------------


def false_merges(searched: Searched, kind_of: Callable[[str], str]) -> list[tuple[int, int, bool, bool]]:
    """Print, for each kind of distinct clips, how many the search has merged by mistake; gives the pairs that were proposed."""
    names, of = searched.names, searched.of
    pairs = searched.near_pairs(np.ones(len(names), bool))
    wrong = [pair for pair in pairs if sets.origin(of[pair[0]]) != sets.origin(of[pair[1]])]
    clusters: dict[str, list[str]] = {}
    gone: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for part in searched.corpus.parts():
        table = searched.corpus.store.read_table(groups.looks_path(searched.variant, part), ["clip_id"])
        owner |= {c: of[(part << 32) + i] for i, c in enumerate(table.column("clip_id").to_pylist())}
    for part in searched.corpus.parts():
        for row in searched.corpus.read("duplicates", part, searched.variant.folder).to_pylist():
            name = owner[row["clip_id"]]
            if row["duplicate_cluster"]:
                clusters.setdefault(row["duplicate_cluster"], []).append(name)
            if row["duplicate_of"] and sets.origin(owner[row["duplicate_of"]]) != sets.origin(name):
                gone.setdefault(kind_of(name), []).append(name)
    mixed = [c for c in clusters.values() if len({sets.origin(name) for name in c}) > 1]
    print(f"{'kind':10}{'clips':>7}{'proposed':>10}{'merged':>8}{'clips that give way':>21}{'largest cluster':>17}")
    for kind in sorted({kind_of(name) for name in names}):
        mine = [pair for pair in wrong if kind_of(of[pair[0]]) == kind]
        proposed, merged = ({frozenset(p[:2]) for p in mine if p[3] or not proven} for proven in (False, True))
        clips, lost = sum(kind_of(name) == kind for name in names), len(gone.get(kind, ()))
        largest = max((len(c) for c in mixed if any(kind_of(name) == kind for name in c)), default=1)
        print(
            f"{kind:10}{clips:>7}{len(proposed):>10}{len(merged):>8}{f'{lost} ({lost / clips:.1%})':>21}{largest:>17}"
        )
    for a, b, mirrored, proven in wrong:
        if proven:
            print("   ", of[a], of[b], "mirrored" if mirrored else "")
    return wrong


def shapes_alike(searched: Searched, wrong: list[tuple[int, int, bool, bool]]) -> None:
    """Print how many of the shapes that were merged differ in shape or colour."""
    merged = {frozenset(pair[:2]) for pair in wrong if pair[3]}
    other = sum(len({sets.said_of(searched.of[clip]) for clip in pair}) > 1 for pair in merged)
    print(f"of another shape or colour: {other} of {len(merged)} pairs")


def extrapolated(searched: Searched, per_pair: float, without: str = "") -> None:
    """Print what distinct clips, real ones among them, have in common by accident, and what that means for a large corpus.

    Args:
        per_pair: CPU-seconds that one pair takes to prove, stills included.
        without: kind of clips that are left out.
    """
    kept = np.array([_kind(name) != without for name in searched.names])
    some, names = searched.looks.take(kept), [name for name, k in zip(searched.names, kept, strict=True) if k]
    print(f"Extrapolated{' without: ' + without if without else ''}")
    family = [sets.origin(name) for name in names]
    rows = np.array([(a, b) for a, b in combinations(range(len(names)), 2) if family[a] != family[b]]).reshape(-1, 2)
    distance = np.sort(near.distances(some.phash, rows[:, 0], rows[:, 1]), axis=1)[:, 0]
    agree = near.facts_agree(some, rows[:, 0], rows[:, 1])
    # Drawn pictures are more independent than real ones, which alone say how much a hash is worth.
    real = rows[np.array([name.startswith("real_") for name in names])[rows].all(axis=1)]
    middle = near.distances(some.phash, real[:, 0], real[:, 1])[:, 1]
    spread = middle[middle < 64] / 63
    freedom = spread.mean() * (1 - spread.mean()) / spread.var()
    print(f"{len(names):,} clips of {len(set(family)):,} origins, {len(rows):,} pairs of different origin")
    print(f"hashes: closest of three within 8 bits in {(distance <= 8).sum()} pairs;", end=" ")
    print(f"mean {63 * spread.mean():.1f} bits of 63, as of {freedom:.0f} independent bits")
    print(f"facts agree in {agree.mean():.2%} of the pairs; hashes and facts in {((distance <= 8) & agree).sum()}")
    drawn = rows[np.random.default_rng(0).permutation(len(rows))[:4000]]
    best = np.array([_likeness(searched, int(some.index[a]), int(some.index[b])) for a, b in drawn.tolist()])
    best = best[best > -1]
    slope = (np.quantile(best, 0.999) - np.quantile(best, 0.9)) / log(100)
    beyond = exp(-(stills.SAME - np.quantile(best, 0.999)) / slope) / 1000
    print(f"structure: likeness of {len(best):,} pairs {np.median(best):.2f} (median),", end=" ")
    print(f"{np.quantile(best, 0.999):.2f} (99.9 %), {best.max():.2f} (largest)")
    one = _at_most(8 / 63 * freedom, freedom)
    rate = min(1.0, 3 * one) * float(agree.mean()) * beyond
    pairs = CORPUS_OF_INTEREST**2 / 2
    to_prove = pairs * 3 * one * float(agree.mean())
    print(f"per pair, extrapolated: hash {one:.1e} (three places: {3 * one:.1e}), facts {agree.mean():.1e},", end=" ")
    print(f"structure {beyond:.1e}: {rate:.1e} (colour not counted)")
    print(
        f"{CORPUS_OF_INTEREST:,} clips: {to_prove:.1e} pairs to prove, {to_prove * per_pair / 3600:.1f} CPU-hours;",
        end=" ",
    )
    print(f"{pairs * rate:.1e} merged by mistake, one clip in {CORPUS_OF_INTEREST / max(pairs * rate, 1e-9):.0e}")


def _likeness(searched: Searched, a: int, b: int) -> float:
    """Best likeness of the structure of any still of one clip with any of the other; -1 without stills that can prove something."""
    first, second = searched.proof.sketches(a).stills, searched.proof.sketches(b).stills
    return max((stills.match(x, y).likeness for x in first for y in second), default=-1.0)


def _at_most(count: float, of: float) -> float:
    """P(X <= count) for X binomial with ``of`` tosses of a fair coin; neither need be whole."""
    terms = [
        lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1) - of * log(2) for k in np.arange(count % 1, count + 1e-9)
    ]
    return sum(exp(t) for t in terms)


# Cost -----------------------------------------------------------------------------------------------------------------


def print_cost(searched: Searched, pairs: list[tuple[int, int, bool, bool]]) -> float:
    """Print what the proof takes, in CPU time: to read a still, and to compare a pair. Gives seconds for a pair that is refused, stills included."""
    proof = Proof(searched.corpus, searched.variant)
    clips = searched.looks.index[np.linspace(0, len(searched.looks) - 1, 200).astype(int)].tolist()
    proof.sketches(clips[0])  # reads where stills lie
    began = time.process_time()
    for clip in clips:
        proof.sketches(clip)
    still = (time.process_time() - began) / len(clips) / looks.STILLS
    print(f"proof, CPU: {1e3 * still:.2f} ms a still (read and sketched, {looks.STILLS} a clip)", end="")
    seconds = {True: 0.0, False: 0.0}
    for outcome in seconds:
        some = [pair for pair in pairs if pair[3] == outcome][:200]
        for a, b, _, _ in some:  # so that all sketches are there
            proof.sketches(a), proof.sketches(b)
        columns = [np.array(column) for column in zip(*(pair[:3] for pair in some), strict=True)]
        began = time.process_time()
        if some:
            proof.same(*columns)
            seconds[outcome] = (time.process_time() - began) / len(some)
            print(f"; {1e3 * seconds[outcome]:.2f} ms a pair that is {'proven' if outcome else 'refused'}", end="")
    print()
    return 2 * looks.STILLS * still + max(seconds.values())


# ----------------------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=int, default=40, help="golden originals to copy, and cards to compare")
    parser.add_argument(
        "--shapes", type=int, default=288, help="clips of the set `shapes`; an eighth of them are copied"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 21, 22], help="of golden videos")
    parser.add_argument("--videos", type=Path, help="folder of real videos")
    parser.add_argument("--folder", type=Path, help="keep the videos here")
    parser.add_argument("--clips", type=int, nargs="+", help="sizes of random corpora to search")
    parser.add_argument("--semantic", type=int, default=0, metavar="WIDTH", help="with vectors of that many numbers")
    args = parser.parse_args()
    quiet_decoder()
    if args.clips:
        duplicates_scale.run(args.clips, args.semantic)
        return
    for seed in args.seeds:
        videos = args.videos if seed == args.seeds[0] else None
        print(
            f"\nSeed {seed}: {'the limits of the proof were set on it' if seed in SET_ON else 'held out'}", flush=True
        )
        with tempfile.TemporaryDirectory() as scratch:
            folder = (args.folder or Path(scratch)) / f"seed_{seed}"
            sets.make_copies(folder / "copies", seed, args.golden, args.shapes // 8, videos)
            recall(Searched(folder / "copies", Path(scratch) / "copies.corpus"))
            sets.make_distinct(folder / "distinct", seed, args.golden, videos)
            searched = Searched(folder / "distinct", Path(scratch) / "distinct.corpus")
            wrong = false_merges(searched, _kind)
            per_pair = print_cost(searched, wrong)
            if videos:
                extrapolated(searched, per_pair)
                extrapolated(searched, per_pair, without="card")
            sets.make_shapes(folder / "shapes", seed, args.shapes)
            searched = Searched(folder / "shapes", Path(scratch) / "shapes.corpus")
            shapes_alike(searched, false_merges(searched, lambda name: "shapes"))


def _kind(name: str) -> str:
    kind = Path(name).name.partition("_")[0]
    return kind if kind in ("dark", "flat", "plain", "card", "real") else "golden"


if __name__ == "__main__":
    main()
