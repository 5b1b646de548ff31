"""Killed anywhere, run again: the same bytes as a run that nobody disturbed, and nothing committed is done twice."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from curation import child
from curation.corpus import Corpus
from curation.golden.write import write_golden
from curation.storage import Store
from pipelines.stages import scan
from schemas.errors import StivError


class Death(BaseException):
    """Stands for the power cord: nothing of ours handles it."""


COMMITS = (
    "plan/part-000001",
    "plan/parts",
    "transitions/part-000000",
    "stills/part-000000",
    "clips/part-000000",
    "sources/part-000000",
    "decisions/default/part-000001",
    "shards/default/plan",
    "shards/default/000000.tar",
    "shards/default/000000.parquet",
)
"""In the order in which a run makes them."""


def many_parts(videos: Path, out: Path, run: Any) -> Any:
    return run(out, videos, settings=("plan.part_sources=2", "export.shard_samples=2"))


@pytest.fixture(scope="module")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory, run: Any) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "c"
    many_parts(videos, out, run)
    return out


def test_death_at_any_commit_changes_nothing(
    videos: Path, tmp_path: Path, run: Any, tree: Any, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dies before one commit after another, all in one corpus."""
    out = tmp_path / "c"
    for kind in COMMITS:
        with monkeypatch.context() as patch:
            already = len(_files(out))
            _die_before(patch, kind)
            with pytest.raises(Death):
                many_parts(videos, out, run)
            assert len(_files(out)) >= already
    many_parts(videos, out, run)
    assert tree(out) == tree(undisturbed)


def _die_before(patch: pytest.MonkeyPatch, kind: str) -> None:
    for name in ("commit_bytes", "commit_file"):
        real = getattr(Store, name)

        def commit(self: Store, path: str, *rest: Any, _real: Any = real) -> None:
            if path.startswith(kind):
                raise Death
            _real(self, path, *rest)

        patch.setattr(Store, name, commit)


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and ".scratch" not in p.parts]


def test_finished_sources_of_an_unfinished_part_are_not_scanned_again(
    videos: Path, tmp_path: Path, run: Any, tree: Any, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "c"
    with monkeypatch.context() as patch:
        _die_before(patch, "transitions/")
        with pytest.raises(Death):
            run(out, videos)
    _, counts = run(out, videos)
    assert counts.resumed_sources == counts.sources == 4
    assert tree(out) == tree(straight)


def test_finished_cuts_of_an_unfinished_shard_are_not_cut_again(
    videos: Path, tmp_path: Path, run: Any, tree: Any, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "c"
    with monkeypatch.context() as patch:
        _die_before(patch, "shards/default/000000.tar")
        with pytest.raises(Death):
            run(out, videos)
    _, counts = run(out, videos)
    assert counts.resumed_cuts == sum(counts.cut.values()) == 4
    assert tree(out) == tree(straight)


def command(videos: Path, out: Path, executor: str) -> list[str]:
    sets = ["plan.part_sources=1", "export.shard_samples=1", "select.unaesthetic=off", "select.blurred=off"]
    return [
        sys.executable, "-m", "pipelines.cli.main", "curate", str(videos), "--out", str(out), "--executor", executor, "--jobs", "2", "--no-report",
        *[x for s in sets for x in ("--set", s)],
    ]  # fmt: skip


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of the whole group and of whatever it started, Ray's daemons too."""
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(family, timeout=20)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_kill_nine_at_random_moments(videos: Path, tmp_path: Path, executor: str, tree: Any) -> None:
    """Five times kill -9 of the group at a random moment, then the same command once more."""
    whole, out = tmp_path / "whole", tmp_path / "c"
    subprocess.run(command(videos, whole, "inline"), check=True, capture_output=True)
    rng = random.Random(7)
    committed: dict[Path, int] = {}
    for _ in range(5):
        process = subprocess.Popen(
            command(videos, out, executor), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=rng.uniform(1.0, 9.0) + (8.0 if executor == "ray" else 0.0))
        except subprocess.TimeoutExpired:
            kill_tree(process)
        now = {p: p.stat().st_ino for p in out.glob("sources/*.parquet")}
        assert all(now[p] == inode for p, inode in committed.items())  # committed parts were not written again
        committed = now
    subprocess.run(command(videos, out, executor), check=True, capture_output=True)
    assert tree(out) == tree(whole)


def signal_decoders(number: int) -> None:
    """Send a signal to every child process that decodes."""
    for member in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if "spawn_main" in " ".join(member.cmdline()):
                member.send_signal(number)


@pytest.fixture
def hanging_part(tmp_path: Path, run: Any, hanging: Any) -> Any:
    """A corpus planned with one source that never gives a byte: call it with the stall time."""
    folder = tmp_path / "v"
    folder.mkdir()
    hanging(folder / "hangs.mp4")
    return lambda stall: run(tmp_path / "c", folder, settings=(f"scan.stall_s={stall}",), stages=())


def test_source_that_hangs_becomes_a_row(tmp_path: Path, run: Any, hanging_part: Any) -> None:
    hanging_part(1.0)
    run(tmp_path / "c", settings=("scan.stall_s=1",), stages=("scan",))
    (row,) = Corpus.open(tmp_path / "c").read("sources", 0).to_pylist()
    assert (row["status"], row["error_code"]) == ("error", "timeout")
    assert "no frame for scan.stall_s = 1 seconds" in row["error"]


def test_what_is_no_file_becomes_a_row_at_once(tmp_path: Path, run: Any) -> None:
    """A pipe that nobody writes to, named alone or in a folder, by itself or behind a link: no wait for the stall time."""
    folder = tmp_path / "v"
    folder.mkdir()
    os.mkfifo(folder / "pipe.mp4")
    (folder / "link.mp4").symlink_to("pipe.mp4")
    (folder / "null.mp4").symlink_to("/dev/null")
    run(tmp_path / "c", folder, settings=("scan.stall_s=600",), stages=("scan",))
    rows = {r["rel_path"]: r for r in Corpus.open(tmp_path / "c").read("sources", 0).to_pylist()}
    assert {name: (r["error_code"], r["error"]) for name, r in rows.items()} == {
        "pipe.mp4": ("unsupported", "this is a named pipe, not a file"),
        "link.mp4": ("unsupported", "this is a named pipe, not a file"),
        "null.mp4": ("unsupported", "this is a device, not a file"),
    }
    os.utime(
        folder / "pipe.mp4", (1, 1)
    )  # touched: planning looks into what has changed, and must not wait for it either
    run(tmp_path / "c", folder, settings=("scan.stall_s=600",), stages=())


def test_source_whose_decoder_dies_becomes_a_row(tmp_path: Path, run: Any, hanging_part: Any) -> None:
    hanging_part(600.0)
    corpus = Corpus.open(tmp_path / "c")
    (segment,) = corpus.read("plan", 0).column("segment_id").to_pylist()
    attempts = scan.scratch(corpus, 0) / segment / child.ATTEMPT_FILE
    done = threading.Event()

    def assassin() -> None:
        killed = 0
        while not done.wait(0.05):
            if not attempts.exists() or attempts.read_text().count(f'"count": {killed + 1}') == 0:
                continue
            killed += 1  # the child has begun: this one dies, the next shall be let begin too
            signal_decoders(signal.SIGKILL)

    thread = threading.Thread(target=assassin)
    thread.start()
    try:
        run(tmp_path / "c", settings=("scan.stall_s=600",), stages=("scan",))
    finally:
        done.set()
        thread.join()
    (row,) = corpus.read("sources", 0).to_pylist()
    assert (row["status"], row["error_code"]) == ("error", "crashed")
    assert "died twice" in row["error"]


def test_source_that_keeps_killing_its_worker_is_given_up(videos: Path, tmp_path: Path, run: Any) -> None:
    """As if the worker had died three times in this run while this source was at work."""
    from pipelines.chain import SCAN
    from pipelines.context import Context
    from pipelines.inline_run import run_inline
    from schemas.recipe import CurateRecipe

    run(tmp_path / "c", videos, stages=())
    corpus = Corpus.open(tmp_path / "c")
    plan = {r["rel_path"]: r["segment_id"] for r in corpus.read("plan", 0).to_pylist()}
    folder = scan.scratch(corpus, 0) / plan["captioned.mp4"]
    folder.mkdir(parents=True)
    for _ in range(scan.POISON_AFTER):
        child._count_attempt(folder, "this run")
    events: list[dict[str, Any]] = []
    run_inline(Context(corpus.store.uri, "this run", 2, CurateRecipe()), [SCAN], [0], events.append)
    rows = {r["rel_path"]: r["error_code"] for r in corpus.read("sources", 0).to_pylist()}
    assert rows == {
        "captioned.mp4": "poison",
        "two_shots.mp4": None,
        "sub/third one.mkv": None,
        "sub/empty.mp4": "empty_file",
    }
    assert child.attempts(folder, "another run") == 0  # a person who stops runs does not poison anything


_AS_FROM_A_TERMINAL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore Ctrl-C, tests too
from pipelines.cli.main import main
main()
"""


def test_ctrl_c_keeps_what_is_finished_and_ends_everything(tmp_path: Path, hanging: Any) -> None:
    """SIGINT to the whole group, as a terminal sends it: exit code 130, one line, no child left, and the run is on record."""
    folder = tmp_path / "v"
    folder.mkdir()
    hanging(folder / "hangs.mp4")
    arguments = [
        sys.executable,
        "-c",
        _AS_FROM_A_TERMINAL,
        "curate",
        str(folder),
        "--out",
        str(tmp_path / "c"),
        "--executor",
        "inline",
        "--no-report",
    ]
    process = subprocess.Popen(
        arguments, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not list(tmp_path.glob("c/.scratch/scan/**/attempts.json")):  # the child is at work
        assert process.poll() is None
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert "Interrupted. What is finished is kept" in out
    assert "Traceback" not in out
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    assert gone
    (record,) = [json.loads(p.read_text()) for p in (tmp_path / "c").glob("runs/*.json")]
    assert (record["command"], record["outcome"]) == ("curate", "interrupted")


def test_workers_told_to_stop_blame_no_source(tmp_path: Path, run: Any, hanging_part: Any) -> None:
    """A scheduler's SIGTERM reaches the decoder processes first: the run ends, and nothing is recorded of the source."""
    hanging_part(600.0)
    corpus = Corpus.open(tmp_path / "c")
    done = threading.Event()

    def stopper() -> None:
        while not done.wait(0.05):
            if list((tmp_path / "c" / ".scratch").rglob(child.ATTEMPT_FILE)):
                signal_decoders(signal.SIGTERM)

    thread = threading.Thread(target=stopper)
    thread.start()
    try:
        with pytest.raises(StivError, match="told to stop"):
            run(tmp_path / "c", settings=("scan.stall_s=600",), stages=("scan",))
    finally:
        done.set()
        thread.join()
    assert corpus.scanned() == set()
    assert not list((tmp_path / "c" / ".scratch").rglob(child.RESULT_FILE))


def test_full_scratch_is_no_fault_of_the_sources(videos: Path, tmp_path: Path) -> None:
    """A file-size limit stands for the full disk, in the children too: exit code 2, no source is called unreadable."""
    arguments = " ".join(f"'{a}'" for a in command(videos, tmp_path / "c", "inline"))
    done = subprocess.run(["bash", "-c", f"ulimit -f 20; {arguments}"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Error: Writing" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "c").glob("sources/*.parquet"))


def test_background_job_of_a_terminal_does_not_stop(videos: Path, tmp_path: Path) -> None:
    """A child that reads the terminal from a background process group is stopped by it, and the run stands still for ever."""
    import pty

    source = tmp_path / "v"
    source.mkdir()
    (source / "a.mp4").write_bytes((videos / "captioned.mp4").read_bytes())
    words = " ".join(f"'{w}'" for w in command(source, tmp_path / "c", "inline"))
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "-ic", f"set -m; stty tostop; ({words}) > /dev/null 2>&1 & wait $!; exit $?"])
    try:
        while True:
            try:
                if not os.read(terminal, 4096):
                    break
            except OSError:
                break
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert list((tmp_path / "c").glob("shards/default/*.tar"))


@pytest.mark.slow
@pytest.mark.ray
def test_dead_ray_actors_cost_only_what_was_at_work(tmp_path: Path, tree: Any) -> None:
    """Twice, the actor that scans is killed with sources at work: Ray puts another in its place, and the bytes are the same."""
    source = write_golden(tmp_path / "v", ("demo",)).parent
    whole, out = tmp_path / "whole", tmp_path / "c"
    words = [w for w in command(source, whole, "inline") if w not in ("--set", "plan.part_sources=1")]
    one_part = [w for pair in (("--set", x) for x in words if "=" in x and "/" not in x) for w in pair]
    plain = [w for w in words if not ("=" in w and "/" not in w)]
    subprocess.run([*plain, *one_part], check=True, capture_output=True)
    arguments = [str(out) if w == str(whole) else w for w in [*plain, *one_part]]
    arguments[arguments.index("inline")] = "ray"
    process = subprocess.Popen(
        arguments,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    killed: list[int] = []
    while process.poll() is None and len(killed) < 2:
        if len(list(out.glob(".scratch/scan/*/*/*/result.json"))) >= 4 + 6 * len(killed):
            for member in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    works = any("spawn_main" in " ".join(c.cmdline()) for c in member.children())
                    if works and member.pid not in killed and "ray::" in " ".join(member.cmdline()):
                        member.kill()
                        killed.append(member.pid)
                        break
    assert process.wait() == 0
    assert len(killed) == 2
    assert tree(out) == tree(whole)


def test_an_orphan_ends_even_where_its_parent_died_before_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system then names another parent, which will never be gone."""
    import multiprocessing

    from curation import child

    class Ended(BaseException):
        pass

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(child.os, "_exit", end)
    with (tmp_path / "log").open("w") as log:
        child.Watch(60.0, log).stop()  # of this process itself nothing is wrong
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        monkeypatch.setattr(multiprocessing, "parent_process", lambda: dead)
        with pytest.raises(Ended):
            child.Watch(60.0, log)
