"""The long runs do in small what they promise to do in large, and notice what they look for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "fuzz"))
import corpus
import mutate
import mutators
import reading


def run(script, *arguments):
    """Run a script of the folder `fuzz`; return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "fuzz" / script), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_mutating_ends_when_it_has_done_what_was_asked_for(tmp_path):
    code, out, err = run("mutate.py", "--reads", 300, "--decodes", 20, "--keep", tmp_path / "kept")
    assert (code, err) == (0, "")
    first = out.splitlines()[0].split()
    assert int(first[0]) >= 300
    assert int(first[5]) >= 20
    assert out.splitlines()[-1].startswith("0 escaped")
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("error", [ValueError("foreign"), reading.Hang("slow")])
def test_what_escapes_is_counted_and_kept(error, tmp_path, monkeypatch, capsys):
    def read(data, *, partial):
        raise error

    kept = tmp_path / "kept"
    monkeypatch.setattr(reading, "read", read)
    monkeypatch.setattr(reading, "watch", lambda: None)
    monkeypatch.setattr(sys, "argv", ["mutate.py", "--reads=4", "--decodes=0", f"--keep={kept}"])
    assert mutate.main() == 1
    captured = capsys.readouterr()
    assert "4 escaped" in captured.out
    assert type(error).__name__ in captured.err
    assert len(list(kept.iterdir())) == 2  # the same file, read in two ways


def test_a_file_that_takes_too_long_is_a_hang():
    def take_long():
        with reading.limited(0.01):
            while True:
                mutators.mend(bytearray(100))

    reading.watch()
    with pytest.raises(reading.Hang):
        take_long()


def test_kills_and_interruptions_leave_whole_files():
    code, out, err = run("kill.py", "--kills", 2, "--interruptions", 1, "--batches", 1)
    assert (code, err) == (0, "")
    assert "FAULT" not in out
    assert sum(int(line.split()[0]) for line in out.splitlines()[1:]) == 4


def test_a_corpus_is_counted_file_by_file(tmp_path):
    suite = ROOT / "tests" / "data" / "pngsuite"
    for name in ("s01n3p01.png", "s07n3p02.png", "xc1n0g08.png", "LICENSE"):
        (tmp_path / name).write_bytes((suite / name).read_bytes())
    code, out, err = run("corpus.py", tmp_path, "--processes", 4)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert {" ".join(words[1:]): int(words[0]) for words in lines[1:-1]} == {
        "refused: ImageError": 2,
        "compressed and decoded": 2,
        "process: refused in one line, exit code 1": 2,
        "process: compressed": 2,
    }
    assert lines[-1][:2] == ["0", "faults;"]


def test_a_corpus_that_is_not_there_is_skipped_aloud(tmp_path):
    code, out, err = run("corpus.py", tmp_path / "none")
    assert (code, out) == (0, "")
    assert err.startswith("corpora skipped: no files in ")


def test_what_a_refused_file_leaves_is_a_fault(tmp_path, monkeypatch):
    def compress(job, settings):
        (tmp_path / "half").write_bytes(b"half")
        raise corpus.LowrankError("refused")

    reading.watch()
    monkeypatch.setattr(corpus.work, "compress", compress)
    monkeypatch.setattr(corpus.pillow, "read", lambda data, name: None)
    assert corpus.in_process(ROOT / "README.md", tmp_path) == (
        "refused: LowrankError",
        "left behind: ['half']",
    )
