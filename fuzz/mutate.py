"""Read damaged `.lrk` files and see that only LowrankError escapes.

    python fuzz/mutate.py --reads 1000000 --decodes 100000 --seconds 3600

The small golden files, and files of small stacks, are the seeds. A mutant is a seed after
one to three random mutations; in every other one the checksums are made to hold again, so
that the damage reaches what lies behind them. One in four is a packed file whose header was
read, changed and written again (`headers.py`). Each is read whole and as a file that may end
early; what can be read is decoded, and of every fifth file reported on, shortened and written
again. Time and memory are bounded for each file, by its bytes and by what its header claims
(`reading.py`). A run ends when it has done what was asked for, or at its limit of time; it is
repeated exactly by its `--seed`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads only wait

import headers
import mutators
import numpy as np
import reading
from counts import say

THOROUGH = 5
"""All that can be done with a file takes five times as long as decoding it."""


def main() -> int:
    """Fuzz; print the counts; exit with 1 if anything but our own errors came of it."""
    options = _options()
    warnings.simplefilter("error")  # numpy's, too, are a defect
    reading.watch()
    run = Run(options.keep, options.seed)
    seeds = reading.seeds(options.seeds, options.largest) + reading.stacks()
    damaged = mutators.mutants(seeds, np.random.default_rng(options.seed))
    written = headers.mutants(seeds, np.random.default_rng(options.seed), reading.MAX_PIXELS)
    files = itertools.chain.from_iterable(zip(damaged, damaged, damaged, written, strict=False))
    reading.warm(seeds)
    spoken = start = time.monotonic()
    while (now := time.monotonic()) < start + options.seconds:
        if 2 * run.files >= options.reads and run.decodes >= options.decodes:
            break
        if now > spoken + 60:
            spoken = now
            sys.stderr.write(f"{2 * run.files:,} reads, {run.decodes:,} full decodes ...\n")
        run.read(next(files))
    taken = time.monotonic() - start
    say(
        f"{2 * run.files:,} reads of {run.files:,} mutants, {run.decodes:,} full decodes, "
        f"{taken:.0f} s",
        run.counts,
        f"{run.escaped} escaped, by error, time or memory; slowest file {run.slowest:.2f} s; "
        f"{reading.memory():.0f} MiB of memory at the end",
    )
    return 1 if run.escaped else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reads", type=int, default=1_000_000)
    parser.add_argument("--decodes", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--largest", type=int, default=2000, help="bytes of a seed")
    parser.add_argument("--seeds", type=Path, nargs="+", default=[reading.GOLDEN])
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    return parser.parse_args()


class Run:
    """What became of the files so far; those that must not be so are kept in a folder."""

    def __init__(self, keep: Path, seed: int) -> None:
        self._keep, self._seed = keep, seed
        self.files = self.decodes = self.escaped = 0
        self.slowest = 0.0
        self.counts: Counter[str] = Counter()

    def read(self, data: bytes) -> None:
        """Read one more, whole and as one that may end early."""
        self.files += 1
        thorough = self.files % THOROUGH == 0
        for partial in (False, True):
            began = time.process_time()
            try:
                what = reading.read(data, partial=partial, thorough=thorough, bound=reading.bounded)
                self.counts[what] += 1
                self.decodes += what.startswith("decoded")
            except (Exception, reading.Hang) as error:
                self._keep.mkdir(exist_ok=True)
                path = self._keep / f"{self._seed}-{self.files}.lrk"
                path.write_bytes(data)
                sys.stderr.write(f"{path}: {type(error).__name__}: {error}\n")
                self.escaped += 1
            self.slowest = max(self.slowest, time.process_time() - began)


if __name__ == "__main__":
    sys.exit(main())
