"""Stacks of images beside other codecs, at equal PSNR: `make bench-stacks`.

    python benchmarks/stacks.py [FOLDER ...] [--only NAME] [--json POINTS.json]

Each codec gives a curve of bytes against PSNR; the table holds its bytes over ours (packed) at
the PSNR of ours, interpolated between its points in the logarithm of bytes, from the lowest to a
high quality: above 1 ours is smaller. Nothing is extrapolated. PSNR is over all samples, its
peak the range of the data, for every codec alike. Times are of one processor, of the whole
stack, at the point nearest to the PSNR.

The stacks are the sample stacks, Indian Pines where the package tensorly is installed, and the
arrays (.npy, .npz; N x height x width) of the folders given.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from importlib.util import find_spec
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# Read as soon as the libraries are loaded.
os.environ.setdefault("SVT_LOG", "0")

import numpy as np  # noqa: E402
import stack_peers as peers  # noqa: E402
from stack_peers import Point, Stack  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SHARES = (0.0, 0.3, 0.6, 0.9)
"""Where on our curve codecs are compared, of its settings."""
Curve = list[Point]


def stacks(folders: list[str]) -> dict[str, Stack]:
    """All stacks that are there, by name."""
    found: dict[str, Stack] = {}
    for folder in [ROOT / "sample_stacks", *map(Path, folders)]:
        for path in sorted(folder.glob("*.np[yz]")):
            for name, A in peers.read(path.read_bytes(), path.suffix).items():
                if A.ndim == 3 and A.dtype.kind in "iu":
                    found[path.stem if len(name) < 6 else name] = A
    package = find_spec("tensorly")
    if package is not None and package.origin:
        path = Path(package.origin).parent / "datasets/data/Indian_pines_corrected.npy"
        bands_last = np.load(path)
        found["indian pines"] = np.ascontiguousarray(bands_last.transpose(2, 0, 1)).astype("u2")
    return found


def hull(points: Curve) -> Curve:
    """The points that no other one beats, by PSNR."""
    best = math.inf
    kept = []
    for point in sorted(points, key=lambda p: (-p.psnr, p.bytes)):
        if point.bytes < best and math.isfinite(point.psnr):
            best = point.bytes
            kept.append(point)
    return kept[::-1]


def bytes_at(curve: Curve, psnr: float) -> float:
    """Bytes of a curve at a PSNR, or nan outside of it."""
    x, y = [p.psnr for p in curve], [math.log(p.bytes) for p in curve]
    if len(curve) < 2 or not x[0] <= psnr <= x[-1]:
        return math.nan
    return math.exp(float(np.interp(psnr, x, y)))


def measure(A: Stack, only: str | None) -> dict[str, Curve]:
    """The curve of every codec that is installed."""
    curves = {}
    for name, codec in peers.CODECS.items():
        if only and name not in ("packed", only):
            continue
        points: Curve = []
        try:
            for point in codec(A):
                points.append(point)
        except (ImportError, RuntimeError, ValueError, OSError) as error:
            print(f"  {name}: {error}", flush=True)
        if points:
            curves[name] = hull(points)
    return curves


def rows(name: str, A: Stack, curves: dict[str, Curve]) -> list[list[str]]:
    """Rows of the table of one stack."""
    ours = curves["packed"]
    result = []
    for share in SHARES:
        point = ours[round(share * (len(ours) - 1))]
        row = [name, f"{point.psnr:.1f}", f"{point.bytes / 1000:.1f}"]
        row.append(f"{point.planes} of {len(A)}")
        for other in list(peers.CODECS)[1:]:
            ratio = bytes_at(curves.get(other, []), point.psnr) / point.bytes
            row.append("-" if math.isnan(ratio) else f"{ratio:.2f}")
        result.append(row)
    return result


def times(curves: dict[str, Curve]) -> list[str]:
    """Seconds to encode and decode, at the PSNR in the middle of our curve."""
    ours = curves["packed"]
    psnr = ours[len(ours) // 2].psnr
    cells = []
    for name in peers.CODECS:
        curve = curves.get(name)
        if not curve:
            cells.append("-")
            continue
        near = min(curve, key=lambda p: abs(p.psnr - psnr))
        cells.append(f"{near.encode:.2f} / {near.decode:.2f}")
    return cells


def table(head: list[str], body: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(curves: dict[str, dict[str, Curve]], path: Path) -> None:
    """Bytes against PSNR, a panel for each stack."""
    from matplotlib.figure import Figure

    columns = 3
    figure = Figure(figsize=(12, 3.2 * -(-len(curves) // columns)), layout="constrained")
    axes = figure.subplots(-(-len(curves) // columns), columns, squeeze=False).ravel()
    for axis, (name, mine) in zip(axes, curves.items(), strict=False):
        for codec, curve in mine.items():
            style = {"lw": 2.5, "color": "black"} if codec == "packed" else {"lw": 1}
            axis.plot(
                [p.bytes / 1000 for p in curve], [p.psnr for p in curve], label=codec, **style
            )
        axis.set_xscale("log")
        axis.set_title(name, fontsize=9)
        low = mine["packed"][0]
        axis.set_xlim(low.bytes / 2000, mine["packed"][-1].bytes / 250)
        axis.set_ylim(low.psnr - 2, mine["packed"][-1].psnr + 1)
    for axis in axes[len(curves) :]:
        axis.set_axis_off()
    axes[0].legend(fontsize=6)
    axes[0].set_xlabel("kB", fontsize=8)
    axes[0].set_ylabel("PSNR, dB", fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print the tables, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--only", help="one codec beside ours")
    parser.add_argument("--stack", help="stacks whose name has this in it")
    parser.add_argument("--json", help="where the points go")
    parser.add_argument("--picture", help="where the picture goes")
    options = parser.parse_args()
    every: dict[str, dict[str, Curve]] = {}
    body, seconds, floor = [], [], []
    for name, A in stacks(options.folders).items():
        if options.stack and options.stack not in name:
            continue
        print(f"{name}: {A.shape} {A.dtype}", flush=True)
        every[name] = measure(A, options.only)
        body += rows(name, A, every[name])
        seconds.append([name, *times(every[name])])
        if not options.only:
            least = peers.lossless(A)
            floor.append([name, f"{A.nbytes / 1000:.0f}", f"{least / 1000:.0f}"])
        if options.json:
            points = {n: {c: [vars(p) for p in v] for c, v in x.items()} for n, x in every.items()}
            Path(options.json).write_text(json.dumps(points), encoding="utf-8")
    others = list(peers.CODECS)[1:]
    # Where ours loses comes first.
    body.sort(key=lambda row: min([float(x) for x in row[4:] if x != "-"] or [9]))
    print(table(["stack", "dB", "ours, kB", "planes", *others], body))
    print(table(["stack, s", *peers.CODECS], seconds))
    print(table(["stack", "raw, kB", "without loss, kB"], floor))
    if options.picture:
        draw(every, Path(options.picture))


if __name__ == "__main__":
    main()
