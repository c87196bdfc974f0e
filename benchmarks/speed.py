"""Speed against peers, as ratios within one run: `make bench-speed`.

Whole processes first (start-up, decoding and writing included), in turn with a peer's
script so that a drifting machine slows both; then bare kernels, each with its accuracy;
then how time and memory grow with the image. Absolute times belong to the machine; the
ratios are the result.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from PIL import Image
from scipy.sparse.linalg import svds

from lowrank import linalg

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "sample_images" / "parrots.png"

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
np.savez(sys.argv[2], *[np.asarray(x, np.float16) for f in factors for x in f])
"""
PEERS = {
    "svds propack float32": (
        "from scipy.sparse.linalg import svds",
        "svds(X, k={k}, solver='propack')",
    ),
    "svds arpack float32": (
        "from scipy.sparse.linalg import svds",
        "svds(X, k={k}, solver='arpack')",
    ),
    "scikit-learn randomized_svd": (
        "from sklearn.utils.extmath import randomized_svd",
        "randomized_svd(X, {k}, n_iter=7, random_state=0)",
    ),
}
RESAVE = """
import sys, zlib
from PIL import Image
Image.open(sys.argv[1]).save(sys.argv[2], compress_level=1, compress_type=zlib.Z_RLE)
"""


def once(command: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and its peak memory in MB."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    return seconds, usage.ru_maxrss / 1024


def against(name: str, ours: list[str], theirs: list[str], runs: int) -> None:
    """Print a row: medians of both, run in turn, and their ratio."""
    once(ours), once(theirs)
    pairs = [(once(ours), once(theirs)) for _ in range(runs)]
    a = statistics.median(x[0] for x, _ in pairs)
    b = statistics.median(y[0] for _, y in pairs)
    memory = max(x[1] for x, _ in pairs)
    print(f"| {name} | {a:.2f} | {b:.2f} | **{a / b:.2f}** | {memory:.0f} |", flush=True)


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


def processes(folder: Path, runs: int) -> None:
    """Print whole processes against peers."""
    python, lowrank = sys.executable, [sys.executable, "-m", "lowrank"]
    big, out = folder / "big.png", str(folder / "out.npz")
    photograph(4000, 3000).save(big, compress_level=1)
    print("| whole process | ours, s | peer, s | ratio | our peak, MB |")
    print("|---|---|---|---|---|")
    against(
        "`--help`, against `import typer`",
        [*lowrank, "--help"],
        [python, "-c", "import typer"],
        4 * runs,
    )
    for image, label, ranks in ((PHOTO, "0.4 MP", (20,)), (big, "12 MP", (50, 200))):
        for k in ranks:
            ours = [*lowrank, "compress", str(image), "-k", str(k), "-f", "--quiet"]
            ours += ["-o", str(folder / f"{k}.lrk")]
            for peer, (load, solve) in PEERS.items():
                if "arpack" in peer and k == 200:
                    continue  # minutes
                if "sklearn" in load and not _has("sklearn"):
                    continue
                script = PEER.format(load=load, solve=solve.format(k=k))
                theirs = [python, "-c", script, str(image), out]
                few = runs if label == "12 MP" else 3 * runs
                against(f"compress {label} -k {k}, against {peer}", ours, theirs, few)
    ours = [*lowrank, "decompress", str(folder / "50.lrk"), "-f", "--quiet"]
    once([*ours, "-o", str(folder / "50.png")])
    theirs = [python, "-c", RESAVE, str(folder / "50.png"), str(folder / "again.png")]
    against(
        "decompress 12 MP, against Pillow saving the PNG again",
        [*ours, "-o", str(folder / "51.png")],
        theirs,
        runs,
    )


def _has(module: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {module}"], check=False).returncode == 0


def kernels(runs: int) -> None:
    """Print bare kernels on one channel, each with its accuracy."""
    solvers: dict[str, Callable[[np.ndarray, int], object]] = {
        "lowrank": linalg.truncated_svd,
        "lowrank, certified": lambda A, k: linalg.truncated_svd(A, k, certify=True),
        "svds propack float32": lambda A, k: svds(A.astype(np.float32), k=k, solver="propack"),
        "svds arpack float32": lambda A, k: svds(A.astype(np.float32), k=k, solver="arpack"),
        "numpy.linalg.svd": lambda A, k: np.linalg.svd(A.astype(float), full_matrices=False),
    }
    if _has("sklearn"):
        from sklearn.utils.extmath import randomized_svd

        for n_iter in (7, 20):
            solvers[f"randomized_svd n_iter={n_iter}"] = lambda A, k, i=n_iter: randomized_svd(
                A.astype(np.float32), k, n_iter=i, random_state=0
            )
    A = np.asarray(photograph(2048, 1365))[:, :, 1]
    exact = np.linalg.svd(A.astype(float), compute_uv=False)
    print("\n| kernel, one channel of 1365 x 2048 | k | s | against ours | error above optimum |")
    print("|---|---|---|---|---|")
    for k in (20, 50, 200):
        optimum = np.sqrt(np.sum(exact[k:] ** 2))
        ours = 0.0
        for name, solve in solvers.items():
            times = []
            for _ in range(runs):
                start = time.perf_counter()
                result = solve(A, k)
                times.append(time.perf_counter() - start)
            seconds = statistics.median(times)
            ours = ours or seconds
            excess = np.linalg.norm(A - _product(result, k)) / optimum - 1
            print(f"| {name} | {k} | {seconds:.3f} | {seconds / ours:.2f} | {excess:.0e} |")


def _product(result: object, k: int) -> np.ndarray:
    if isinstance(result, linalg.TruncatedSVD):
        return (result.U * result.s) @ result.Vt
    U, s, Vt = (np.asarray(x, dtype=float) for x in result)  # type: ignore[attr-defined]
    order = np.argsort(-s)[:k]
    return (U[:, order] * s[order]) @ Vt[order]


def growth(folder: Path) -> None:
    """Print how time and memory grow with the picture at k = 50, with a fitted exponent."""
    print("\n| compress -k 50 | pixels | s | peak, MB |")
    print("|---|---|---|---|")
    points = []
    for width, height in ((1000, 750), (2000, 1500), (4000, 3000), (6000, 4500)):
        path = folder / "grow.png"
        photograph(width, height).save(path, compress_level=1)
        command = [sys.executable, "-m", "lowrank", "compress", str(path), "-k", "50", "-f"]
        once([*command, "--quiet"])
        seconds, memory = once([*command, "--quiet"])
        points.append((width * height, seconds))
        print(f"| {width} x {height} | {width * height:,} | {seconds:.2f} | {memory:.0f} |")
    x, y = np.log(points[1:]).T
    print(f"\ntime grows as pixels^{np.polyfit(x, y, 1)[0]:.2f}")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        processes(Path(name), runs)
        kernels(runs)
        growth(Path(name))


if __name__ == "__main__":
    main()
