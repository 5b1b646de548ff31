"""The gate on captions against right and wrong captions of golden clips, kind by kind.

    python benchmarks/gate.py [--seeds 0 1 2] [--clips 72] [--stills 8] [--errors 0 0.02 0.05 0.1] [--stubborn 0.03] [--miss 0.05]

Captions are those of `curation.golden.captions_set`; each is measured as the stages `caption` and `check` do, and judged by the default
rules of `judge` and one of DSG-Video. Its questions are written and answered by scripted models that know the clip, so no still is
drawn. The vision model is wrong about one object on one still as often as `--errors` says, and about a share `--stubborn` of the objects
on all stills of the clip; on 1 % of the stills it talks in place of an answer. The language model overlooks a share `--miss` of the
objects.

The first table says what each part of the gate catches by itself; the second how DSG-Video bears errors of the vision model. Recall is
the share of wrong captions that are dropped. Precision is given for as many right as wrong captions, each kind weighing the same: for
another share it follows from recall and from the share of right captions that are lost.

What no part of this gate can catch is in the table, too: a wrong direction takes more than one still to see. Agreement by OpenCLIP is
not measured here: with random weights it proves nothing, and trained ones cannot be had without a download.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from curation.captioning.contract import ClipFacts, StillRef
from curation.captioning.dsg import Dsg
from curation.captioning.language import detect_language
from curation.captioning.prompts import load_prompt
from curation.captioning.text import measure_text
from curation.golden.captions_set import (
    HALLUCINATED,
    RIGHT_KINDS,
    WRONG_KINDS,
    LabelledCaption,
    clip_truths,
    labelled_captions,
)
from curation.golden.scripted_models import ScriptedLanguage, ScriptedVision
from curation.rules import apply_rules
from schemas.recipe import Judge, Rule
from schemas.tables import CAPTIONS, CHECKS

UNREADABLE = 0.01
DSG_RULES = {"any object": "dsg_i > 0", "a third": "dsg_i > 0.3"}
"""How strict: a caption goes if any of its objects is hallucinated, or if more than so large a share is."""
LANGUAGE_RULE = "caption_language"
PARTS = ("rules", "language", *(f"dsg: {name}" for name in DSG_RULES))

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
    default = Judge().rules
    rules = [*default, *(Rule(name=f"dsg_{n}", drop=sql) for n, sql in enumerate(DSG_RULES.values()))]
    plain = {rule.name for rule in default} - {LANGUAGE_RULE}
    return [
        {
            "rules": bool(plain & set(names)),
            "language": LANGUAGE_RULE in names,
            **{f"dsg: {name}": f"dsg_{n}" in names for n, name in enumerate(DSG_RULES)},
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
    parser.add_argument("--error", type=float, default=0.02, help="of the first table")
    parser.add_argument("--stubborn", type=float, default=0.03)
    parser.add_argument("--miss", type=float, default=0.05)
    args = parser.parse_args()
    captions = {seed: labelled_captions(seed, args.clips) for seed in args.seeds}

    def verdicts(wrong: float, stills: int) -> tuple[list[LabelledCaption], list[Verdict]]:
        said: list[Verdict] = []
        for seed, given in captions.items():
            vision = ScriptedVision(clip_truths(seed, args.clips), wrong, args.stubborn, UNREADABLE, seed)
            said += judge(given, ScriptedLanguage(args.miss, seed), vision, stills)
        return [caption for given in captions.values() for caption in given], said

    default = args.stills[len(args.stills) // 2]
    everything, said = verdicts(args.error, default)
    count = len(everything) // (len(RIGHT_KINDS) + len(WRONG_KINDS))
    print(f"{count} clips, a caption of each kind; {default} stills, {args.error:.0%} of answers wrong, ", end="")
    print(f"{args.stubborn:.0%} of objects wrong on every still, {args.miss:.0%} overlooked\n")
    whole = ("rules", "language", "dsg: any object")
    heads = ("right caption", *PARTS, "all", "precision of all at 1:1")
    print("| " + " | ".join(heads) + " |\n|---|" + "---|" * (len(heads) - 1))
    for kinds, title in ((RIGHT_KINDS, None), (WRONG_KINDS, "wrong caption")):
        if title:
            print("| **" + title + "** |" + " |" * (len(heads) - 1))
        for kind in kinds:
            shares = [share(everything, said, kind, [part]) for part in PARTS] + [share(everything, said, kind, whole)]
            precise = _precision(everything, said, whole, [kind]) if title else None
            print(f"| {kind} | " + " | ".join(_percent(s) for s in (*shares, precise)) + " |")
    for title, measure in (("recall", _recall), ("right captions lost", _lost), ("precision at 1:1", _precision)):
        values = [measure(everything, said, [part]) for part in PARTS] + [measure(everything, said, whole)]
        print(f"| **{title}** | " + " | ".join(_percent(v) for v in values) + " | |")

    print("\n| wrong answers | stills | rule | right lost | hallucinated things caught | precision at 1:1 |")
    print("|---|---|---|---|---|---|")
    for wrong in args.errors:
        for stills in args.stills:
            everything, said = verdicts(wrong, stills)
            for name in DSG_RULES:
                part = [f"dsg: {name}"]
                caught = _recall(everything, said, part, HALLUCINATED)
                found = (_lost(everything, said, part), caught, _precision(everything, said, part, HALLUCINATED))
                print(f"| {100 * wrong:g} % | {stills} | {name} | " + " | ".join(_percent(v) for v in found) + " |")


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
