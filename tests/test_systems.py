"""Windows and macOS, acted: what only Unix has is missing, and work goes on."""

from __future__ import annotations

import ast
import errno
import io
import json
import os
import signal
import sys
import types

import numpy as np
import pytest
from conftest import ROOT, picture

from lowrank import api, cli, console, files, moves, signals, threads
from lowrank.errors import FileError
from lowrank.io import pillow
from lowrank.runs import manifest, plan, tasks, work
from lowrank.targets import Target

UNIX = ("fchmod", "fchown", "sched_getaffinity", "getuid", "fork", "mkfifo")


@pytest.fixture
def windows(monkeypatch):
    """A process that is told it runs on Windows, and has no more than that has."""
    moves._renameat2.cache_clear()
    for name in UNIX:
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.delattr(signal, "pthread_sigmask", raising=False)
    for name in ("fcntl", "pwd", "grp", "termios", "resource"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(moves, "_WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(sys, "platform", "win32")
    yield
    moves._renameat2.cache_clear()


def test_a_batch_on_windows(windows, tmp_path):
    """Compressed, checked, listed and preserved without a call that Windows lacks."""
    source = tmp_path / "a.png"
    source.write_bytes(pillow.write(picture("RGB", 20, 30), format="PNG"))
    settings = tasks.Compressing(
        target=Target("rank", 2), check=True, manifest="m.csv", preserve=True, force=True
    )
    for _ in range(2):  # the second one replaces
        found = work.compress(plan.Job(str(source)), settings)
        assert found.error is None
    manifest.write(str(tmp_path / "m.csv"), [found.entry], force=False)
    assert sorted(os.listdir(tmp_path)) == ["a.lrk", "a.png", "m.csv"]
    assert api.open(tmp_path / "a.lrk").ranks == (2, 2, 2)
    assert threads.cores() >= 1
    with signals.held():
        pass


def refusing(times, move):
    """A move that is refused so many times, as while a scanner reads the file."""
    calls = []

    def refused(*names):
        calls.append(names)
        if len(calls) <= times:
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        return move(*names)

    return refused, calls


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("times", [0, 2, 9])
def test_a_file_that_is_held_open_is_waited_for(windows, monkeypatch, tmp_path, force, times):
    name = "replace" if force else "link"
    refused, calls = refusing(times, getattr(os, name))
    monkeypatch.setattr(os, name, refused)
    target = tmp_path / "a"
    if force:
        target.write_bytes(b"before")
    if times > 3:
        with pytest.raises(FileError, match="cannot write"):
            files.write_atomic(target, b"after", force=force)
        assert os.listdir(tmp_path) == (["a"] if force else [])
    else:
        files.write_atomic(target, b"after", force=force)
        assert target.read_bytes() == b"after"
    assert len(calls) == min(times, 3) + 1


def test_a_new_file_replaces_nothing_where_there_are_no_links(windows, monkeypatch, tmp_path):
    """FAT under Windows: a rename that refuses, which os.rename does there."""

    def lacking(*_):
        raise OSError(errno.EINVAL, "no links")

    def rename(source, target):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "exists")
        os.replace(source, target)

    monkeypatch.setattr(os, "link", lacking)
    monkeypatch.setattr(os, "rename", rename)
    target = tmp_path / "a"
    files.write_atomic(target, b"one", force=False)
    with pytest.raises(FileError, match="exists"):
        files.write_atomic(target, b"two", force=False)
    assert target.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("knows", [True, False])
def test_macos_syncs_to_the_disk_itself(monkeypatch, tmp_path, knows):
    asked, synced = [], []

    def control(descriptor, command):
        asked.append(command)
        if not knows:
            raise OSError(errno.ENOTSUP, "not supported")

    fake = types.SimpleNamespace(fcntl=control, F_FULLFSYNC=51)
    monkeypatch.setitem(sys.modules, "fcntl", fake)
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(sys, "platform", "darwin")
    files.write_atomic(tmp_path / "a", b"data", force=True)
    assert asked == [51]
    assert len(synced) == (1 if knows else 2)  # the folder, too


def test_paths_of_windows_become_portable_in_a_manifest(monkeypatch, tmp_path):
    (tmp_path / "in.png").write_bytes(b"x")
    one = manifest.Entry("a\\in.png", "b\\out.lrk", 1, 1, "0a" * 32, "0b" * 32, (1,))
    portable = monkeypatch.context()
    with portable as patch:
        patch.setattr(os, "sep", "\\")
        there = manifest._portable(one)
    assert (there.input, there.output) == ("a/in.png", "b/out.lrk")


def test_a_second_run_in_one_process_says_why_it_fails_like_the_first(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(console, "occupy_closed_streams", lambda: None)
    path = tmp_path / "a.lrk"
    api.compress(np.zeros((8, 8), np.uint8), rank=1).save(path)
    for name, code in ((str(path), 0), ("missing.lrk", 1), ("missing.lrk", 1)):
        monkeypatch.setattr(sys, "argv", ["lowrank", "report", name, "--json"])
        assert cli.run() == code
        assert ("error" in json.loads(capsys.readouterr().out)) is (code == 1)


def test_a_console_without_our_characters_still_gets_its_tables(monkeypatch, tmp_path):
    """cp1252 has no sigma and no line drawing: question marks stand there, and nothing breaks."""
    source = tmp_path / "σ.png"
    source.write_bytes(pillow.write(picture("L", 12, 20), format="PNG"))
    out, err = (io.TextIOWrapper(io.BytesIO(), "cp1252") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(console, "occupy_closed_streams", lambda: None)
    monkeypatch.setattr(sys, "argv", ["lowrank", "report", str(source), "-k", "2"])
    monkeypatch.setattr(signals, "unwind", lambda: None)
    assert cli.run() == 0
    out.flush()
    text = out.buffer.getvalue().decode("cp1252")
    assert "Proved" in text
    assert "?.png" in text


def test_no_module_of_unix_alone_is_loaded_with_ours():
    alone = {"fcntl", "pwd", "grp", "termios", "resource", "pty", "tty", "syslog"}
    for path in (ROOT / "lowrank").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            found = ast.walk(node) if isinstance(node, ast.Import | ast.ImportFrom) else ()
            for one in found:
                if isinstance(one, ast.Import):
                    assert not alone & {x.name for x in one.names}, path
                elif isinstance(one, ast.ImportFrom):
                    assert one.module not in alone, path


def test_arrays_are_little_endian_in_a_file_whatever_the_machine():
    """A file is bytes of one order: what a big-endian machine has in memory is turned."""
    A = np.arange(12, dtype=">f4").reshape(3, 4)
    assert api.compress(A, rank=2, store="float32").to_bytes() == (
        api.compress(A.astype("<f4"), rank=2, store="float32").to_bytes()
    )
