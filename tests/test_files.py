"""Atomic writes: whichever step fails, the file is the old one or the new one."""

from __future__ import annotations

import io
import os
import random
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lowrank import files
from lowrank.errors import FileError, LowrankError

OLD, NEW = b"old" * 1000, b"new" * 2000
posix = pytest.mark.skipif(os.name != "posix", reason="signals and permission bits of POSIX")


def refusal(call: Callable[[], object]) -> str:
    """The message of a FileError, which must be one line."""
    with pytest.raises(FileError) as caught:
        call()
    message = str(caught.value)
    assert message
    assert message.isprintable()
    return message


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- writing ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [NEW, bytearray(NEW), memoryview(NEW), [NEW[:7], NEW[7:]], b"", []]
)
def test_a_new_file_holds_the_data_and_stands_alone(tmp_path: Path, data: Any) -> None:
    files.write_atomic(tmp_path / "a", data, force=False)
    expected = b"".join(data) if isinstance(data, list) else bytes(data)
    assert (tmp_path / "a").read_bytes() == expected
    assert names(tmp_path) == ["a"]


def test_an_existing_file_is_replaced_on_request_only(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    assert "-f replaces it" in refusal(lambda: files.write_atomic(path, NEW, force=False))
    assert "-f replaces it" in refusal(lambda: files.check_output(path, force=False))
    assert path.read_bytes() == OLD
    files.check_output(path, force=True)
    files.write_atomic(path, NEW, force=True)
    assert path.read_bytes() == NEW
    assert names(tmp_path) == ["a"]


def test_force_writes_a_new_file_too(tmp_path: Path) -> None:
    files.write_atomic(str(tmp_path / "a"), NEW, force=True)
    assert (tmp_path / "a").read_bytes() == NEW


@pytest.mark.parametrize("kind", [LowrankError, ValueError, KeyboardInterrupt, GeneratorExit])
def test_a_failure_of_the_data_passes_unchanged(tmp_path: Path, kind: type[BaseException]) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    error = kind("the data")

    def data() -> Iterator[bytes]:
        yield NEW
        raise error

    with pytest.raises(kind) as caught:
        files.write_atomic(path, data(), force=True)
    assert caught.value is error
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["a"]


@posix
def test_a_real_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    code = """
        import resource, sys
        from lowrank import errors, files
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            files.write_atomic(sys.argv[1], bytes(1_000_000), force=True)
        except errors.FileError as error:
            print(error)
    """
    ended = subprocess.run(child(code, path), capture_output=True, text=True, check=True)
    assert "too large" in ended.stdout
    assert ended.stderr == ""
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["a"]


def child(code: str, *arguments: object) -> list[str]:
    root = str(Path(files.__file__).parents[1])
    start = f"import sys; sys.path.insert(0, {root!r})\n"
    return [sys.executable, "-c", start + textwrap.dedent(code), *map(str, arguments)]


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_old_file_and_nothing_else(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    code = """
        import signal, time
        from lowrank import files
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has none
        def data():
            yield bytes(100_000)
            print("half", flush=True)
            time.sleep(60)
        files.write_atomic(sys.argv[1], data(), force=True)
    """
    with subprocess.Popen(
        child(code, path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        assert len(names(tmp_path)) == 2
        process.send_signal(number)
        assert process.wait() != 0
    assert path.read_bytes() == OLD
    assert names(tmp_path) == ["a"]


@posix
def test_a_kill_at_any_moment_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "a"
    contents = [bytes([byte]) * 300_000 for byte in (1, 2)]
    code = """
        from lowrank import files
        print("go", flush=True)
        while True:
            for byte in (1, 2):
                files.write_atomic(sys.argv[1], bytes([byte]) * 300_000, force=True)
    """
    draw = random.Random(0)
    for _ in range(12):
        with subprocess.Popen(child(code, path), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while not path.exists():
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.02))
            process.kill()
        assert path.read_bytes() in contents


# --- where it writes -------------------------------------------------------------


@posix
def test_the_umask_and_the_old_permissions_hold(tmp_path: Path) -> None:
    path = tmp_path / "a"
    before = os.umask(0o027)
    try:
        files.write_atomic(path, OLD, force=False)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        files.write_atomic(path, NEW, force=True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(before)


@posix
def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    target, link = tmp_path / "inner" / "a", tmp_path / "link"
    link.symlink_to(target)
    files.write_atomic(link, OLD, force=False)  # dangling: the target is new
    refusal(lambda: files.write_atomic(link, NEW, force=False))
    files.write_atomic(link, NEW, force=True)
    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert names(tmp_path) == ["inner", "link"]
    assert names(tmp_path / "inner") == ["a"]


@posix
def test_a_device_is_written_to_not_replaced() -> None:
    files.write_atomic(os.devnull, NEW, force=False)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_device_is_an_error() -> None:
    assert "space" in refusal(lambda: files.write_atomic("/dev/full", NEW, force=False))


@posix
def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    path, got = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    files.write_atomic(path, NEW, force=False)
    reader.join()
    assert got == [NEW]
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize(
    "name", ["", "folder", "folder/", "new/", "missing/a", "file/a", "a\0b", "x" * 300]
)
def test_an_output_that_cannot_be_is_refused_early(tmp_path: Path, name: str, force: bool) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(OLD)
    path = f"{tmp_path}/{name}" if name else ""
    early = refusal(lambda: files.check_output(path, force=force))
    late = refusal(lambda: files.write_atomic(path, NEW, force=force))
    assert early == late
    assert names(tmp_path) == ["file", "folder"]


def test_a_folder_that_may_not_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # root may write anywhere, so the system's answer is given here
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert "folder" in refusal(lambda: files.check_output(tmp_path / "a", force=False))


def test_a_path_is_shown_on_one_line(tmp_path: Path) -> None:
    refusal(lambda: files.check_output(f"{tmp_path}/no\nfolder\x1b[2J/a", force=True))


# --- which file ------------------------------------------------------------------


@posix
def test_a_file_is_itself_through_every_link(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    (tmp_path / "soft").symlink_to(path)
    (tmp_path / "hard").hardlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "other").write_bytes(OLD)
    for same in ("a", "./a", "soft", "hard", "folder/a", "folder/../" + tmp_path.name + "/a"):
        assert files.same_file(path, f"{tmp_path}/{same}"), same
        assert files.same_file(f"{tmp_path}/{same}", path), same
    for different in ("other", "missing", "a/b", "a\0"):
        assert not files.same_file(path, f"{tmp_path}/{different}"), different


@posix
def test_files_that_do_not_exist_are_compared_by_path(tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(tmp_path)
    assert files.same_file(tmp_path / "new", tmp_path / "folder" / "new")
    assert not files.same_file(tmp_path / "new", tmp_path / "newer")


# --- reading ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_a_file_is_read_whole(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "a").write_bytes(data)
    assert files.read_bytes(tmp_path / "a") == data
    assert files.read_bytes(tmp_path / "a", limit=size) == data
    if size:
        assert "larger" in refusal(lambda: files.read_bytes(tmp_path / "a", limit=size - 1))


def test_standard_input_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(NEW)))
    assert files.read_bytes("-") == NEW
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(NEW)))
    assert "standard input" in refusal(lambda: files.read_bytes("-", limit=10))
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input" in refusal(lambda: files.read_bytes("-"))


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no /dev/zero")
def test_an_endless_file_is_refused() -> None:
    assert "larger" in refusal(lambda: files.read_bytes("/dev/zero", limit=5_000_000))


@pytest.mark.parametrize("name", ["", "missing", "missing/a", "file/a", ".", "a\0b", "x" * 300])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(OLD)
    path = f"{tmp_path}/{name}" if name else ""
    assert refusal(lambda: files.read_bytes(path)).startswith("cannot read")
