"""Bytes against PSNR, MS-SSIM and SSIMULACRA2 over a folder of images: `make bench-rd`.

    python benchmarks/rate_distortion.py FOLDER [--layout channels] [--qmf POINTS.json] [--every N]

Every point is a real file, headers included, decoded again; PSNR is over all RGB
samples, MS-SSIM of luma in dB, SSIMULACRA2 as its package has it. Each peer is taken at the
better of its settings at each value (the lower envelope of its curves): JPEG optimised, baseline
or progressive, 4:2:0 or 4:4:4; WebP method 6; JPEG 2000 irreversible with the colour transform;
AVIF at speeds 6 and 2, 4:2:0 or 4:4:4, tuned for PSNR, and as Pillow tunes it, for the eye; JPEG
XL, which is for the eye, at effort 7 and 9. Ours are two: tuned for PSNR, and for the eye.
BD-rate is the mean difference of log bytes at equal quality, curves interpolated by PCHIP, from
0.1 to 2 bits per pixel of either codec, per image. `--every 3` takes every third point of the
peers' curves and every second one of ours, which has fewer: 3 points tell within half a percent
what 6 do.

References
----------
G. Bjontegaard, "Calculation of average PSNR differences between RD-curves",
VCEG-M33 (2001); with piecewise cubic interpolation instead of one cubic.
Z. Wang, E. Simoncelli, A. Bovik, "Multiscale structural similarity for image quality
assessment", Asilomar (2003).
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
from scipy.ndimage import gaussian_filter

import lowrank
from lowrank import format as lrk

ROOT = Path(__file__).resolve().parent.parent
LOW, HIGH = 0.1, 2.0  # bits per pixel that BD-rate is taken over
BPP = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)  # of the mean curves
METRICS = ("PSNR", "MS-SSIM", "SSIMULACRA2")
Point = tuple[float, ...]  # bits per pixel, then the metrics
Curve = list[Point]

JPEG = (2, 4, 6, 8, 10, 13, 17, 22, 28, 35, 43, 52, 61, 70, 78, 84, 88, 91, 93, 95)
WEBP = (0, 2, 5, 10, 16, 23, 31, 40, 50, 60, 70, 78, 84, 88, 91, 93, 95, 97)
AVIF = (5, 12, 20, 28, 36, 44, 52, 60, 68, 75, 81, 86, 90, 93, 95)
JXL = (8, 15, 22, 30, 38, 46, 54, 62, 69, 75, 80, 84, 88, 91, 94)
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
        **{
            f"AVIF {tuned}, speed {speed}": [
                save("AVIF", speed=speed, subsampling=x, max_threads=1, **told)
                for x in ("4:2:0", "4:4:4")
            ]
            for speed in (6, 2)
            for tuned, told in (
                ("tune=psnr", {"advanced": {"tune": "psnr"}}),
                ("as Pillow tunes it", {}),
            )
        },
        **{f"JPEG XL, effort {e}": [save("JXL", effort=e, num_threads=1)] for e in (7, 9)},
    }


def dials(codec: str) -> list[dict[str, Any]]:
    """Values of a codec's dial, from the worst to the best."""
    if codec == "JPEG 2000":
        return [{"quality_layers": [ratio]} for ratio in JPEG2000]
    every = {"JPEG": JPEG, "WebP": WEBP, "AVIF": AVIF, "JPEG XL": JXL}
    name = next(x for x in sorted(every, key=len, reverse=True) if codec.startswith(x))
    return [{"quality": q} for q in every[name]]


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """PSNR in dB over all samples."""
    error = a.astype(np.float64) - b
    return 10 * math.log10(255**2 / float(np.mean(error * error)))


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """MS-SSIM of luma, as -10 log10(1 - x)."""
    x, y = (image @ np.array([0.299, 0.587, 0.114]) for image in (a, b))
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        mx, my, xx, yy, xy = (
            gaussian_filter(z, 1.5, truncate=3.34)[5:-5, 5:-5] for z in (x, y, x * x, y * y, x * y)
        )
        s = (2 * (xy - mx * my) + 7.65**2) / (xx - mx * mx + yy - my * my + 7.65**2)
        if scale == 4:
            s *= (2 * mx * my + 2.55**2) / (mx * mx + my * my + 2.55**2)
        product *= max(float(s.mean()), 1e-9) ** weight
        h, w = (n // 2 * 2 for n in x.shape)
        x, y = (z[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3)) for z in (x, y))
    return -10 * math.log10(1 - product)


def ssimulacra2(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """SSIMULACRA2: 100 is the same picture, 90 looks the same, 50 is middling."""
    from ssimulacra2 import compute_ssimulacra2

    files = [io.BytesIO(), io.BytesIO()]
    for file, samples in zip(files, (a, b), strict=True):
        Image.fromarray(samples).save(file, "PPM")
    return float(compute_ssimulacra2(*files))


def point(A: NDArray[np.uint8], data: bytes, decoded: NDArray[np.uint8]) -> Point:
    """Bits per pixel of a file, and how near it is."""
    bits = 8 * len(data) / (A.shape[0] * A.shape[1])
    return bits, psnr(A, decoded), ms_ssim(A, decoded), ssimulacra2(A, decoded)


def peer_curves(image: Image.Image, codec: str, every: int) -> list[Curve]:
    """Curves of one codec, one for each setting."""
    A = np.asarray(image)
    curves = []
    for setting in peers()[codec]:
        curve = []
        for options in dials(codec)[::every]:
            data = setting(image, options)
            with Image.open(io.BytesIO(data)) as decoded:
                curve.append(point(A, data, np.asarray(decoded.convert("RGB"))))
        curves.append(curve)
    return curves


def our_curve(image: Image.Image, layout: str, tune: str | None, every: int) -> Curve:
    """Our curve over a grid of qualities."""
    A = np.asarray(image)
    curve = []
    for quality in QUALITIES[:: max(every - 1, 1)]:
        data = lowrank.compress(
            image, quality=quality, layout=layout, store="packed", tune=tune
        ).to_bytes()
        parts = lrk.parse(data, name="ours", max_pixels=A.size)
        curve.append(point(A, data, lowrank.LowRankImage(parts).to_array()))
    return curve


class Rate:
    """log bits per pixel as a function of a metric, by its number: the best of some curves."""

    def __init__(self, curves: list[Curve], metric: int = 0) -> None:
        self._curves = [_rising([(x[0], x[1 + metric]) for x in curve]) for curve in curves]
        self._rates = [PchipInterpolator(p, np.log(b)) for b, p in self._curves]
        at = [PchipInterpolator(np.log(b), p) for b, p in self._curves]
        # The metric at the ends of the range of bits per pixel: of the better setting.
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


def _rising(curve: list[tuple[float, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bits and quality of the points that no cheaper point reaches."""
    kept: list[tuple[float, float]] = []
    for bits, quality in sorted(curve):
        if not kept or (quality > kept[-1][1] and bits > kept[-1][0]):
            kept.append((bits, quality))
    b, p = np.array(kept).T
    return b, p


def bd_rate(ours: Rate, theirs: Rate) -> float:
    """Mean difference of bytes at equal quality, in %; negative: ours are fewer."""
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


def table(curves: dict[str, dict[str, list[Curve]]], ours: list[str]) -> str:
    """Markdown tables: mean PSNR at fixed rates, and BD-rates of each of ours."""
    codecs = list(next(iter(curves.values())))
    lines = ["| bits per pixel | " + " | ".join(f"{b:g}" for b in BPP) + " |"]
    lines.append("|" + "---|" * (len(BPP) + 1))
    rates = {n: {c: Rate(x) for c, x in by.items()} for n, by in curves.items()}
    for codec in codecs:
        cells = []
        for bpp in BPP:
            values = [r[codec].psnr_at(bpp) for r in rates.values() if codec in r]
            cells.append("" if np.isnan(values).any() else f"{np.mean(values):.2f}")
        lines.append(f"| {codec} | " + " | ".join(cells) + " |")
    for one in ours:
        lines += ["", f"| {one} against | " + " | ".join(METRICS) + " | images |"]
        lines.append("|" + "---|" * (len(METRICS) + 2))
        for codec in codecs:
            if codec == one:
                continue
            cells, count = [], 0
            for metric in range(len(METRICS)):
                found = [
                    bd_rate(Rate(by[one], metric), Rate(by[codec], metric))
                    for by in curves.values()
                    if codec in by and len(by[codec][0][0]) > 1 + metric
                ]
                found = [v for v in found if not math.isnan(v)]
                count = max(count, len(found))
                cells.append(
                    f"{np.mean(found):+.1f}% ({min(found):+.0f}..{max(found):+.0f})"
                    if found
                    else ""
                )
            if count:
                lines.append(f"| {codec} | " + " | ".join(cells) + f" | {count} |")
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
    parser.add_argument("--every", type=int, default=1, help="take every N-th point of the curves")
    parser.add_argument("--quick", action="store_true", help="leave out AVIF speed 2, effort 9")
    parser.add_argument("--picture", type=Path, help="draw the mean curves")
    options = parser.parse_args()
    import pillow_jxl  # noqa: F401 - importing it registers its format

    tunes = ("psnr", "eye") if options.layout == "patches" else (None,)
    ours = {f"lowrank {options.layout}" + (f", tune={x}" if x else ""): x for x in tunes}
    cached = json.loads(options.cache.read_text()) if _there(options.cache) else {}
    qmf = json.loads(options.qmf.read_text())["images"] if _there(options.qmf) else {}
    curves: dict[str, dict[str, list[Curve]]] = {}
    for name, image in photographs(options.folder):
        for codec in peers():
            if options.quick and codec.endswith((" 2", " 9")):
                continue
            if codec not in cached.setdefault(name, {}):
                cached[name][codec] = peer_curves(image, codec, options.every)
        if options.cache:
            options.cache.write_text(json.dumps(cached))
        curves[name] = {
            one: [our_curve(image, options.layout, tune, options.every)]
            for one, tune in ours.items()
        } | cached[name]
        if name in qmf:
            curves[name]["QMF"] = [qmf[name]]
        print(f"{name}: done", flush=True)
    print()
    print(table(curves, list(ours)))
    if options.picture:
        picture(curves, options.picture)


def _there(path: Path | None) -> bool:
    return path is not None and path.exists()


if __name__ == "__main__":
    main()
