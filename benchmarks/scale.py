"""A stack larger than is comfortable: lowrank in passes beside dask and scikit-learn, in one run.

    python benchmarks/scale.py [--frames 2500] [--side 512] [-k 20] [--batches 3]
                               [--picture 16384] [--folder /tmp]

Makes a stack of uint16 in a file once (1.3 GB), and runs each contestant in a process of its own:
`lowrank compress`, `dask.array.linalg.svd_compressed` with n_power_iter=4 on slabs of the same
width, by both of its iterators, `sklearn.decomposition.IncrementalPCA` by batches of 100 frames:
some of them, since all take as long again as many times; 0 takes all. Says wall and processor
seconds, the peak of memory, and the largest relative error of the singular values (scikit-learn's
of all frames against those of the stack less its mean, which it decomposes). Then one picture of
noise, `-k 50`, the slowest there is; its values are not known otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def made(path: Path, frames: int, side: int) -> None:
    """Forty smooth components of falling weight, over a still background, and noise."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:side, 0:side]
    centres = rng.uniform(0, side, (40, 2))
    widths = rng.uniform(side / 25, side / 4, 40)
    shapes = np.stack(
        [
            np.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * w * w))
            for (a, b), w in zip(centres, widths, strict=True)
        ]
    ).reshape(40, -1)
    curves = np.cumsum(rng.standard_normal((frames, 40)), axis=0)
    curves *= 3000 * 0.9 ** np.arange(40) / np.abs(curves).max(axis=0)
    out = np.lib.format.open_memmap(path, "w+", np.uint16, (frames, side, side))
    for a in range(0, frames, 50):
        F = curves[a : a + 50] @ shapes + 4000
        F += 20 * rng.standard_normal(F.shape)
        out[a : a + 50] = np.rint(F).clip(0, 65535).reshape(-1, side, side)


def made_noise(path: Path, side: int) -> None:
    """A picture of random bytes."""
    rng = np.random.default_rng(side)
    out = np.lib.format.open_memmap(path, "w+", np.uint8, (side, side))
    for a in range(0, side, 1024):
        out[a : a + 1024] = rng.integers(0, 256, out[a : a + 1024].shape, dtype=np.uint8)


def exact(path: Path, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Singular values, also of the stack less its mean, from the Gram matrix in float64.

    Kept beside the file.
    """
    kept = path.with_suffix(f".{k}.s.npy")
    if not kept.exists():
        A = np.load(path, mmap_mode="r")
        A = A.reshape(len(A), -1)
        G = np.zeros((len(A), len(A)))
        for a in range(0, A.shape[1], 4096):
            slab = A[:, a : a + 4096].astype(np.float64)
            G += slab @ slab.T
        H = np.eye(len(A)) - 1 / len(A)
        np.save(kept, [np.sqrt(np.linalg.eigvalsh(X)[::-1][:k]) for X in (G, H @ G @ H)])
    plain, centred = np.load(kept)
    return plain, centred


def by_dask(path: str, k: int, iterator: str) -> np.ndarray:
    """Randomised SVD of dask, in threads; "power" does not orthogonalise between products."""
    import dask
    import dask.array as da

    A = np.load(path, mmap_mode="r")
    width = 16 * 432
    X = da.from_array(A.reshape(len(A), -1), chunks=(len(A), width)).astype("f8")
    u, s, v = da.linalg.svd_compressed(
        X, k, iterator=iterator, n_power_iter=4, compute=True, seed=0
    )
    return dask.compute(u, s, v)[1]


def by_sklearn(path: str, k: int, batches: int) -> np.ndarray:
    """IncrementalPCA by batches of 100 frames, all or the first of them."""
    from sklearn.decomposition import IncrementalPCA

    A = np.load(path, mmap_mode="r")
    pca = IncrementalPCA(n_components=k)
    for a in range(0, min(len(A), 100 * batches or len(A)), 100):
        pca.partial_fit(A[a : a + 100].reshape(-1, A[0].size).astype(np.float32))
    return pca.singular_values_  # of the stack less its mean


def by_lowrank(path: str, *options: str) -> np.ndarray:
    """The command."""
    import lowrank
    from lowrank.cli import run

    out = f"{path}.lrk"
    sys.argv = ["lowrank", "compress", path, "-f", "-o", out, "--quiet", *options]
    code = run()
    if code:
        raise SystemExit(code)
    ((_, s, _),) = lowrank.open(out, max_pixels=1 << 40).factors
    return s


CONTESTANTS = {
    "lowrank -k": lambda path, k, _: by_lowrank(path, "-k", str(k)),
    "lowrank --error 5%": lambda path, k, _: by_lowrank(path, "--error", "5%"),
    "dask svd_compressed, power": lambda path, k, _: by_dask(path, k, "power"),
    "dask svd_compressed, QR": lambda path, k, _: by_dask(path, k, "QR"),
    "sklearn IncrementalPCA": by_sklearn,
}


def _peak() -> float:
    """Most memory of this process in MB; what a parent had does not count."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def alone(name: str, path: str, k: int, batches: int) -> None:
    """One contestant, in this process."""
    began, used = time.monotonic(), time.process_time()
    s = CONTESTANTS[name](path, k, batches)
    print(
        json.dumps(
            {
                "wall": time.monotonic() - began,
                "processor": time.process_time() - used,
                "peak": _peak(),
                "s": list(map(float, s)),
            }
        )
    )


def main() -> None:
    """All contestants, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2500)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("-k", type=int, default=20)
    parser.add_argument("--batches", type=int, default=3, help="of IncrementalPCA; 0: all")
    parser.add_argument("--picture", type=int, default=16384, help="side of noise; 0: none")
    parser.add_argument("--folder", default="/tmp")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(*options.alone, options.k, options.batches)
        return
    path = Path(options.folder) / f"scale-{options.frames}-{options.side}.npy"
    if not path.exists():
        made(path, options.frames, options.side)
    print(f"{path}: {path.stat().st_size / 1e9:.2f} GB, {os.cpu_count()} processors", flush=True)
    plain, centred = exact(path, options.k)
    for name in CONTESTANTS:
        part = 100 * options.batches if name.startswith("sklearn") else 0
        right = centred if name.startswith("sklearn") else plain
        run(name, path, options.k, options.batches, right, part=part / options.frames)
    if options.picture:
        noise = path.with_name(f"noise-{options.picture}.npy")
        if not noise.exists():
            made_noise(noise, options.picture)
        print(f"{noise}: {noise.stat().st_size / 1e9:.2f} GB", flush=True)
        run("lowrank -k", noise, 50, 0, None)


def run(
    name: str, path: Path, k: int, batches: int, right: np.ndarray | None, *, part: float = 0
) -> None:
    """One contestant in a process of its own, of all or of a part of the frames; and a line."""
    command = [
        sys.executable, __file__, "-k", str(k), "--batches", str(batches),
        "--alone", name, str(path),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name:26} {done.stderr.strip().splitlines()[-1]}")
        return
    x = json.loads(done.stdout.splitlines()[-1])
    line = (
        f"{name:26} {x['wall']:7.1f} s  {x['processor']:7.1f} s of processor  {x['peak']:6.0f} MB"
    )
    if 0 < part < 1:
        line += f"  for {part:.0%} of the frames: about {x['processor'] / part:.0f} s for all"
    elif right is not None:
        s = np.array(x["s"])
        line += f"  sigma {np.abs(s / right[: len(s)] - 1).max():.1e}"
    print(line, flush=True)


if __name__ == "__main__":
    main()
