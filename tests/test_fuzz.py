"""The long runs do in small what they promise to do in large, and notice what they look for."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, picture

import lowrank
from lowrank import format as lrk

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


@pytest.mark.parametrize(
    "error", [ValueError("foreign"), reading.Hang("slow"), reading.ExcessError("large")]
)
def test_what_escapes_is_counted_and_kept(error, tmp_path, monkeypatch, capsys):
    def read(data, *, partial, **options):
        raise error

    kept = tmp_path / "kept"
    monkeypatch.setattr(reading, "read", read)
    monkeypatch.setattr(reading, "watch", lambda: None)
    monkeypatch.setattr(reading, "warm", lambda data: None)
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


def claim_of(**options):
    """A file, its parts, and what the fuzzers hold it to."""
    data = lowrank.compress(picture("RGB", 40, 50).samples, **options).to_bytes()
    parts = lrk.parse(data, name="x", max_pixels=1 << 20)
    return data, reading.Claim(len(data)).of(parts)


def test_what_a_file_may_take_is_in_proportion_to_what_it_is_and_claims():
    data, claim = claim_of(rank=3)
    assert claim == (len(data), 40 * 50 * 3, 9 * 90, 9 * 2000, 0, 0)
    _, claim = claim_of(rank=3, store="packed", layout="channels")
    assert claim[1:] == (40 * 50 * 3, 9 * 90, 9 * 2000, 3 * 90, 0)
    data, claim = claim_of(quality=50)
    assert (claim.bytes, claim.samples, claim.sides) == (len(data), 48 * 64 * 3, 0)
    assert claim.coefficients % (12 + 256) == 0
    frames = picture("L", 70, 30).samples.reshape(7, 10, 30)
    data = lowrank.compress(frames, stack=True, rank=2).to_bytes()
    claim = reading.Claim(0).of(lrk.parse(data, name="x", max_pixels=1 << 20))
    assert claim == (0, 2100, 2 * 307, 2 * 2100, 0, 0)
    data = lowrank.compress(frames, stack=True, quality=50).to_bytes()
    claim = reading.Claim(0).of(lrk.parse(data, name="x", max_pixels=1 << 20))
    assert (claim.samples, claim.batches) == (7 * 16 * 32, 512)
    none = reading.Claim(0)
    for field in reading.Claim._fields:  # each counts, for the one or for the other
        more = none._replace(**{field: 10**7})
        assert more.seconds > none.seconds or more.room > none.room


def take(seconds=0.0, size=0):
    """Work for a time, and have so much memory at once."""
    end = time.process_time() + seconds
    kept = np.ones(size, np.uint8)
    while time.process_time() < end:
        kept[:1] += 1


def test_more_than_a_claim_allows_is_an_escape_and_what_it_allows_is_none():
    reading.watch()
    small = reading.Claim(100)
    take(size=small.room)
    with reading.bounded(small, 1):
        take(size=small.room // 2)
    with pytest.raises(reading.Hang), reading.bounded(small, 1):
        take(2 * small.seconds)
    with reading.bounded(reading.Claim(100, products=10**9), 1):
        take(2 * small.seconds)
    if sys.platform == "linux":
        with pytest.raises(reading.ExcessError, match="Claim"), reading.bounded(small, 1):
            take(size=small.room + (8 << 20))
        with reading.bounded(small, 2):
            take(size=small.room + (2 << 20))


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
