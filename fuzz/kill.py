"""Kill and interrupt processes while they work, and see that no file is there in part.

    python fuzz/kill.py --kills 200 --interruptions 60 --batches 100

Kills: a process replaces one file by another again and again, `compress -f` shortening a
file in the one half of them and bare `write_atomic` in the other; SIGKILL comes at a random
moment. The file must then be the old one or the new one, whole.

Interruptions: Ctrl-C or SIGTERM comes at a random moment of a whole run of `compress -f`,
from its start to its end. The file must be the old one or the new one, with no other beside
it, and the exit code 0, 130 or 143 (or the signal itself, before lowrank runs and after it).
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from counts import say
from PIL import Image

import lowrank

WRITE = """
from lowrank import files
contents = [open(name, "rb").read() for name in ("old", "new")]
print("writing", flush=True)
while True:
    for data in contents:
        files.write_atomic("target.lrk", data, force=True)
"""
SHORTEN = """
from lowrank.runs import tasks, work
from lowrank.runs.plan import Job
from lowrank.targets import Target
print("writing", flush=True)
while True:
    for rank in (2, 30):
        settings = tasks.Compressing(target=Target("rank", rank), force=True)
        work.compress(Job("picture.lrk", "target.lrk"), settings)
"""
RUN = ("-m", "lowrank", "compress", "picture.lrk", "-k", "30", "-o", "target.lrk", "-f", "--quiet")


def kill(folder: Path, number: int, draw: random.Random) -> str:
    """Kill a process that writes, at a random moment."""
    command = [sys.executable, "-c", WRITE if number % 2 else SHORTEN]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        if process.stdout is None or process.stdout.readline() != b"writing\n":
            raise SystemExit("the writing process did not start")
        time.sleep(draw.uniform(0, 0.05))
        process.kill()
    return "killed"


def interrupt(folder: Path, number: int, draw: random.Random, usual: float) -> str:
    """Send Ctrl-C or SIGTERM to a run at a random moment; return how it ended."""
    sent = signal.SIGTERM if number % 2 else signal.SIGINT
    with subprocess.Popen(
        [sys.executable, *RUN], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        time.sleep(draw.uniform(0, 1.1 * usual))
        process.send_signal(sent)
        _, err = process.communicate()
    code = process.returncode
    if code == -sent or (b"lowrank" not in err and b"Traceback" in err):
        return "ended by the signal, outside lowrank"
    if code in (0, 128 + sent) and not err:
        return f"exit code {code}"
    return f"FAULT: exit code {code}, said {err!r}"


PICTURES = 40
BATCH = (
    "compress",
    "photos",
    "-o",
    "small",
    "-k",
    "5",
    "--skip-existing",
    "--manifest",
    "list.csv",
)
DECODED = ("verify", "small", "--decode")


def kill_batch(folder: Path, number: int, draw: random.Random, usual: float) -> str:
    """Kill a batch at a random moment, finish it, and see what `verify` says."""

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "lowrank", *arguments, "--quiet"]
        return subprocess.run(command, cwd=folder, capture_output=True, check=False)

    small, listed = folder / "small", folder / "list.csv"
    shutil.rmtree(small, ignore_errors=True)
    listed.unlink(missing_ok=True)
    jobs = ("-j", "2") if number % 4 == 3 else ()
    command = [sys.executable, "-m", "lowrank", *BATCH, *jobs]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        if process.stdout is not None:
            process.stdout.readline()  # the first picture is done
        time.sleep(draw.uniform(0, 1.1 * usual))
        process.kill()
    done = len(list(small.glob("*.lrk")))
    if done and run(*DECODED).returncode:
        return "FAULT: what was there was not whole"
    if run(*BATCH).returncode:
        return "FAULT: the batch did not go on"
    if run(*DECODED, "--manifest", listed.name).returncode:
        return "FAULT: verify refuses the tree"
    if len(list(small.glob("*.lrk"))) != PICTURES:
        return "FAULT: not every picture is there"
    left = len(list(small.glob(".lowrank-*.tmp")))
    when = "after the last" if done == PICTURES else "between"
    return f"batch killed {when}: whole" + (" with a hidden temporary file" if left else "")


def batches(count: int, folder: Path, draw: random.Random) -> Counter[str]:
    """Kill batches; return how they ended."""
    (folder / "photos").mkdir()
    for i in range(PICTURES):
        samples = np.random.default_rng(i).integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(samples).save(folder / "photos" / f"{i}.png")
    command = [sys.executable, "-m", "lowrank", *BATCH]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        if process.stdout is not None:
            process.stdout.readline()
        began = time.monotonic()
        process.communicate()
    usual = time.monotonic() - began
    return Counter(kill_batch(folder, i, draw, usual) for i in range(count))


def main() -> int:
    """Kill and interrupt; print the counts; exit with 1 if anything is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--interruptions", type=int, default=60)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    whole = lowrank.compress(picture, rank=40)
    old, new = (whole.truncate(rank).to_bytes() for rank in (2, 30))
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = folder / "target.lrk"
        whole.save(folder / "picture.lrk")
        (folder / "old").write_bytes(old)
        (folder / "new").write_bytes(new)
        began = time.monotonic()
        subprocess.run([sys.executable, *RUN], cwd=folder, check=True)
        usual = time.monotonic() - began
        for i in range(options.kills + options.interruptions):
            target.write_bytes(old)
            killed = i < options.kills
            how = kill(folder, i, draw) if killed else interrupt(folder, i, draw, usual)
            found = target.read_bytes()
            state = "old file" if found == old else "new file" if found == new else "FAULT: a part"
            left = list(folder.glob(".lowrank-*.tmp"))
            for path in left:
                path.unlink()
            if left:
                state += " and a hidden temporary file" if killed else ", FAULT: a temporary file"
            counts[f"{how}: {state}"] += 1
        if options.batches:
            counts += batches(options.batches, folder, draw)
    say(
        f"{options.kills} kills, {options.interruptions} interruptions, {options.batches} batches",
        counts,
    )
    return 1 if any("FAULT" in what for what in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
