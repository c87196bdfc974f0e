"""Many small images: what a second process gains, and what memory does: `make bench-archives`.

`-j 1` and `-j 2` in turn over one tree, so that a drifting machine slows both. The ratio of
the elapsed times is the result on two idle cores. Where other programs share the machine it
says little, so the processor times stand beside it: two processes can at best halve the
elapsed time of one, and what they take longer together is what they lose of that.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "sample_images" / "parrots.png"
SIZE = 160, 120


@dataclass
class Run:
    """Seconds that passed, seconds of processors, and peak memory of all processes, in MB."""

    elapsed: float
    processor: float
    memory: float


def make_tree(folder: Path, count: int) -> None:
    """Write so many crops of a photograph, twenty to a folder."""
    rng = np.random.default_rng(0)
    with Image.open(PHOTO) as photo:
        for i in range(count):
            x, y = (int(rng.integers(0, a - b)) for a, b in zip(photo.size, SIZE, strict=True))
            path = folder / f"{i // 200}" / f"{i // 20 % 10}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo.crop((x, y, x + SIZE[0], y + SIZE[1])).save(path, compress_level=1)


def compress(tree: Path, out: Path, target: list[str], jobs: int) -> Run:
    """Compress the tree in a process of its own and watch it."""
    command = [sys.executable, "-m", "lowrank", "compress", str(tree), "-r", "-o", str(out)]
    before, start = os.times(), time.perf_counter()
    process = subprocess.Popen([*command, *target, "-j", str(jobs), "--quiet"])
    peak = 0.0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            peak = max(peak, sum(map(resident, family(process.pid))))
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    watcher.join()
    elapsed, after = time.perf_counter() - start, os.times()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return Run(elapsed, used, peak)


def family(pid: int) -> list[int]:
    """Return a process and its children, where Linux tells of them."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return [pid]
    return [pid, *map(int, text.split())]


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB; 0 where nothing says."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def same(a: Path, b: Path) -> bool:
    """Whether two trees hold the same files, byte for byte."""
    names = sorted(str(p.relative_to(a)) for p in a.rglob("*.lrk"))
    if names != sorted(str(p.relative_to(b)) for p in b.rglob("*.lrk")):
        return False
    return filecmp.cmpfiles(a, b, names, shallow=False)[0] == names


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--target", nargs="+", default=["-k", "20"], help="of compress")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tree(folder / "many", options.images)
        make_tree(folder / "few", options.images // 10)
        runs: dict[int, list[Run]] = {1: [], 2: []}
        for i in range(options.runs):
            for jobs, found in runs.items():
                out = folder / f"out{i}-{jobs}"
                found.append(compress(folder / "many", out, options.target, jobs))
            if not same(folder / f"out{i}-1", folder / f"out{i}-2"):
                sys.exit("-j 1 and -j 2 wrote different files")
        few = {jobs: compress(folder / "few", folder / f"f{jobs}", options.target, jobs)
               for jobs in runs}  # fmt: skip
    middle = {jobs: statistics.median(r.elapsed for r in found) for jobs, found in runs.items()}
    used = {jobs: statistics.median(r.processor for r in found) for jobs, found in runs.items()}
    size = f"{options.images} images of {SIZE[0]} x {SIZE[1]}, {' '.join(options.target)}"
    print(f"| {size} | elapsed, s | of processors, s | peak memory, MB | with a tenth, MB |")
    print("|---|---|---|---|---|")
    for jobs, found in runs.items():
        peak = max(r.memory for r in found)
        print(f"| -j {jobs} | {middle[jobs]:.2f} | {used[jobs]:.2f} | {peak:.0f} "
              f"| {few[jobs].memory:.0f} |")  # fmt: skip
    ratios = [a.elapsed / b.elapsed for a, b in zip(runs[1], runs[2], strict=True)]
    each = ", ".join(f"{x:.2f}" for x in ratios)
    print(f"\n-j 2 is {statistics.median(ratios):.2f} times as fast as -j 1 ({each}), and at best")
    print(f"{2 * used[1] / used[2]:.2f} by processor time; both write the same files.")


if __name__ == "__main__":
    main()
