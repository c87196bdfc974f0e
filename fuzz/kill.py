"""Kill processes while they write, and see that no file is ever there in part.

    python fuzz/kill.py --kills 200

A process replaces one file by another again and again, `compress -f` shortening a file in
the one half of the kills and bare `write_atomic` in the other; SIGKILL comes at a random
moment. The file must then be the old one or the new one, whole.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

import lowrank

WRITE = """
import sys
from lowrank import files
contents = [open(name, "rb").read() for name in ("old", "new")]
print("writing", flush=True)
while True:
    for data in contents:
        files.write_atomic("target.lrk", data, force=True)
"""
COMPRESS = """
import sys
from lowrank import batch
from lowrank.jobs import Job
from lowrank.rank import Target
print("writing", flush=True)
while True:
    for rank in (2, 30):
        settings = batch.Settings(target=Target("rank", rank), force=True)
        batch.compress(Job("picture.lrk", "target.lrk"), settings)
"""


def main() -> int:
    """Kill; print the counts; exit with 1 if a file was there in part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    whole = lowrank.compress(picture, rank=40)
    old, new = (whole.truncate(rank).to_bytes() for rank in (2, 30))
    counts: Counter[str] = Counter()
    leftovers = 0
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        target = here / "target.lrk"
        whole.save(here / "picture.lrk")
        (here / "old").write_bytes(old)
        (here / "new").write_bytes(new)
        for i in range(options.kills):
            target.write_bytes(old)
            code = WRITE if i % 2 else COMPRESS
            with subprocess.Popen(
                [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE
            ) as process:
                if process.stdout is None or process.stdout.readline() != b"writing\n":
                    raise SystemExit("the writing process did not start")
                time.sleep(draw.uniform(0, 0.05))
                process.kill()
            found = target.read_bytes()
            counts["old" if found == old else "new" if found == new else "part"] += 1
            for path in here.glob(".lowrank-*.tmp"):
                leftovers += 1
                path.unlink()
    sys.stdout.write(
        f"{options.kills} kills: the old file {counts['old']} times, the new one "
        f"{counts['new']} times, a part of one {counts['part']} times; "
        f"{leftovers} hidden temporary files left\n"
    )
    return 1 if counts["part"] else 0


if __name__ == "__main__":
    sys.exit(main())
