"""Speed against peers, as ratios within one run: `make bench-speed`.

Whole processes first (start-up, decoding and writing included), in turn with a peer's
script so that a drifting machine slows both; then bare kernels, each with its accuracy;
then how time and memory grow with the image and with the rank. Times are processor
seconds, user and system: what other processes on the machine take does not count. They
belong to the machine; the ratios are the result.
"""

from __future__ import annotations

import argparse
import compileall
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for every peer as for us

import numpy as np
from PIL import Image
from scipy.sparse.linalg import svds
from sklearn.utils.extmath import randomized_svd

from lowrank import linalg

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "sample_images" / "parrots.png"
PICTURE = ROOT / "docs" / "speed.png"
LOWRANK = [sys.executable, "-m", "lowrank"]

PEER = """
import sys
import numpy as np
from PIL import Image
{load}
A = np.asarray(Image.open(sys.argv[1]))
factors = []
for c in range(3):
    X = A[:, :, c].astype(np.float32)
    factors += [{solve}]
np.savez(sys.argv[2], *[x.astype("f2" if x.ndim == 2 else "f4") for f in factors for x in f])
"""
SVDS = "from scipy.sparse.linalg import svds"
PEERS = {
    "svds propack float32": (SVDS, "svds(X, k={k}, solver='propack')"),
    "svds arpack float32": (SVDS, "svds(X, k={k}, solver='arpack')"),
    "randomized_svd n_iter=7": (
        "from sklearn.utils.extmath import randomized_svd",
        "randomized_svd(X, {k}, n_iter=7, random_state=0)",
    ),
}
RESAVE = """
import sys, zlib
from PIL import Image
Image.open(sys.argv[1]).save(sys.argv[2], compress_level=1, compress_type=zlib.Z_RLE)
"""
SPIN = "while True: pass"
# A child begins as a copy of its parent, whose memory would count as its own peak: so a
# small process starts it, and tells what it took.
LAUNCH = """
import os, sys, time
start = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - start
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss)
"""


@dataclass(frozen=True)
class Run:
    """One finished process: processor and wall-clock seconds, and its peak memory in MB."""

    cpu: float
    wall: float
    memory: float


@dataclass(frozen=True)
class Row:
    """Medians of both sides of a comparison."""

    name: str
    ours: Run
    theirs: Run

    @property
    def ratio(self) -> float:
        """Our processor time, in units of the peer's."""
        return self.ours.cpu / self.theirs.cpu


def once(command: list[str]) -> Run:
    """Run a command to its end."""
    launched = [sys.executable, "-I", "-S", "-c", LAUNCH, *command]
    out = subprocess.run(launched, capture_output=True, text=True, check=True).stdout
    code, cpu, wall, memory = (float(x) for x in out.splitlines()[-1].split())
    if code:
        sys.exit(f"failed: {' '.join(command)}")
    return Run(cpu, wall, memory / 1024)


def median(runs: list[Run]) -> Run:
    """Return the medians of the times, and the largest memory."""
    return Run(
        statistics.median(run.cpu for run in runs),
        statistics.median(run.wall for run in runs),
        max(run.memory for run in runs),
    )


def against(name: str, ours: list[str], theirs: list[str], runs: int) -> Row:
    """Run both in turn, after one run of each that does not count; print a row."""
    once(ours), once(theirs)
    pairs = [(once(ours), once(theirs)) for _ in range(runs)]
    row = Row(name, median([x for x, _ in pairs]), median([y for _, y in pairs]))
    a, b = row.ours, row.theirs
    print(
        f"| {name} | {a.cpu:.2f} | {b.cpu:.2f} | **{row.ratio:.2f}** | {a.wall / b.wall:.2f} "
        f"| {a.memory:.0f} | {b.memory:.0f} |",
        flush=True,
    )
    return row


def photograph(width: int, height: int) -> Image.Image:
    """Return a photograph of any size: the samples side by side, without a repeat in sight."""
    sheet = Image.new("RGB", (width, height))
    names = ["parrots.png", "door.png", "cup.png", "photographer.png", "galaxies.jpg"]
    tiles = [Image.open(ROOT / "sample_images" / n).convert("RGB") for n in names]
    y = row = 0
    while y < height:
        x, column = -97 * row, 0
        while x < width:
            tile = tiles[(row * 2 + column) % len(tiles)]
            flip = Image.Transpose((row + column // 5) % 2)
            sheet.paste(tile.transpose(flip).resize((768, 512)), (x, y))
            x, column = x + 768, column + 1
        y, row = y + 512, row + 1
    return sheet


def compress(image: Path, k: int, output: Path) -> list[str]:
    """Return the command that compresses an image at rank k."""
    return [*LOWRANK, "compress", str(image), "-k", str(k), "-f", "--quiet", "-o", str(output)]


def processes(folder: Path, runs: int, *, quick: bool) -> list[Row]:
    """Print whole processes against peers."""
    print("| whole process | ours, s | peer, s | ratio | ratio of wall times | MB | peer, MB |")
    print("|---|---|---|---|---|---|---|")
    typer = [sys.executable, "-c", "import typer"]
    rows = [against("`--help`, against `import typer`", [*LOWRANK, "--help"], typer, 4 * runs)]
    big, label = folder / "big.png", "1 MP" if quick else "12 MP"
    photograph(*((1200, 900) if quick else (4000, 3000))).save(big, compress_level=1)
    for image, size, ranks in ((PHOTO, "0.4 MP", (20,)), (big, label, (50, 200))):
        for k in ranks:
            ours = compress(image, k, folder / f"{k}.lrk")
            for peer, (load, solve) in PEERS.items():
                script = PEER.format(load=load, solve=solve.format(k=k))
                theirs = [sys.executable, "-c", script, str(image), str(folder / "out.npz")]
                few = runs if size != "0.4 MP" else 3 * runs
                name = f"compress {size} -k {k}, against {peer}"
                rows.append(against(name, ours, theirs, few))
    ours = [*LOWRANK, "decompress", str(folder / "50.lrk"), "-f", "--quiet", "-o"]
    once([*ours, str(folder / "50.png")])
    theirs = [sys.executable, "-c", RESAVE, str(folder / "50.png"), str(folder / "again.png")]
    name = f"decompress {label}, against Pillow saving the PNG again"
    rows.append(against(name, [*ours, str(folder / "51.png")], theirs, runs))
    if len(os.sched_getaffinity(0)) > 1:  # on one core a busy neighbour takes its half
        crowded(compress(big, 50, folder / "50.lrk"), label, runs)
    return rows


def crowded(command: list[str], label: str, runs: int) -> None:
    """Print what becomes of the wall-clock time while another process keeps a core busy."""
    alone = median([once(command) for _ in range(runs)])
    spinner = subprocess.Popen([sys.executable, "-c", SPIN])
    try:
        busy = median([once(command) for _ in range(runs)])
    finally:
        spinner.kill()
        spinner.wait()
    print(
        f"\ncompress {label} -k 50 on {len(os.sched_getaffinity(0))} cores: {alone.wall:.2f} s, "
        f"{busy.wall:.2f} s while another process keeps one busy ({busy.wall / alone.wall:.2f}x)"
    )


Solver = Callable[[np.ndarray, int], Any]


def solvers() -> dict[str, Solver]:
    """All kernels: from a matrix of 8-bit samples and k to factors."""
    found: dict[str, Solver] = {
        "lowrank": linalg.truncated_svd,
        "lowrank, certified": lambda A, k: linalg.truncated_svd(A, k, certify=True),
    }
    for solver in ("propack", "arpack"):
        for dtype in ("float32", "float64"):
            found[f"svds {solver} {dtype}"] = lambda A, k, s=solver, t=dtype: svds(
                A.astype(t), k=k, solver=s, rng=0
            )
    for n_iter in (7, 20):
        found[f"randomized_svd n_iter={n_iter}"] = lambda A, k, i=n_iter: randomized_svd(
            A.astype(np.float32), k, n_iter=i, random_state=0
        )
    found["numpy.linalg.svd"] = lambda A, k: np.linalg.svd(A.astype(float), full_matrices=False)
    return found


def kernels(runs: int, shape: tuple[int, int]) -> dict[int, dict[str, tuple[float, float]]]:
    """Print bare kernels on one channel: processor time, and the error above the optimum."""
    A = np.asarray(photograph(*shape))[:, :, 1]
    exact = np.linalg.svd(A.astype(float), compute_uv=False)
    all_of_them = solvers()
    found: dict[int, dict[str, tuple[float, float]]] = {}
    print(
        f"\n| kernel, one channel of {A.shape[0]} x {A.shape[1]} | k | s | in units of ours ",
        end="",
    )
    print("| error above the optimum |\n|---|---|---|---|---|")
    for k in (20, 50, 200):
        optimum = float(np.linalg.norm(exact[k:]))
        times: dict[str, list[float]] = {name: [] for name in all_of_them}
        excess = {}
        for _ in range(runs):
            for name, solve in all_of_them.items():
                start = time.process_time()
                result = solve(A, k)
                times[name].append(time.process_time() - start)
                excess[name] = np.linalg.norm(A - product(result, k)) / optimum - 1
        ours = statistics.median(times["lowrank"])
        found[k] = {name: (statistics.median(t), excess[name]) for name, t in times.items()}
        for name, (seconds, above) in found[k].items():
            shown = f"{max(above, 0):.0e}" if above > 1e-14 else "0"
            print(f"| {name} | {k} | {seconds:.3f} | {seconds / ours:.2f} | {shown} |", flush=True)
    return found


def product(result: Any, k: int) -> np.ndarray:
    """Return the rank-k matrix of a solver's factors."""
    if isinstance(result, linalg.TruncatedSVD):
        return (result.U * result.s) @ result.Vt
    U, s, Vt = (np.asarray(x, dtype=float) for x in result)
    order = np.argsort(-s)[:k]
    return (U[:, order] * s[order]) @ Vt[order]


Points = list[tuple[float, Run]]


def growth(folder: Path, runs: int, *, quick: bool) -> dict[str, Points]:
    """Print how processor time and memory grow, with fitted exponents."""
    sizes = [(1000, 750), (1414, 1061), (2000, 1500)]
    sizes += [] if quick else [(2828, 2121), (4000, 3000), (5657, 4243)]
    print("\n| compress | pixels | k | s | MB |\n|---|---|---|---|---|")

    def point(width: int, height: int, k: int) -> Run:
        path = folder / f"{width}.png"
        if not path.exists():
            photograph(width, height).save(path, compress_level=1)
        command = compress(path, k, folder / "grow.lrk")
        run = median([once(command) for _ in range(runs)])
        print(
            f"| {width} x {height} | {width * height:,} | {k} | {run.cpu:.2f} | {run.memory:.0f} |",
            flush=True,
        )
        return run

    by_size = [(w * h / 1e6, point(w, h, 50)) for w, h in sizes]
    ranks = (10, 20, 50, 100, 200, 400)[: 4 if quick else 6]
    by_rank = [(float(k), point(*sizes[-1 if quick else -2], k)) for k in ranks]
    least = folder / "least.png"
    photograph(16, 16).save(least)
    base = median([once(compress(least, 1, folder / "grow.lrk")) for _ in range(5)])
    print(
        f"\nabove a start-up of {base.cpu:.2f} s and {base.memory:.0f} MB: time grows as "
        f"pixels^{exponent(by_size, base, 'cpu'):.2f} and k^{exponent(by_rank, base, 'cpu'):.2f}, "
        f"memory as pixels^{exponent(by_size, base, 'memory'):.2f}"
    )
    return {"megapixels": by_size, "k": by_rank}


def exponent(points: Points, base: Run, what: str) -> float:
    """Fit a power law to what is above the start-up."""
    x = np.log([at for at, _ in points])
    y = np.log([max(getattr(run, what) - getattr(base, what), 1e-3) for _, run in points])
    return float(np.polyfit(x, y, 1)[0])


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="of each side, for the medians")
    parser.add_argument("--cores", type=int, help="keep to so many processors")
    parser.add_argument("--quick", action="store_true", help="small images, no picture: a minute")
    options = parser.parse_args()
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.cores :])
    compileall.compile_dir(ROOT / "lowrank", quiet=1)  # as installed packages are, the peers too
    runs, quick = 1 if options.quick else options.runs, options.quick
    with tempfile.TemporaryDirectory() as name:
        rows = processes(Path(name), runs, quick=quick)
        found = kernels(runs, (768, 512) if quick else (2048, 1365))
        grown = growth(Path(name), 1 if quick else min(runs, 2), quick=quick)
    if not quick:
        from speed_picture import draw

        draw(PICTURE, rows, found, grown)
        print(f"\ndrawn: {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
