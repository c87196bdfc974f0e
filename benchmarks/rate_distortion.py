"""Bytes against PSNR over a folder of images: `make bench-rd`.

    python benchmarks/rate_distortion.py FOLDER [--layout channels] [--qmf POINTS.json]

Every point is a real file, headers included, decoded again; PSNR is over all RGB
samples. Each peer is Pillow's codec, taken at the better of its settings at each PSNR
(the lower envelope of its curves): JPEG optimised, baseline or progressive, 4:2:0 or
4:4:4; WebP method 6; JPEG 2000 irreversible with the colour transform; AVIF speed 6,
4:2:0 or 4:4:4, tuned for PSNR, and once more as Pillow tunes it, for the eye. BD-rate
is the mean difference of log bytes at equal PSNR, curves interpolated by PCHIP, from
0.1 to 2 bits per pixel of either codec, per image.

References
----------
G. Bjontegaard, "Calculation of average PSNR differences between RD-curves",
VCEG-M33 (2001); with piecewise cubic interpolation instead of one cubic.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.interpolate import PchipInterpolator

import lowrank
from lowrank import format as lrk

ROOT = Path(__file__).resolve().parent.parent
LOW, HIGH = 0.1, 2.0  # bits per pixel that BD-rate is taken over
BPP = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)  # of the mean curves
Curve = list[tuple[float, float]]  # bits per pixel, PSNR in dB

JPEG = (2, 4, 6, 8, 10, 13, 17, 22, 28, 35, 43, 52, 61, 70, 78, 84, 88, 91, 93, 95)
WEBP = (0, 2, 5, 10, 16, 23, 31, 40, 50, 60, 70, 78, 84, 88, 91, 93, 95, 97)
AVIF = (5, 12, 20, 28, 36, 44, 52, 60, 68, 75, 81, 86, 90, 93, 95)
JPEG2000 = (320, 240, 160, 110, 80, 60, 45, 34, 26, 20, 16, 13, 11, 9)
QUALITIES = (95, 91, 87, 82, 75, 66, 53, 41, 30, 21, 14, 10)


def peers() -> dict[str, list[Callable[[Image.Image, Any], bytes]]]:
    """Settings of each codec."""

    def save(kind: str, **fixed: Any) -> Callable[[Image.Image, Any], bytes]:
        def run(image: Image.Image, options: dict[str, Any]) -> bytes:
            out = io.BytesIO()
            image.save(out, kind, **fixed, **options)
            return out.getvalue()

        return run

    return {
        "JPEG": [
            save("JPEG", optimize=True, progressive=p, subsampling=s)
            for p in (False, True)
            for s in ("4:2:0", "4:4:4")
        ],
        "WebP": [save("WEBP", method=6)],
        "JPEG 2000": [save("JPEG2000", irreversible=True, mct=1, quality_mode="rates")],
        "AVIF": [
            save("AVIF", speed=6, subsampling=s, max_threads=1, advanced={"tune": "psnr"})
            for s in ("4:2:0", "4:4:4")
        ],
        "AVIF for the eye": [
            save("AVIF", speed=6, subsampling=s, max_threads=1) for s in ("4:2:0", "4:4:4")
        ],
    }


DIALS: dict[str, list[dict[str, Any]]] = {
    "JPEG": [{"quality": q} for q in JPEG],
    "WebP": [{"quality": q} for q in WEBP],
    "AVIF": [{"quality": q} for q in AVIF],
    "AVIF for the eye": [{"quality": q} for q in AVIF],
    "JPEG 2000": [{"quality_layers": [ratio]} for ratio in JPEG2000],
}


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """PSNR in dB over all samples."""
    error = a.astype(np.float64) - b
    return 10 * math.log10(255**2 / float(np.mean(error * error)))


def point(A: NDArray[np.uint8], data: bytes, decoded: NDArray[np.uint8]) -> tuple[float, float]:
    """Bits per pixel and PSNR of a file."""
    return 8 * len(data) / (A.shape[0] * A.shape[1]), psnr(A, decoded)


def peer_curves(image: Image.Image, codec: str) -> list[Curve]:
    """Curves of one codec, one for each setting."""
    A = np.asarray(image)
    curves = []
    for setting in peers()[codec]:
        curve = []
        for options in DIALS[codec]:
            data = setting(image, options)
            with Image.open(io.BytesIO(data)) as decoded:
                curve.append(point(A, data, np.asarray(decoded.convert("RGB"))))
        curves.append(curve)
    return curves


def our_curve(image: Image.Image, layout: str) -> Curve:
    """Our curve over a grid of qualities."""
    A = np.asarray(image)
    curve = []
    for quality in QUALITIES:
        data = lowrank.compress(image, quality=quality, layout=layout, store="packed").to_bytes()
        parts = lrk.parse(data, name="ours", max_pixels=A.size)
        curve.append(point(A, data, lowrank.LowRankImage(parts).to_array()))
    return curve


class Rate:
    """log bits per pixel as a function of PSNR: the best of some curves."""

    def __init__(self, curves: list[Curve]) -> None:
        self._curves = [_rising(curve) for curve in curves]
        self._rates = [PchipInterpolator(p, np.log(b)) for b, p in self._curves]
        at = [PchipInterpolator(np.log(b), p) for b, p in self._curves]
        # PSNR at the ends of the range of bits per pixel: of the better setting.
        self.low, self.high = (
            max(
                float(f(math.log(min(max(x, b[0]), b[-1]))))
                for f, (b, _) in zip(at, self._curves, strict=True)
            )
            for x in (LOW, HIGH)
        )
        self._at = at

    def __call__(self, quality: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithm of the least bits per pixel; infinity where no curve reaches."""
        rates = [
            np.where((quality >= p[0]) & (quality <= p[-1]), f(quality), np.inf)
            for f, (_, p) in zip(self._rates, self._curves, strict=True)
        ]
        return np.min(rates, axis=0)

    def psnr_at(self, bpp: float) -> float:
        """PSNR of the best curve that reaches `bpp`; NaN where none does."""
        found = [
            float(f(math.log(bpp)))
            for f, (b, _) in zip(self._at, self._curves, strict=True)
            if b[0] <= bpp <= b[-1]
        ]
        return max(found, default=math.nan)


def _rising(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bits and PSNR of the points that no cheaper point reaches."""
    kept: Curve = []
    for bits, quality in sorted(curve):
        if not kept or (quality > kept[-1][1] and bits > kept[-1][0]):
            kept.append((bits, quality))
    b, p = np.array(kept).T
    return b, p


def bd_rate(ours: Rate, theirs: Rate) -> float:
    """Mean difference of bytes at equal PSNR, in %; negative: ours are fewer."""
    low, high = max(ours.low, theirs.low), min(ours.high, theirs.high)
    if low >= high:
        return math.nan
    quality = np.linspace(low, high, 200)
    difference = ours(quality) - theirs(quality)
    difference = difference[np.isfinite(difference)]
    return 100 * (math.exp(float(difference.mean())) - 1) if len(difference) else math.nan


def photographs(folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """RGB images of a folder."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".png", ".jpg", ".tif", ".tiff", ".ppm", ".webp"):
            with Image.open(path) as image:
                if image.mode in ("RGB", "RGBA", "P"):
                    yield path.name, image.convert("RGB")


def table(curves: dict[str, dict[str, list[Curve]]], ours: str) -> str:
    """Markdown tables: mean PSNR at fixed rates, and BD-rate against each codec."""
    rates = {n: {c: Rate(x) for c, x in by.items()} for n, by in curves.items()}
    codecs = list(next(iter(rates.values())))
    lines = ["| bits per pixel | " + " | ".join(f"{b:g}" for b in BPP) + " |"]
    lines.append("|" + "---|" * (len(BPP) + 1))
    for codec in codecs:
        cells = []
        for bpp in BPP:
            values = [r[codec].psnr_at(bpp) for r in rates.values() if codec in r]
            cells.append("" if np.isnan(values).any() else f"{np.mean(values):.2f}")
        lines.append(f"| {codec} | " + " | ".join(cells) + " |")
    lines += ["", f"| {ours} against | mean BD-rate | best image | worst image | images |"]
    lines.append("|---|---|---|---|---|")
    for codec in codecs:
        if codec == ours:
            continue
        found = {n: bd_rate(r[ours], r[codec]) for n, r in rates.items() if codec in r}
        found = {n: v for n, v in found.items() if not math.isnan(v)}
        if found:
            best, worst = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
            lines.append(
                f"| {codec} | {np.mean(list(found.values())):+.1f}% | {found[best]:+.1f}% ({best}) "
                f"| {found[worst]:+.1f}% ({worst}) | {len(found)} |"
            )
    return "\n".join(lines)


def picture(curves: dict[str, dict[str, list[Curve]]], path: Path) -> None:
    """Draw the mean curves."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rates = [{c: Rate(x) for c, x in by.items()} for by in curves.values()]
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    bpp = np.geomspace(LOW, HIGH, 40)
    for codec in rates[0]:
        mean = [np.mean([r[codec].psnr_at(b) for r in rates if codec in r]) for b in bpp]
        ours = codec.startswith("lowrank")
        axes.plot(bpp, mean, label=codec, linewidth=2.5 if ours else 1.2, zorder=3 if ours else 2)
    axes.set_xscale("log")
    axes.set_xticks(BPP, [f"{b:g}" for b in BPP])
    axes.minorticks_off()
    axes.set_xlabel("bits per pixel")
    axes.set_ylabel("PSNR, dB, mean over the images")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "sample_images")
    parser.add_argument("--layout", default="patches", choices=("patches", "channels"))
    parser.add_argument("--qmf", type=Path, help="JSON of QMF's published points, by file name")
    parser.add_argument("--cache", type=Path, help="keep the peers' curves in this file")
    parser.add_argument("--picture", type=Path, help="draw the mean curves")
    options = parser.parse_args()
    ours = f"lowrank {options.layout}"
    cached = json.loads(options.cache.read_text()) if _there(options.cache) else {}
    qmf = json.loads(options.qmf.read_text())["images"] if _there(options.qmf) else {}
    curves: dict[str, dict[str, list[Curve]]] = {}
    for name, image in photographs(options.folder):
        if name not in cached:
            cached[name] = {codec: peer_curves(image, codec) for codec in peers()}
            if options.cache:
                options.cache.write_text(json.dumps(cached))
        curves[name] = {ours: [our_curve(image, options.layout)], **cached[name]}
        if name in qmf:
            curves[name]["QMF"] = [qmf[name]]
        print(f"{name}: done", flush=True)
    print()
    print(table(curves, ours))
    if options.picture:
        picture(curves, options.picture)


def _there(path: Path | None) -> bool:
    return path is not None and path.exists()


if __name__ == "__main__":
    main()
