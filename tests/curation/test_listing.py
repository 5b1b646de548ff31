"""What the user names becomes a stable list of sources; what cannot be listed is an error that says so."""

import json
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.listing import list_inputs, path_to_uri, uri_to_path
from schemas.errors import UsageError


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_folder_is_searched_for_media_files_only(tmp_path: Path) -> None:
    touch(tmp_path / "b.MP4")
    touch(tmp_path / "sub dir" / "a [x] #1 & 100%.mkv")
    touch(tmp_path / "sub dir" / "a.txt")
    touch(tmp_path / ".hidden" / "c.mp4")
    touch(tmp_path / "._b.mp4")
    (tmp_path / "folder.mp4").mkdir()
    touch(tmp_path / "folder.mp4" / "inner.webm")
    found = list_inputs([str(tmp_path)])
    assert [e.rel_path for e in found] == ["b.MP4", "folder.mp4/inner.webm", "sub dir/a [x] #1 & 100%.mkv"]
    assert found[0].size == 1


STILL = b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(20)
MOVING = b"RIFF\x24\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02" + bytes(20)


def test_pictures_that_move_are_sources_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    touch(tmp_path / "moving.webp", MOVING)
    touch(tmp_path / "sub" / "MOVING.WEBP", MOVING)
    touch(tmp_path / "thumbnail.webp", STILL)
    touch(tmp_path / "short.webp", b"RIFF")
    touch(tmp_path / "cover.jpg")
    touch(tmp_path / "cover2.JPG")
    touch(tmp_path / "readme")
    for name in ("a.txt", "a.json", ".hidden.jpg"):
        touch(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.webp")
    wanted = ["a.mp4", "moving.webp", "sub/MOVING.WEBP"]
    for given in (tmp_path, tmp_path / "**"):
        left_out: Counter[str] = Counter()
        found = list_inputs([str(given)], left_out=left_out)
        assert sorted({e.rel_path for e in found}) == wanted
        assert left_out == {".webp": 3, ".jpg": 2, "": 1}
    (tmp_path / "list.csv").write_text("uri\na.mp4\n")
    left_out = Counter()
    list_inputs([str(tmp_path), str(tmp_path / "list.csv"), str(tmp_path / "cover.jpg")], left_out=left_out)
    assert left_out == {".webp": 3, ".jpg": 1, "": 1}, "what is named by itself is not left out"
    (alone,) = list_inputs([str(tmp_path / "thumbnail.webp")])  # the scan says that it is a picture
    assert alone.rel_path == "thumbnail.webp"


def test_same_file_named_twice_is_one_source(tmp_path: Path) -> None:
    file = touch(tmp_path / "v" / "a.mp4")
    assert len(list_inputs([str(file), str(tmp_path), str(tmp_path / "*" / "*.mp4")])) == 1


def test_equal_names_under_two_roots_get_distinct_paths(tmp_path: Path) -> None:
    touch(tmp_path / "one" / "a.mp4")
    touch(tmp_path / "two" / "a.mp4")
    found = list_inputs([str(tmp_path / "one"), str(tmp_path / "two")])
    assert [e.rel_path for e in found] == ["one/a.mp4", "two/a.mp4"]


def test_links_that_run_in_circles_end(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "v.mp4")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(list_inputs([str(tmp_path)])) == 1


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl", "parquet"])
def test_manifests_of_every_kind(tmp_path: Path, kind: str) -> None:
    video = touch(tmp_path / "videos" / "a.mp4")
    path = tmp_path / f"list.{kind}"
    row = {"uri": "videos/a.mp4", "caption": "A cat.", "license": "CC0", "tags": "x; y", "camera": 7}
    if kind == "txt":
        path.write_text("# comment\n\nvideos/a.mp4\n")
    elif kind == "csv":
        path.write_text("uri,caption,license,tags,camera\nvideos/a.mp4,A cat.,CC0,x; y,7\n")
    elif kind == "jsonl":
        path.write_text(json.dumps(row) + "\n")
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    (entry,) = list_inputs([str(path)])
    assert uri_to_path(entry.uri) == video
    assert entry.rel_path == "videos/a.mp4"
    if kind != "txt":
        assert (entry.caption, entry.license, entry.tags) == ("A cat.", "CC0", ("x", "y"))
        assert entry.extra == {"camera": "7"}


def test_vanished_file_of_a_manifest_is_listed_for_the_scan_to_record(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("gone.mp4\n")
    (entry,) = list_inputs([str(tmp_path / "l.txt")])
    assert entry.size is None


def test_text_beside_videos_is_no_manifest(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    touch(tmp_path / "a.txt", b"nosuch.mp4")
    assert [e.rel_path for e in list_inputs([str(tmp_path)])] == ["a.mp4"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.csv", "path\na.mp4\n", "no column `uri`"),
        ("m.jsonl", '{"uri": "a.mp4"}\n{oops\n', "line 2"),
        ("m.jsonl", "[1]\n", "list"),
        ("m.jsonl", '{"url": "a.mp4"}\n', "no `uri`"),
        ("m.txt", "s3://bucket/a.mp4\n", "remote"),
    ],
)
def test_broken_manifests_name_place_and_fix(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=says) as caught:
        list_inputs([str(tmp_path / name)])
    assert caught.value.fix


def test_binary_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UsageError, match="UTF-8"):
        list_inputs([str(tmp_path / "m.txt")])


def test_missing_input_and_empty_glob(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        list_inputs([str(tmp_path / "nosuch")])
    with pytest.raises(UsageError, match="Nothing matches"):
        list_inputs([str(tmp_path / "*.mp4")])


def test_output_inside_input_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match="lies inside the input"):
        list_inputs([str(tmp_path)], tmp_path / "deep" / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_folder_is_named(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    with pytest.raises(UsageError, match="locked"):
        list_inputs([str(tmp_path)])


def test_unreadable_folder_is_named_for_any_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError, match=r"locked.*Permission denied"):
        list_inputs([str(tmp_path)])


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    touch(path)
    (entry,) = list_inputs([str(tmp_path)])
    entry.uri.encode("utf-8")
    entry.rel_path.encode("utf-8")
    assert uri_to_path(entry.uri) == path
    assert uri_to_path(path_to_uri(path)).exists()
