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

THOROUGH = 5
"""All that can be done with a file takes five times as long as decoding it."""


def main() -> int:
    """Fuzz; print the counts; exit with 1 if anything but our own errors came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reads", type=int, default=1_000_000)
    parser.add_argument("--decodes", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--largest", type=int, default=2000, help="bytes of a seed")
    parser.add_argument("--seeds", type=Path, nargs="+", default=[reading.GOLDEN])
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    warnings.simplefilter("error")  # numpy's, too, are a defect
    reading.watch()
    counts: Counter[str] = Counter()
    decodes = escaped = number = 0
    slowest = 0.0
    seeds = reading.seeds(options.seeds, options.largest) + reading.stacks()
    damaged = mutators.mutants(seeds, np.random.default_rng(options.seed))
    written = headers.mutants(seeds, np.random.default_rng(options.seed), reading.MAX_PIXELS)
    files = itertools.chain.from_iterable(zip(damaged, damaged, damaged, written, strict=False))
    reading.warm(seeds)
    spoken = start = time.monotonic()
    while (now := time.monotonic()) < start + options.seconds:
        if 2 * number >= options.reads and decodes >= options.decodes:
            break
        if now > spoken + 60:
            spoken = now
            sys.stderr.write(f"{2 * number:,} reads, {decodes:,} full decodes ...\n")
        data, number = next(files), number + 1
        for partial in (False, True):
            began = time.process_time()
            try:
                what = reading.read(
                    data, partial=partial, thorough=number % THOROUGH == 0, bound=reading.bounded
                )
                counts[what] += 1
                decodes += what.startswith("decoded")
            except (Exception, reading.Hang) as error:
                options.keep.mkdir(exist_ok=True)
                path = options.keep / f"{options.seed}-{number}.lrk"
                path.write_bytes(data)
                sys.stderr.write(f"{path}: {type(error).__name__}: {error}\n")
                escaped += 1
            slowest = max(slowest, time.process_time() - began)
    taken = time.monotonic() - start
    out = [f"{2 * number:,} reads of {number:,} mutants, {decodes:,} full decodes, {taken:.0f} s"]
    out += [f"  {count:>10,}  {what}" for what, count in counts.most_common()]
    out += [
        f"{escaped} escaped, by error, time or memory; slowest file {slowest:.2f} s; "
        f"{reading.memory():.0f} MiB of memory at the end"
    ]
    sys.stdout.write("\n".join(out) + "\n")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
