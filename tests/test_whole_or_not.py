"""Outputs whole or not at all: every step of a write fails in turn, or the process dies there."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import picture

import lowrank
from lowrank import codec, files, moves
from lowrank import format as lrk
from lowrank.errors import FileError, FormatError
from lowrank.io import pillow
from lowrank.targets import Target

OLD, NEW = b"old" * 1000, b"new" * 2000
posix = pytest.mark.skipif(os.name != "posix", reason="signals and permission bits of POSIX")

# How a new file comes to its name: Linux's way, that of others, and that of FAT.
WAYS = {"rename": (), "link": ("rename",), "look": ("rename", "link")}


class Steps:
    """The system's calls of a write; the one of number `fatal` does `fail()` first, or after."""

    def __init__(self, patch: Any, way: str, fatal: int, fail: Any, *, after: bool = False):
        self.count, self.names, self.fatal, self.fail, self.after = 0, [], fatal, fail, after
        places = {
            "open": (os, "open"),
            "fsync": (os, "fsync"),
            "utime": (os, "utime"),
            "replace": (os, "replace"),
            "link": (os, "link"),
            "rename": (moves, "_rename_to_new"),
        }
        for name, (module, attribute) in places.items():
            real = getattr(module, attribute)
            lacking = OSError(errno.EPERM, "not here") if name in WAYS[way] else None
            patch.setattr(module, attribute, self.watched(name, real, lacking))
        fdopen = os.fdopen
        patch.setattr(os, "fdopen", lambda *a: _Stream(fdopen(*a), self))

    def watched(self, name: str, real: Any, lacking: OSError | None = None) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if lacking:
                raise lacking
            self.count += 1
            self.names.append(name)
            fatal = self.count == self.fatal
            if fatal and not self.after:
                self.fail()
            found = real(*arguments, **options)
            if fatal and self.after:
                self.fail()
            return found

        return call


class _Stream:
    """A file of which each write may fail."""

    def __init__(self, stream: Any, steps: Steps):
        self.stream = stream
        self.write = steps.watched("write", stream.write)
        self.flush = steps.watched("flush", stream.flush)
        self.fileno = stream.fileno

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


def write(path: Path, *, force: bool) -> None:
    kept = os.stat(path.parent)
    files.write_atomic(path, [NEW[:7], NEW[7:]], force=force, preserved=kept)


def state(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


ERRORS = [
    *(OSError(number, os.strerror(number)) for number in (errno.ENOSPC, errno.EIO, errno.EPERM)),
    *(OSError(n, os.strerror(n)) for n in (errno.EINVAL, errno.EMLINK, errno.EEXIST)),
    KeyboardInterrupt(),
    SystemExit(1),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_whichever_step_fails_the_file_is_old_or_new_or_absent(
    tmp_path: Path, way: str, force: bool, error: BaseException, after: bool
) -> None:
    path = tmp_path / "a"
    for fatal in itertools.count(1):
        path.unlink(missing_ok=True)
        if force:
            path.write_bytes(OLD)
        before, raised = state(path), None

        def fail() -> None:
            raise error

        with pytest.MonkeyPatch.context() as patch:
            steps = Steps(patch, way, fatal, fail, after=after)
            try:
                write(path, force=force)
            except (FileError, KeyboardInterrupt, SystemExit) as found:
                raised = found
        assert [p.name for p in tmp_path.iterdir() if p != path] == [], (fatal, steps.names)
        if raised is None:
            assert state(path) == NEW, (fatal, steps.names)
        else:
            assert state(path) in (before, NEW), (fatal, steps.names)
            done = steps.names if after else steps.names[:-1]
            if not {"rename", "link", "replace"} & set(done):
                assert state(path) == before, (fatal, steps.names)
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EIO, errno.EEXIST):
            tried = [x for x in steps.names if x in ("rename", "link", "replace")]
            assert len(tried) <= 1, "an error of one way is no reason to take another"
        if steps.count < fatal:
            break
    moves = [x for x in steps.names if x in ("rename", "link", "replace")]
    assert raised is None
    assert moves == (["replace"] if force or way == "look" else [way])
    assert steps.names.count("write") == 2
    assert steps.names.count("fsync") == 2  # of the file, and of its folder


@posix
@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_killed_at_any_step_the_file_is_old_or_new_or_absent(
    tmp_path: Path, way: str, force: bool
) -> None:
    for fatal in itertools.count(1):
        folder = tmp_path / f"{fatal}"
        folder.mkdir()
        path = folder / "a"
        if force:
            path.write_bytes(OLD)
        before = state(path)
        child = os.fork()
        if not child:
            code = 1
            try:
                with pytest.MonkeyPatch.context() as patch:
                    Steps(patch, way, fatal, lambda: os.kill(os.getpid(), signal.SIGKILL))
                    write(path, force=force)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
        assert state(path) in (before, NEW)
        for left in folder.iterdir():
            assert left == path or (left.name.startswith(".lowrank-") and left.suffix == ".tmp")
        if not os.WIFSIGNALED(status):
            assert state(path) == NEW
            break
    assert fatal > 6


@pytest.mark.parametrize("way", WAYS)
def test_of_many_writers_one_wins(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Steps(monkeypatch, way, 0, None)
    path, won = tmp_path / "a", []
    barrier = threading.Barrier(8)

    def one(number: int) -> None:
        barrier.wait()
        try:
            files.write_atomic(path, bytes([number]) * 5000, force=False)
        except FileError:
            return
        won.append(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert path.read_bytes() == bytes(won) * 5000
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    Steps(monkeypatch, way, 0, None)

    def slow() -> Iterator[bytes]:
        yield NEW
        path.write_bytes(OLD)  # another process, after the look and before the move

    with pytest.raises(FileError, match="-f replaces it"):
        files.write_atomic(path, slow(), force=False)
    assert path.read_bytes() == OLD
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@posix
def test_without_rename_and_link_one_run_waits_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    Steps(monkeypatch, "look", 0, None)
    path, said = tmp_path / "a", []

    def one() -> None:
        with pytest.raises(FileError, match="exists"):
            files.write_atomic(path, NEW, force=False)
        said.append(True)

    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # another run is between its look and its move
    writer = threading.Thread(target=one)
    writer.start()
    while not any(p.stat().st_size == len(NEW) for p in tmp_path.iterdir()):
        time.sleep(0.01)
    time.sleep(0.2)
    assert not path.exists()
    path.write_bytes(OLD)
    os.close(folder)
    writer.join()
    assert said
    assert path.read_bytes() == OLD


def test_linux_renames_without_replacing(tmp_path: Path) -> None:
    if moves._renameat2() is None:
        pytest.skip("this system has no renameat2")
    (tmp_path / "a").write_bytes(NEW)
    (tmp_path / "b").write_bytes(OLD)
    with pytest.raises(FileExistsError):
        moves._rename_to_new(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == OLD
    moves._rename_to_new(str(tmp_path / "a"), str(tmp_path / "ü\udcff"))
    assert sorted(os.listdir(os.fsencode(tmp_path))) == [b"b", "ü".encode() + b"\xff"]
    with pytest.raises(FileNotFoundError):
        moves._rename_to_new(str(tmp_path / "a"), str(tmp_path / "c"))


# -- what is written can be read ----------------------------------------------------------------


@pytest.mark.parametrize("store", ["float16", "float32", "float64", "packed"])
def test_norms_that_no_reader_believes_are_not_written(store: str) -> None:
    made = lowrank.compress(picture("L", 20, 24).samples[:, :, 0], rank=3, store=store)
    parts = lrk.parse(made.to_bytes(), name="it", max_pixels=1000)
    name = "stated" if store == "packed" else "factors"
    (said,) = getattr(parts.body, name)
    for key in ("norm", "sigma_next", "tail"):
        for value in (2.0**161, np.inf, np.nan, -1.0):
            changed = said._replace if store == "packed" else partial(replace, said)
            bad = replace(parts, body=replace(parts.body, **{name: (changed(**{key: value}),)}))
            with pytest.raises(FormatError, match="cannot be stated"):
                lrk.serialize(bad)


def test_a_file_at_the_limit_stays_within_it_however_it_is_shortened() -> None:
    """What is dropped joins the tail, and the tail is never above the norm."""
    made = lowrank.compress(picture("L", 20, 24).samples[:, :, 0], rank=3, store="float64")
    parts = lrk.parse(made.to_bytes(), name="it", max_pixels=1000)
    (f,) = parts.body.factors
    largest = 2.0**160
    f = replace(f, s=np.full(3, largest / 3**0.5), norm=largest, tail=0.0, sigma_next=0.0)
    whole = lrk.serialize(replace(parts, body=replace(parts.body, factors=(f,))))
    read = lrk.parse(whole, name="a.lrk", max_pixels=1000)
    for k in (1, 2):
        kept = lrk.serialize(codec.shorten(read, Target("rank", k)))
        assert lrk.parse(kept, name="b.lrk", max_pixels=1000).ranks == (k,)
    beyond = replace(f, s=np.full(3, largest))
    written = lrk.serialize(replace(parts, body=replace(parts.body, factors=(beyond,))))
    with pytest.raises(FormatError, match="contradicts itself"):
        lrk.parse(written, name="c.lrk", max_pixels=1000)


# -- permissions and times ----------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@posix
@pytest.mark.parametrize("bits", [0o600, 0o640, 0o644, 0o400, 0o666, 0o755])
def test_an_output_is_never_open_to_more_than_its_input(
    cli: Any, small_png: Path, tmp_path: Path, no_umask: None, bits: int
) -> None:
    small_png.chmod(bits)
    runs = [
        ("compress", "in.png", "-k", 2),
        ("compress", "in.lrk", "-k", 1, "-o", "short.lrk"),
        ("decompress", "in.lrk", "-o", "back.png"),
        ("report", "in.png", "--html", "page.html"),
    ]
    for run in runs:
        cli(*run).succeeded()
    for name in ("in.lrk", "short.lrk", "back.png", "page.html"):
        assert mode(tmp_path / name) == bits & 0o666
    (tmp_path / "in.lrk").chmod(0o666)
    cli("compress", "in.png", "-k", 3, "-f").succeeded()
    assert mode(tmp_path / "in.lrk") == bits & 0o666


@posix
def test_a_page_of_a_private_file_is_private(
    cli: Any, small_png: Path, tmp_path: Path, no_umask: None
) -> None:
    cli("compress", "in.png", "-k", 2).succeeded()
    small_png.chmod(0o644)
    (tmp_path / "in.lrk").chmod(0o600)
    cli("report", "in.png", "in.lrk", "--html", "page.html").succeeded()
    assert mode(tmp_path / "page.html") == 0o600


@posix
def test_what_frames_become_is_as_private_as_any_of_them(
    cli: Any, small_png: Path, tmp_path: Path, no_umask: None
) -> None:
    """Also a page, which is given their folder; and where the newest one tells time and mode."""
    (tmp_path / "d").mkdir()
    for name, bits in (("1.png", 0o600), ("2.png", 0o644)):
        (tmp_path / "d" / name).write_bytes(small_png.read_bytes())
        (tmp_path / "d" / name).chmod(bits)
        os.utime(tmp_path / "d" / name, ns=(0, 10**18 + bits))
    for flags in ((), ("-p",)):
        cli("compress", "d", "--stack", "-k", 1, "-f", *flags).succeeded()
        assert mode(tmp_path / "d.lrk") == 0o600
    assert (tmp_path / "d.lrk").stat().st_mtime_ns == 10**18 + 0o644
    cli("report", "d", "--stack", "--html", "page.html").succeeded()
    assert mode(tmp_path / "page.html") == 0o600


@posix
@pytest.mark.parametrize("flag", ["-p", "--preserve"])
def test_preserve_keeps_times_and_mode(
    cli: Any, small_png: Path, tmp_path: Path, flag: str
) -> None:
    small_png.chmod(0o755)
    os.utime(small_png, ns=(1_000_000_000_123_456_789, 1_100_000_000_987_654_321))
    before = small_png.stat()
    cli("compress", "in.png", "-k", 2, flag).succeeded()
    cli("decompress", "in.lrk", "-o", "back.png", flag).succeeded()
    for name in ("in.lrk", "back.png"):
        after = (tmp_path / name).stat()
        assert after.st_mtime_ns == before.st_mtime_ns
        assert stat.S_IMODE(after.st_mode) == 0o755
    cli("compress", "in.png", "-k", 2, "-f").succeeded()
    assert (tmp_path / "in.lrk").stat().st_mtime_ns > time.time_ns() - 10**11
    for run in (("-",), ("in.png", "-o", "-")):
        stdin = small_png.read_bytes()
        assert "-p" in cli("compress", *run, "-k", 2, "-p", stdin=stdin).failed(2)


def test_skip_existing_redoes_what_is_older_than_its_source(
    cli: Any, small_png: Path, tmp_path: Path
) -> None:
    skip = ("-k", 2, "--skip-existing")
    cli("compress", "in.png", *skip).succeeded()
    output = tmp_path / "in.lrk"
    first = output.stat()
    assert "skipped" in cli("compress", "in.png", *skip).succeeded().text
    assert output.stat() == first
    small_png.write_bytes(pillow.write(picture("RGB", 30, 40, seed=5), format="PNG"))
    os.utime(output, ns=(0, small_png.stat().st_mtime_ns))
    assert "skipped" in cli("compress", "in.png", *skip).succeeded().text
    os.utime(output, ns=(0, small_png.stat().st_mtime_ns - 1))
    assert "skipped" not in cli("compress", "in.png", *skip).succeeded().text
    assert output.read_bytes() == lowrank.compress(small_png, rank=2).to_bytes()
    (tmp_path / "x.png").write_bytes(b"older")
    os.utime(tmp_path / "x.png", ns=(0, output.stat().st_mtime_ns - 1))
    cli("decompress", "in.lrk", "-o", "x.png", "--skip-existing").succeeded()
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
