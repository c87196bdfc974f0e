"""Compress whole corpora of images, most of them broken, and see that each file ends well.

    python fuzz/corpus.py FOLDER...

Each file either becomes a `.lrk` file that decodes to a picture of its size, or is refused
by LowrankError with nothing left behind. Some hundreds are done once more as processes of
their own, whose exit code, standard error and outputs are looked at.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import reading
from counts import say

from lowrank import codec
from lowrank import format as lrk
from lowrank.errors import LowrankError
from lowrank.io import pillow
from lowrank.runs import tasks, work
from lowrank.runs.plan import Job

LONG = 60
"""Seconds of processor time to code and decode a file: some of 461 bytes have 36 million pixels."""


def in_process(path: Path, folder: Path) -> tuple[str, str]:
    """Compress one file here.

    Returns
    -------
    outcome : str
        What became of it.
    fault : str
        What must not be, or nothing.
    """
    output = folder / "out.lrk"
    try:
        with reading.limited():
            pillow.read(path.read_bytes(), name=str(path))
        with reading.limited(LONG):
            work.compress(Job(str(path), str(output)), tasks.Compressing())
            parts = lrk.parse(output.read_bytes(), name="out", max_pixels=10**9)
            codec.decode(parts)
        outcome, fault = "compressed and decoded", ""
        output.unlink()
    except LowrankError as error:
        outcome = f"refused: {type(error).__name__}"
        fault = "" if str(error).isprintable() else f"an error of several lines: {error!r}"
    except (Exception, reading.Hang) as error:
        outcome, fault = "escaped", f"{type(error).__name__}: {error}"
    if left := [x.name for x in folder.iterdir()]:
        fault = fault or f"left behind: {left}"
        for name in left:
            (folder / name).unlink()
    return outcome, fault


def as_process(path: Path) -> tuple[str, str]:
    """Compress one file by the command line, as `in_process` does."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.lrk"
        command = [sys.executable, "-m", "lowrank", "compress", str(path), "-o", str(output)]
        try:
            done = subprocess.run(
                [*command, "--quiet"],
                capture_output=True,
                timeout=reading.SLACK * LONG,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "process escaped", "hangs"
        err = done.stderr.decode("utf-8", "replace")
        left = [x.name for x in Path(folder).iterdir()]
        if done.returncode == 0:
            whole = left == ["out.lrk"] and not err and not done.stdout
            return "process: compressed", "" if whole else f"left {left}, said {err!r}"
        proper = err.startswith("lowrank: error: ") and err.count("\n") == 1
        if done.returncode == 1 and proper and not left and not done.stdout:
            return "process: refused in one line, exit code 1", ""
        return "process escaped", f"exit code {done.returncode}, left {left}, said {err!r}"


def main() -> int:
    """Run the corpora; print the counts; exit with 1 if anything is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--processes", type=int, default=400, help="files done as processes too")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    options = parser.parse_args()
    files = sorted(x for folder in options.folders for x in folder.rglob("*") if x.is_file())
    if not files:
        absent = " and ".join(map(str, options.folders))
        sys.stderr.write(f"corpora skipped: no files in {absent}\n")
        return 0
    warnings.simplefilter("error")
    reading.watch()
    counts: Counter[str] = Counter()
    faults = 0
    slowest, slowest_path = 0.0, files[0]

    def count(path: Path, outcome: str, fault: str) -> None:
        nonlocal faults
        counts[outcome] += 1
        if fault:
            faults += 1
            sys.stderr.write(f"{path}: {fault}\n")

    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            began = time.process_time()
            count(path, *in_process(path, Path(folder)))
            if (taken := time.process_time() - began) > slowest:
                slowest, slowest_path = taken, path
    some = files[:: max(len(files) // options.processes, 1)] if options.processes else []
    with ThreadPoolExecutor(options.jobs) as pool:
        for path, result in zip(some, pool.map(as_process, some), strict=True):
            count(path, *result)
    say(
        f"{len(files):,} files, {len(some)} of them as processes of their own too",
        counts,
        f"{faults} faults; slowest file {slowest:.2f} s ({slowest_path.name}); "
        f"peak memory {reading.memory():.0f} MiB",
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
