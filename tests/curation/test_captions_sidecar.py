"""Captions from manifests and side-car files, and the contract that puts captioners in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from curation.captioning import make_captioners
from curation.captioning.contract import Captioner, CaptionText, ClipFacts, caption_clips
from curation.captioning.sidecar import (
    MAX_BYTES,
    ReadText,
    SidecarCaptioner,
    SidecarError,
    decode_text,
    read_local_text,
)
from schemas.errors import RecipeError
from schemas.tables import CAPTIONS


def clip(clip_id: str = "c", uri: str = "/v/dir.d/a.b.mp4", manifest: str | None = None) -> ClipFacts:
    return ClipFacts(clip_id, uri, uri.rpartition("/")[2], manifest, {}, [])


class Folder:
    """Files by URI; remembers what was asked for."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files
        self.asked: list[str] = []

    def __call__(self, uri: str) -> str | None:
        self.asked.append(uri)
        return self.files.get(uri)


def said(captioner: Captioner, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
    return asyncio.run(captioner.caption(clips))


def read(files: dict[str, str], one: ClipFacts | None = None) -> tuple[CaptionText | None, list[str]]:
    captioner = SidecarCaptioner(Folder(files))
    (found,) = said(captioner, [one or clip()])
    return found, captioner.warnings


def test_manifest_then_text_then_json() -> None:
    files = {"/v/dir.d/a.b.txt": "from text", "/v/dir.d/a.b.json": '{"caption": "from json"}'}
    assert read(files, clip(manifest=" from\nmanifest "))[0] == CaptionText("from manifest", scope="source")
    assert read(files)[0] == CaptionText("from text", scope="source")
    assert read({**files, "/v/dir.d/a.b.txt": " \n"}, clip(manifest="  "))[0] == CaptionText(
        "from json", scope="source"
    )
    assert read({}) == (None, [])


@pytest.mark.parametrize(
    ("uri", "beside"),
    [
        ("/v/a.mp4", "/v/a.txt"),
        ("s3://bucket/x.y/a.b.webm", "s3://bucket/x.y/a.b.txt"),
        ("s3://bucket/x.y/clip", "s3://bucket/x.y/clip.txt"),
        ("a.mp4", "a.txt"),
        ("/v/.hidden", "/v/.hidden.txt"),
    ],
)
def test_the_file_beside_has_the_same_stem(uri: str, beside: str) -> None:
    found, _ = read({beside: "here"}, clip(uri=uri))
    assert found is not None
    assert found.caption == "here"


@pytest.mark.parametrize(
    ("text", "caption", "short"),
    [
        ('{"caption": " a  cat ", "caption_short": "cat "}', "a cat", "cat"),
        ('{"text": "a cat", "caption": ""}', "a cat", None),
        ('{"description": "a cat", "text": null, "caption": ["x"]}', "a cat", None),
        ('{"caption": "a cat", "caption_short": 3}', "a cat", None),
        ('{"caption": "a \\ud800 cat"}', "a \ufffd cat", None),
    ],
)
def test_json_captions(text: str, caption: str, short: str | None) -> None:
    found, warnings = read({"/v/dir.d/a.b.json": text})
    assert found == CaptionText(caption, short, scope="source")
    assert warnings == []


@pytest.mark.parametrize(
    "text", ["", "{}", '{"width": 3, "title": "x"}', "[1, 2]", '"a cat"', "null", '{"caption": 5}']
)
def test_json_about_other_things_is_no_caption(text: str) -> None:
    assert read({"/v/dir.d/a.b.json": text}) == (None, [])


@pytest.mark.parametrize("text", ['{"caption": "a', "not json", "{'caption': 'a'}", "[" * 100_000, "9" * 10_000])
def test_broken_json_is_reported_and_no_caption(text: str) -> None:
    found, warnings = read({"/v/dir.d/a.b.json": text})
    assert found is None
    assert len(warnings) == 1
    assert warnings[0].startswith("/v/dir.d/a.b.json: not used as a caption: broken JSON")


def test_files_are_read_and_reported_once_per_source() -> None:
    folder = Folder({"/v/a.json": "{"})
    captioner = SidecarCaptioner(folder)
    clips = [clip("1", "/v/a.mp4"), clip("2", "/v/a.mp4"), clip("3", "/v/b.mp4")]
    assert said(captioner, clips[:1]) + said(captioner, clips[1:]) == [None] * 3
    assert folder.asked == ["/v/a.txt", "/v/a.json", "/v/b.txt", "/v/b.json"]
    assert len(captioner.warnings) == 1


def test_an_unusable_text_leaves_the_json_to_be_tried() -> None:
    def read_text(uri: str) -> str | None:
        if uri.endswith(".txt"):
            raise SidecarError("larger than allowed")
        return '{"caption": "a cat"}'

    captioner = SidecarCaptioner(read_text)
    assert said(captioner, [clip()]) == [CaptionText("a cat", scope="source")]
    assert captioner.warnings == ["/v/dir.d/a.b.txt: not used as a caption: larger than allowed"]


def test_failing_storage_is_not_an_absent_caption() -> None:
    def read_text(uri: str) -> str | None:
        raise OSError("network")

    with pytest.raises(OSError, match="network"):
        said(SidecarCaptioner(read_text), [clip()])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
        ("café".encode("utf-16"), "café"),
        (b"\xfe\xff\x00c", "c"),
        (b"caf\xe9 au lait", "caf\ufffd au lait"),
        (b"", ""),
    ],
)
def test_decoding(data: bytes, text: str) -> None:
    assert decode_text(data) == text


def test_reading_local_files(tmp_path: Path) -> None:
    file = tmp_path / "a b.txt"
    file.write_bytes(b"\xef\xbb\xbfa cat")
    assert read_local_text(str(file)) == "a cat"
    assert read_local_text(file.as_uri()) == "a cat"
    assert read_local_text(str(file / "below.txt")) is None
    assert read_local_text(str(tmp_path / ("x" * 300 + ".txt"))) is None
    assert read_local_text(str(tmp_path / "none.txt")) is None
    with pytest.raises(SidecarError, match="directory"):
        read_local_text(str(tmp_path))
    file.write_bytes(b"x" * MAX_BYTES)
    assert len(read_local_text(str(file)) or "") == MAX_BYTES
    file.write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(SidecarError, match="larger"):
        read_local_text(str(file))


class Fixed:
    """Answers from a table; remembers which clips it was asked for."""

    fingerprint = "fixed-1"
    warnings = ()

    def __init__(self, name: str, texts: dict[str, CaptionText]) -> None:
        self.name = name
        self.texts = texts
        self.asked: list[str] = []

    async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        self.asked += [c.clip_id for c in clips]
        return [self.texts.get(c.clip_id) for c in clips]


def test_later_captioners_are_asked_only_for_what_is_empty() -> None:
    first = Fixed("first", {"b": CaptionText("from first", "short", "{}", "source"), "c": CaptionText(" \n")})
    second = Fixed("second", {"a": CaptionText("from second one two three"), "b": CaptionText("never")})
    third = Fixed("third", {"c": CaptionText("from third")})
    fourth = Fixed("fourth", {})
    rows = asyncio.run(caption_clips([clip(i) for i in "abc"], [first, second, third, fourth], 15))
    assert [first.asked, second.asked, third.asked, fourth.asked] == [["a", "b", "c"], ["a", "c"], ["c"], []]
    assert [r["captioner"] for r in rows] == ["second", "first", "third"]
    assert [r["caption"] for r in rows] == ["from second one", "from first", "from third"]
    assert [r["caption_scope"] for r in rows] == ["clip", "source", "clip"]
    assert [r["caption_short"] for r in rows] == [None, "short", None]
    assert [r["caption_structured"] for r in rows] == [None, "{}", None]
    assert [r["caption_words"] for r in rows] == [3, 2, 2]


def test_rows_fit_the_captions_table() -> None:
    captioner = Fixed("x", {"a": CaptionText("A cat sits on a mat.")})
    rows = asyncio.run(caption_clips([clip("a"), clip("b")], [captioner], 100))
    assert all(list(row) == CAPTIONS.names for row in rows)
    table = pa.Table.from_pylist(rows, schema=CAPTIONS.arrow)
    table.validate(full=True)
    assert rows[1]["captioner"] is None
    assert rows[1]["caption"] is None
    assert (rows[1]["caption_words"], rows[1]["caption_repetition"]) == (0, 0.0)


def make(names: list[str], read_text: ReadText = read_local_text) -> list[Captioner]:
    return make_captioners({"captioners": names}, lambda name: pytest.fail("no model is needed"), read_text)


def test_captioners_of_a_recipe_are_made_in_its_order() -> None:
    folder = Folder({"/v/a.txt": "a cat"})
    captioners = make(["sidecar", "describe"], folder)
    rows = asyncio.run(caption_clips([clip("1", "/v/a.mp4"), clip("2", "/v/b.mp4")], captioners, 100))
    assert [row["captioner"] for row in rows] == ["sidecar", "describe"]
    assert [c.name for c in make(["describe", "sidecar"])] == ["describe", "sidecar"]
    assert all(c.fingerprint.startswith(c.name) and not c.warnings for c in captioners)
    with pytest.raises(RecipeError, match="no captioner `x`"):
        make(["x"])


def test_a_captioner_with_the_wrong_number_of_texts_is_an_error() -> None:
    class Short(Fixed):
        async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
            return []

    with pytest.raises(ValueError, match="`short` gave 0 texts for 1 clips"):
        asyncio.run(caption_clips([clip()], [Short("short", {})], 100))
