"""Fuzz the reader of `.lrk` files towards code that no file has reached yet.

    python fuzz/guided.py --seconds 300

Atheris (libFuzzer) measures which branches of lowrank a file reaches, keeps the files
that reach new ones, and mutates these. In every other one the checksums are made to hold
again. The small golden files are the first corpus. Where Atheris is not installed
(`pip install --group fuzz`), nothing is done, and a line says so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import mutators
from counts import say

try:
    import atheris
except ImportError:
    atheris = None


def main() -> int:
    """Fuzz for a time and print the counts; libFuzzer exits with 77 where something escaped."""
    options = _options()
    if atheris is None:
        sys.stderr.write("guided fuzzing skipped: Atheris is not installed (or not for here)\n")
        return 0
    with atheris.instrument_imports(include=["lowrank"], enable_loader_override=False):
        import reading

        # Loaded later otherwise, and not measured.
        from lowrank.stores.packed.channels import codec as channels  # noqa: F401
        from lowrank.stores.packed.patches import codec as patches  # noqa: F401

    reading.watch()
    warnings.simplefilter("error")  # numpy's, too, are a defect
    counts: Counter[str] = Counter()

    def one(data: bytes) -> None:
        if time.monotonic() > end:
            finish()
        for partial in (False, True):
            counts[reading.read(data, partial=partial, bound=reading.bounded)] += 1

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        changed = bytearray(atheris.Mutate(data, most))
        return mutators.mend(changed) if seed % 2 else bytes(changed)

    def finish() -> None:
        """Print the counts and end here: libFuzzer, which has the thread, never returns."""
        decodes = sum(n for what, n in counts.items() if what.startswith("decoded"))
        kept = len(list(folder.iterdir())) - len(first)
        say(
            f"{counts.total():,} reads, {decodes:,} full decodes, 0 escaped",
            counts,
            f"{kept} files reached something new; peak memory {reading.memory():.0f} MiB",
        )
        shutil.rmtree(folder)
        with contextlib.suppress(OSError):  # not where an earlier run kept something
            keep.rmdir()
        os._exit(0)

    first = reading.seeds(options.seeds or [reading.GOLDEN], options.largest) + reading.stacks()
    reading.warm(first)
    folder = Path(tempfile.mkdtemp(prefix="lowrank-guided-"))
    keep = Path("fuzz-failures")
    keep.mkdir(exist_ok=True)
    for i, data in enumerate(first):
        (folder / str(i)).write_bytes(data)
    end = time.monotonic() + options.seconds
    atheris.Setup(_arguments(options, folder, keep), one, custom_mutator=mutated)
    atheris.Fuzz()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--largest", type=int, default=2000, help="bytes of a file")
    parser.add_argument("--seeds", type=Path, nargs="+")
    return parser.parse_args()


def _arguments(options: argparse.Namespace, folder: Path, keep: Path) -> list[str]:
    """What libFuzzer is told: its corpus, its limits, and where it keeps what escaped."""
    return [
        sys.argv[0],
        str(folder),
        f"-seed={options.seed}",
        f"-max_len={options.largest}",
        "-handle_alrm=0",  # libFuzzer's own clock goes on while others work
        "-report_slow_units=3600",
        "-rss_limit_mb=1024",
        f"-artifact_prefix={keep}/",
        "-verbosity=0",
    ]


if __name__ == "__main__":
    sys.exit(main())
