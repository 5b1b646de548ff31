"""One source from the answers of its segments: frames counted on, shots numbered on, one row of `sources`.

A shot that goes on across a seam keeps its number, and its pieces are counted on. Nothing is taken on trust: neighbours must have seen
the same frames and the same transitions at their seam. Where they have not, the source has to be scanned in one piece.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from curation.source_rows import counted_columns
from curation.tally import Header, Tally
from schemas import ids

Answer = dict[str, Any]
"""What the scan of one segment found, as :mod:`curation.child` keeps it."""


def misfit(answers: Sequence[Answer]) -> str | None:
    """Why the answers of a source's segments, in order, do not make one source; None where they do."""
    for number, answer in enumerate(answers):
        if answer["segment"] is None:
            return f"segment {number} gave no answer ({answer['source']['error_code']}: {answer['source']['error']})"
        if answer["source"]["bytes"] != answers[0]["source"]["bytes"]:
            return f"the file had another size when segment {number} was scanned"
        tally = answer["segment"]["tally"]
        if not tally["frames"]:
            return f"segment {number} has no frames"
        if tally["mended_stamps"]:
            return f"segment {number} has time stamps that are missing or run backwards"
    for number, (one, other) in enumerate(itertools.pairwise([a["segment"] for a in answers]), 1):
        ends = (one["tally"]["last_pts"], one["pts_after"])
        if ends != (other["pts_before"], other["tally"]["first_pts"]):
            return f"the frames before and after segment {number} begins do not meet"
        if one["seam_after"] != other["seam_before"]:
            return f"transitions look different from the two sides of the seam where segment {number} begins"
    header, whole = _counted(answers)
    if not whole.seekable:
        return "parameter sets that come once in between are missing after a seek"
    if whole.holes(header):
        return "frames may be missing between others"
    return None


def _counted(answers: Sequence[Answer]) -> tuple[Header, Tally]:
    tallies = [Tally.of(answer["segment"]["tally"]) for answer in answers]
    return Header.of(answers[0]["segment"]["header"]), Tally.joined(tallies)


def assemble(answers: Sequence[Answer]) -> tuple[dict[str, Any], list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """The row of `sources`, the transitions, and for each segment its clips, of answers that fit; one answer always does.

    The first segment's answer tells the content's hash and so the source's id. A segment that could not be scanned is the source's end.
    """
    source = answers[0]["source"]
    if len(answers) == 1:
        return source, answers[0]["transitions"], [answers[0]["clips"]]
    lost = next((answer["source"] for answer in answers if answer["segment"] is None), None)
    if lost is not None:
        return {**lost, **{key: source[key] for key in ("source_id", "sha256", "bytes")}}, [], [[] for _ in answers]
    header, whole = _counted(answers)
    source = {**source, **counted_columns(whole, header, len(answers))}
    source_id = source["source_id"]
    transitions: list[dict[str, Any]] = []
    clips: list[list[dict[str, Any]]] = []
    frames = shots = pieces = 0
    for answer in answers:
        segment = answer["segment"]
        transitions += [_moved(row, frames) | {"source_id": source_id} for row in answer["transitions"]]
        own = []
        for row in answer["clips"]:
            clip = _moved(row, frames)
            clip["source_id"] = source_id
            clip["clip_id"] = ids.clip_id(source_id, clip["stream_index"], clip["start_pts"], clip["end_pts"])
            clip["piece"] += pieces if clip["shot"] == 0 else 0
            clip["shot"] += shots
            clip["stills"] = [(frame + frames, offset, size) for frame, offset, size in clip["stills"]]
            own.append(clip)
        clips.append(own)
        frames += segment["tally"]["frames"]
        shots += segment["shots"]
        pieces = segment["pieces"] + (pieces if segment["shots"] == 0 else 0)
    return source, transitions, clips


def _moved(row: dict[str, Any], frames: int) -> dict[str, Any]:
    return row | {"start_frame": row["start_frame"] + frames, "end_frame": row["end_frame"] + frames}
