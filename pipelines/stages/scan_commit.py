"""The tables of a scanned part, put together from what its sources' scans answered."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from curation import assemble, child
from curation.corpus import Corpus
from pipelines.stages.scan_tasks import Source


def commit(corpus: Corpus, part: int, found: Sequence[Source], base: Path) -> dict[str, int]:
    """Put the part's tables together in the order of the plan and commit them, `sources` last."""
    sources: list[dict[str, Any]] = []
    clips: list[dict[str, Any]] = []
    transitions: list[dict[str, Any]] = []
    tar_path = base / "stills.tar"
    with tarfile.open(tar_path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for item in found:
            folders, answers = zip(*item.answers(), strict=True)
            source, changes, made = assemble.assemble(answers)
            given = {key: item.rows[0][key] for key in ("uri", "rel_path", "license", "tags", "extra")}
            sources.append({**source, **given})
            transitions += changes
            for folder, own in zip(folders, made, strict=True):
                if own:
                    with (folder / child.STILLS_FILE).open("rb") as stills:
                        clips += [_with_stills(clip, stills, tar) for clip in own]
    corpus.write("transitions", part, transitions)
    corpus.store.commit_file(corpus.path("stills", part), tar_path)
    corpus.write("clips", part, clips)
    corpus.write("sources", part, sources)
    return {"sources": len(sources), "clips": len(clips), "errors": sum(s["status"] == "error" for s in sources)}


def _with_stills(clip: dict[str, Any], stills: Any, tar: tarfile.TarFile) -> dict[str, Any]:
    """Copy a clip's stills into the part's tar and note where each JPEG lies there."""
    placed = clip.pop("stills")
    offsets = []
    for number, (_, offset, size) in enumerate(placed):
        stills.seek(offset)
        info = tarfile.TarInfo(f"{clip['clip_id']}.{number:02d}.jpg")
        info.size, info.mtime, info.mode = size, 0, 0o644
        offsets.append(tar.offset + tarfile.BLOCKSIZE)  # the header of a USTAR member with a short name is one block
        tar.addfile(info, BytesIO(stills.read(size)))
    clip["stills_frame"] = [frame for frame, _, _ in placed]
    clip["stills_offset"] = offsets
    clip["stills_size"] = [size for _, _, size in placed]
    return clip
