"""Taking sources out of a corpus, everywhere: tables, stills, shards, kept answers, records. Room: curation.

First `forget.json` is written: what goes, and everything that follows from it, worked out while all tables are still whole. Then
one file after another is rewritten without it; each step looks at what is there, so a killed forgetting is finished by doing all
of it again. While `forget.json` is there, nothing else writes to the corpus. `forgotten.json` keeps hashes, so that the same
content is not taken in again.

In the end the tables and stills are those of a corpus in which the sources never were, but for parts and thresholds: what was
planned and resolved stays as it was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from curation.corpus import VARIANT_TABLES, Corpus, part_name, table_folder
from curation.forget_find import Item, with_content
from curation.forgotten import JOURNAL, Forgotten
from curation.freeing import Clusters, folders, free, rewrite_clusters
from curation.repacking import drop_rows, forget_planned, forget_scanned, forget_shard
from curation.scrubbing import Names, scrub_answers, scrub_runs, scrub_scratch
from curation.shard_numbers import next_number
from curation.storage import Store
from schemas.errors import StorageError

FORMAT = 1

REPORT = "report.html"


@dataclass(frozen=True)
class Forgetting:
    """What goes, and what follows from it. As `forget.json` keeps it."""

    when: str
    items: Sequence[Item]
    clips: dict[int, list[str]]
    """Part → its clips that go."""
    clusters: Clusters
    again: Sequence[str]
    """Files to make again; see :class:`curation.freeing.Freed`."""
    shards_again: dict[str, int]
    freed: Sequence[str]
    """Clips that come back, because what they were duplicates of goes."""
    shards: dict[str, dict[str, str | None]]
    """Folder of a shards variant → shard with such clips → its new number; None where nothing is left of it."""

    @property
    def parts(self) -> list[int]:
        return sorted({item.part for item in self.items})

    @property
    def all_clips(self) -> set[str]:
        return {clip for clips in self.clips.values() for clip in clips}

    @property
    def source_ids(self) -> set[str]:
        return {item.source_id for item in self.items if item.source_id is not None}

    def names(self, *, paths: Collection[str]) -> Names:
        segments = {s for item in self.items for s in item.segment_ids}
        return Names({*self.all_clips, *self.source_ids, *segments}, paths)


@dataclass(frozen=True)
class Extent:
    """How much goes."""

    sources: int
    clips: int
    seconds: float
    """Length of the clips."""
    stills: int
    still_bytes: int
    rows: dict[str, int]
    """Table, with its variant → rows."""
    samples: dict[str, int]
    """Shards variant → samples in finished tars."""


# Before ----------------------------------------------------------------------------------------------------------------


def foresee(corpus: Corpus, items: Sequence[Item], when: str) -> Forgetting:
    """Work out what forgetting these would do. Changes nothing."""
    clips = {part: _clips_of(corpus, part, items) for part in sorted({item.part for item in items})}
    freed = free(corpus, clips)
    gone = {clip for some in clips.values() for clip in some}
    return Forgetting(
        when,
        items,
        clips,
        freed.clusters,
        freed.again,
        freed.shards_again,
        freed.clips,
        {folder: _new_numbers(corpus.store, f"shards/{folder}", gone) for folder in folders(corpus, "shards")},
    )


def _clips_of(corpus: Corpus, part: int, items: Sequence[Item]) -> list[str]:
    path = corpus.path("clips", part)
    sources = {item.source_id for item in items if item.part == part and item.source_id is not None}
    if not sources or not corpus.store.exists(path):
        return []
    found: list[str] = corpus.store.read_table(path, ["clip_id"], [("source_id", "in", sources)])["clip_id"].to_pylist()
    return found


def _new_numbers(store: Store, folder: str, clips: Collection[str]) -> dict[str, str | None]:
    """Shard that holds some of the clips → the number under which the rest of it goes on; one that was never finished keeps its own."""
    if not clips or not store.exists(f"{folder}/plan.parquet"):
        return {}
    plan = store.read_table(f"{folder}/plan.parquet")
    left = Counter(
        s for s, c in zip(plan["shard"].to_pylist(), plan["clip_id"].to_pylist(), strict=True) if c not in clips
    )
    touched = sorted(
        set(plan.filter(pc.is_in(plan["clip_id"], pa.array(sorted(clips), pa.string())))["shard"].to_pylist())
    )
    following = next_number(plan)
    numbers: dict[str, str | None] = {}
    for shard in touched:
        if not left[shard]:
            numbers[shard] = None
        elif store.exists(f"{folder}/{shard}.parquet"):
            numbers[shard] = f"{following:06d}"
            following += 1
        else:
            numbers[shard] = shard
    return numbers


def measure(corpus: Corpus, forgetting: Forgetting) -> Extent:
    """How much would go. Reads one or two columns of the parts concerned."""
    store, rows = corpus.store, Counter[str]()
    stills = still_bytes = 0
    seconds = 0.0
    scanned = corpus.scanned()
    for part in forgetting.parts:
        items = [item for item in forgetting.items if item.part == part]
        clips, sources = set(forgetting.clips[part]), {i.source_id for i in items if i.source_id is not None}
        rows["plan"] += sum(len(item.segment_ids) for item in items)
        if part in scanned:
            rows["sources"] += _count(store, corpus.path("sources", part), "source_id", sources)
            rows["transitions"] += _count(store, corpus.path("transitions", part), "source_id", sources)
        for table in VARIANT_TABLES if clips else ():
            for folder in folders(corpus, table):
                rows[f"{table} {folder}"] += _count(store, corpus.path(table, part, folder), "clip_id", clips)
        if clips:
            columns = ["duration_s", "stills_size"]
            found = store.read_table(corpus.path("clips", part), columns, [("clip_id", "in", clips)])
            rows["clips"] += found.num_rows
            seconds += pc.sum(found["duration_s"]).as_py()
            sizes = pc.list_flatten(found["stills_size"])
            stills, still_bytes = stills + len(sizes), still_bytes + (pc.sum(sizes).as_py() or 0)
    gone = forgetting.all_clips
    samples = {
        folder: sum(_count(store, f"shards/{folder}/{shard}.parquet", "clip_id", gone) for shard in shards)
        for folder, shards in forgetting.shards.items()
    }
    return Extent(
        sources=len({item.uri for item in forgetting.items}),
        clips=len(gone),
        seconds=round(seconds, 3),
        stills=stills,
        still_bytes=still_bytes,
        rows={k: v for k, v in sorted(rows.items()) if v},
        samples={k: v for k, v in sorted(samples.items()) if v},
    )


def _count(store: Store, path: str, column: str, values: Collection[str]) -> int:
    if not values or not store.exists(path):
        return 0
    return int(store.read_table(path, [column], [(column, "in", set(values))]).num_rows)


# Doing it --------------------------------------------------------------------------------------------------------------


def begin(corpus: Corpus, forgetting: Forgetting) -> Forgetting:
    """Write down what is to be done; from here on it can only be finished. The caller holds the corpus for writing."""
    whole = replace(forgetting, items=with_content(forgetting.items))
    data = {"format": FORMAT, **asdict(whole)}
    corpus.store.commit_bytes(JOURNAL, (json.dumps(data, sort_keys=True, ensure_ascii=False) + "\n").encode())
    return whole


def begun(store: Store) -> Forgetting | None:
    """The forgetting that was begun and not finished."""
    if not store.exists(JOURNAL):
        return None
    try:
        data = json.loads(store.read_bytes(JOURNAL))
        if data.pop("format") != FORMAT:
            raise ValueError("it is of another format")
        data["items"] = [Item(**{**item, "segment_ids": tuple(item["segment_ids"])}) for item in data["items"]]
        data["clips"] = {int(part): clips for part, clips in data["clips"].items()}
        data["clusters"] = {
            folder: {int(part): rows for part, rows in parts.items()} for folder, parts in data["clusters"].items()
        }
        return Forgetting(**data)
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"`{store.uri}/{JOURNAL}` cannot be read ({error}).",
            fix="It says what is being forgotten: use the version of stiv that wrote it, or delete it and give the same --source again.",
        ) from None


def finish(
    corpus: Corpus, forgetting: Forgetting, on_part: Callable[[int, int], None] = lambda done, all_: None
) -> None:
    """Do all that was begun. Whatever of it is done already stays as it is.

    Args:
        on_part: told how many of the parts are done.
    """
    store = corpus.store
    Forgotten.read(store).adding(item.stone(forgetting.when) for item in forgetting.items).write(store)
    for name in store.names(""):
        if name == REPORT or (name.startswith("report-") and name.endswith(".html")):
            store.remove(name)
    for path in forgetting.again:
        store.remove(path)
    rewrite_clusters(corpus, forgetting.clusters)
    for folder, numbers in forgetting.shards.items():
        _forget_exported(store, f"shards/{folder}", numbers, forgetting.all_clips, forgetting.shards_again.get(folder))
    for done, part in enumerate(forgetting.parts, 1):
        _forget_part(corpus, forgetting, part)
        on_part(done, len(forgetting.parts))
    _scrub(corpus, forgetting)
    store.remove(JOURNAL)


def _forget_exported(
    store: Store, folder: str, numbers: dict[str, str | None], clips: Collection[str], again_from: int | None
) -> None:
    for old, new in numbers.items():
        if new == old:
            store.remove(f"{folder}/{old}.tar")  # of a killed export: no index stands for it
            store.remove(f"{folder}/{old}.failed.parquet")
        else:
            forget_shard(store, folder, old, new, clips)
    if numbers or again_from is not None:
        forget_planned(store, folder, numbers, clips, again_from)


def _forget_part(corpus: Corpus, forgetting: Forgetting, part: int) -> None:
    """Tables that hang on clips first, the plan next, the scan's own last: then nothing points at what is not there."""
    items = [item for item in forgetting.items if item.part == part]
    clips = set(forgetting.clips[part])
    for table in VARIANT_TABLES if clips else ():
        base = table_folder(table)
        for folder in corpus.store.names(base):
            drop_rows(corpus.store, f"{base}/{folder}/{part_name(part)}.parquet", table, "clip_id", clips)
            if table == "duplicates":
                _forget_looks(corpus.store, f"{base}/{folder}", part)
    drop_rows(corpus.store, corpus.path("plan", part), "plan", "uri", {item.uri for item in items})
    forget_scanned(corpus, part, {i.source_id for i in items if i.source_id is not None}, clips)


def _forget_looks(store: Store, folder: str, part: int) -> None:
    """What is remembered of a part's clips to compare them is made again when it is needed; so is a search that was under way."""
    for ending in ("parquet", "f16"):
        store.remove(f"{folder}/looks/{part_name(part)}.{ending}")
    store.remove(f"{folder}/work")


def _scrub(corpus: Corpus, forgetting: Forgetting) -> None:
    """A path that has other content left in the corpus may go on being named."""
    uris = {item.uri for item in forgetting.items}
    left: set[str] = set()
    for part in corpus.parts():
        rows = corpus.store.read_table(corpus.path("plan", part), ["uri"], [("uri", "in", uris)])
        left |= set(rows["uri"].to_pylist())
    names = forgetting.names(paths={p for i in forgetting.items if i.uri not in left for p in (i.uri, i.rel_path)})
    scrub_runs(corpus.store, names)
    scrub_answers(corpus.store, names, forgetting.parts)
    scrub_scratch(corpus.store, names)
