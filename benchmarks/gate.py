"""The gate on captions against right and wrong captions of golden clips, kind by kind; and categories against labels.

    python benchmarks/gate.py [--seeds 0 1 2] [--clips 72] [--stills 4 8 16] [--errors 0 0.02 0.05 0.1] [--stubborn 0.03] [--miss 0.05]

Captions are those of `curation.golden.captions_set`; each is measured as the stages `caption` and `check` do, and judged by the default
rules of `judge` and by other thresholds of DSG-Video. Its questions are written and answered by scripted models that know the clip, so
no still is drawn. The vision model is wrong about one object on one still as often as `--errors` says, and about a share `--stubborn` of
the objects on all stills of the clip; on 1 % of the stills it talks in place of an answer. The language model overlooks a share `--miss`
of the objects.

The first table says what each part of the gate catches by itself, and `all` what the default rules do together. The second is about
captions that name many things, right ones and such with one too many; their clips are imagined, for golden ones show little. The third
says how DSG-Video bears errors of the vision model. The last lines hold categories by keywords against labels. Recall is the share of
wrong captions that are dropped. Precision is given for as many right as wrong captions, each kind weighing the same: for another share
it follows from recall and from the share of right captions that are lost.

What no part of this gate can catch is in the table, too: a wrong direction takes more than one still to see. Agreement by OpenCLIP is
not measured here: with random weights it proves nothing, and trained ones cannot be had without a download.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curation.captioning.categories import categories_by_rules
from curation.captioning.contract import ClipFacts, StillRef
from curation.captioning.dsg import Dsg
from curation.captioning.language import detect_language
from curation.captioning.prompts import load_prompt
from curation.captioning.text import measure_text
from curation.golden.captions_set import (
    HALLUCINATED,
    RIGHT_KINDS,
    WRONG_KINDS,
    ClipTruth,
    LabelledCaption,
    clip_truths,
    labelled_captions,
)
from curation.golden.categories_set import LABELLED
from curation.golden.scripted_models import ScriptedLanguage, ScriptedVision
from curation.rules import apply_rules
from schemas.recipe import Judge, Rule
from schemas.tables import CAPTIONS, CHECKS

UNREADABLE = 0.01
DSG_RULES = {"any object": "dsg_i > 0", "a tenth": "dsg_i > 0.1", "a third": "dsg_i > 0.3"}
"""How strict: a caption goes if any of its objects is hallucinated, or if more than so large a share is."""
MODEL_RULES = frozenset({"caption_language", "hallucinated", "mismatch"})
"""Default rules that are columns of their own, or are not measured here."""
ALL = "all (default rules)"
PARTS = ("rules", "language", *(f"dsg: {name}" for name in DSG_RULES), ALL)

THINGS = """
table chair lamp window door curtain bottle plate spoon bowl book shelf clock vase carpet sofa mirror basket bucket ladder hammer rope
barrel bench fountain statue bridge tower wagon bicycle boat tent flag kite balloon guitar violin drum piano umbrella
""".split()
CROWDS = (2, 6, 10, 14, 22, 30)
"""Things that the captions of the second table name besides shape and ground."""

Verdict = dict[str, bool]
"""Part of the gate → whether it drops the caption."""


def judge(
    captions: Sequence[LabelledCaption], language: ScriptedLanguage, vision: ScriptedVision, stills: int
) -> list[Verdict]:
    """What each part of the gate says of each caption."""
    rows = [_row(labelled) for labelled in captions]
    dsg = Dsg(language, vision, load_prompt("dsg_questions"), load_prompt("dsg_answers"), stills)
    facts = [_facts(labelled, stills) for labelled in captions]
    found = asyncio.run(dsg.examine(facts, [row["caption"] for row in rows]))
    columns = {field.name: field for table in (CAPTIONS, CHECKS) for field in table.arrow}
    wide = pa.Table.from_pylist(
        [{**row, **said} for row, said in zip(rows, found, strict=True)], pa.schema(list(columns.values()))
    )
    default = {rule.name for rule in Judge().rules}
    rules = [*Judge().rules, *(Rule(name=f"dsg_{n}", drop=sql) for n, sql in enumerate(DSG_RULES.values()))]
    return [
        {
            "rules": bool((default - MODEL_RULES) & set(names)),
            "language": "caption_language" in names,
            **{f"dsg: {name}": f"dsg_{n}" in names for n, name in enumerate(DSG_RULES)},
            ALL: bool(default & set(names)),
        }
        for names in apply_rules(wide, rules).all
    ]


def _row(labelled: LabelledCaption) -> dict[str, Any]:
    caption = labelled.caption or None
    measured = measure_text(caption)
    language, score = detect_language(caption)
    return {
        "clip_id": labelled.clip.video,
        "caption": caption,
        "caption_words": measured.words,
        "caption_repetition": measured.repetition,
        "caption_script": measured.script,
        "caption_script_share": measured.script_share,
        "caption_language": language,
        "caption_language_score": score,
    }


def _facts(labelled: LabelledCaption, stills: int) -> ClipFacts:
    refs = [StillRef(frame, bytes) for frame in range(stills)]
    return ClipFacts(labelled.clip.video, "", labelled.clip.video, None, {}, refs)


def share(captions: Sequence[LabelledCaption], verdicts: Sequence[Verdict], kind: str, parts: Sequence[str]) -> float:
    """Share of the captions of a kind that at least one of some parts of the gate drops."""
    of_kind = [v for caption, v in zip(captions, verdicts, strict=True) if caption.kind == kind]
    return sum(any(v[part] for part in parts) for v in of_kind) / len(of_kind)


def crowded(seed: int, clips: int, things: int) -> Iterator[LabelledCaption]:
    """For each clip a caption that names so many things besides, all of them there, and the same with one thing more that is not."""
    for number, truth in enumerate(clip_truths(seed, clips)):
        order = np.random.default_rng([seed, 17, things, number]).permutation(len(THINGS))
        there, wrong = [THINGS[i] for i in order[:things]], THINGS[order[things]]
        clip = dataclasses.replace(truth, video=f"{truth.video} among {things}", things=tuple(there))
        start = f"A {clip.colour} {clip.shape} moves across {clip.ground}."
        for kind, named in (("right", there), ("wrong", [wrong, *there])):
            yield LabelledCaption(clip, kind, kind == "right", f"{start} There is a {', a '.join(named)}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--clips", type=int, default=72, help="clips of the set `shapes`; those of the demo come on top"
    )
    parser.add_argument(
        "--stills", type=int, nargs="+", default=[4, 8, 16], help="the one in the middle is the default"
    )
    parser.add_argument("--errors", type=float, nargs="+", default=[0.0, 0.02, 0.05, 0.1])
    parser.add_argument("--error", type=float, default=0.02, help="of the first two tables")
    parser.add_argument("--stubborn", type=float, default=0.03)
    parser.add_argument("--miss", type=float, default=0.05)
    args = parser.parse_args()
    captions = {seed: labelled_captions(seed, args.clips) for seed in args.seeds}
    default = args.stills[len(args.stills) // 2]

    def verdicts(
        given: dict[int, list[LabelledCaption]], wrong: float, stills: int
    ) -> tuple[list[LabelledCaption], list[Verdict]]:
        said: list[Verdict] = []
        for seed, of_seed in given.items():
            truths: list[ClipTruth] = [caption.clip for caption in of_seed]
            vision = ScriptedVision(truths, wrong, args.stubborn, UNREADABLE, seed)
            said += judge(of_seed, ScriptedLanguage(args.miss, seed), vision, stills)
        return [caption for of_seed in given.values() for caption in of_seed], said

    everything, said = verdicts(captions, args.error, default)
    count = len(everything) // (len(RIGHT_KINDS) + len(WRONG_KINDS))
    print(f"{count} clips, a caption of each kind; {default} stills, {args.error:.0%} of answers wrong, ", end="")
    print(f"{args.stubborn:.0%} of objects wrong on every still, {args.miss:.0%} overlooked\n")
    _print_kinds(everything, said)

    print(
        "\n| objects named | rule | right lost | with one too many caught | precision at 1:1 |\n|---|---|---|---|---|"
    )
    for things in CROWDS:
        given = {seed: list(crowded(seed, args.clips, things)) for seed in args.seeds}
        named, said = verdicts(given, args.error, default)
        for name in DSG_RULES:
            lost, caught = (share(named, said, kind, [f"dsg: {name}"]) for kind in ("right", "wrong"))
            values = (lost, caught, caught / (caught + lost) if caught + lost else None)
            print(f"| {things + 2} | {name} | " + " | ".join(_percent(v) for v in values) + " |")

    print("\n| wrong answers | stills | rule | right lost | hallucinated things caught | precision at 1:1 |")
    print("|---|---|---|---|---|---|")
    for wrong in args.errors:
        for stills in args.stills:
            everything, said = verdicts(captions, wrong, stills)
            for name in DSG_RULES:
                part = [f"dsg: {name}"]
                caught = _recall(everything, said, part, HALLUCINATED)
                found = (_lost(everything, said, part), caught, _precision(everything, said, part, HALLUCINATED))
                print(f"| {100 * wrong:g} % | {stills} | {name} | " + " | ".join(_percent(v) for v in found) + " |")

    print("\n| categories by keywords | captions | with a category | of these right |\n|---|---|---|---|")
    right = [(caption.caption, "shapes") for given in captions.values() for caption in given if caption.right]
    _print_categories("right captions of golden clips", right)
    _print_categories(
        "written by hand, five to a category", [(text, name) for name, texts in LABELLED.items() for text in texts]
    )


def _print_kinds(everything: Sequence[LabelledCaption], said: Sequence[Verdict]) -> None:
    heads = ("right caption", *PARTS, "precision of all at 1:1")
    print("| " + " | ".join(heads) + " |\n|---|" + "---|" * (len(heads) - 1))
    for kinds, title in ((RIGHT_KINDS, None), (WRONG_KINDS, "wrong caption")):
        if title:
            print("| **" + title + "** |" + " |" * (len(heads) - 1))
        for kind in kinds:
            shares = [share(everything, said, kind, [part]) for part in PARTS]
            precise = _precision(everything, said, [ALL], [kind]) if title else None
            print(f"| {kind} | " + " | ".join(_percent(s) for s in (*shares, precise)) + " |")
    for title, measure in (("recall", _recall), ("right captions lost", _lost), ("precision at 1:1", _precision)):
        values = [measure(everything, said, [part]) for part in PARTS]
        print(f"| **{title}** | " + " | ".join(_percent(v) for v in values) + " | |")


def _print_categories(name: str, labelled: Sequence[tuple[str, str]]) -> None:
    found = [(categories_by_rules(text, *detect_language(text)), label) for text, label in labelled]
    some = [(categories[0], label) for categories, label in found if categories]
    right = sum(category == label for category, label in some)
    print(f"| {name} | {len(found)} | {_percent(len(some) / len(found))} | {_percent(right / len(some))} |")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _recall(
    captions: Sequence[LabelledCaption],
    said: Sequence[Verdict],
    parts: Sequence[str],
    kinds: Sequence[str] = tuple(WRONG_KINDS),
) -> float:
    return sum(share(captions, said, kind, parts) for kind in kinds) / len(kinds)


def _lost(captions: Sequence[LabelledCaption], said: Sequence[Verdict], parts: Sequence[str]) -> float:
    return _recall(captions, said, parts, tuple(RIGHT_KINDS))


def _precision(
    captions: Sequence[LabelledCaption],
    said: Sequence[Verdict],
    parts: Sequence[str],
    kinds: Sequence[str] = tuple(WRONG_KINDS),
) -> float | None:
    caught, lost = _recall(captions, said, parts, kinds), _lost(captions, said, parts)
    return caught / (caught + lost) if caught + lost else None


if __name__ == "__main__":
    main()
