"""Other codecs on the same picture: their PSNR at our bytes, their bytes at our PSNR.

Each codec is taken at the better of its usual settings (chroma subsampled or not,
baseline or progressive), at the quality of its dial that just meets the comparison.
All of them are Pillow's, but for JPEG XL, through the extra `jxl`. AVIF is tuned for the PSNR
that is compared, where its encoder can be: what Pillow tunes it for otherwise is the eye. JPEG XL
is always made for the eye: a measure of what people see may put it ahead where PSNR does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, features

from lowrank.errors import ImageError, LimitError, UsageError, number_of, pip_install
from lowrank.io import jxl, pillow
from lowrank.io.formats import FORMATS
from lowrank.io.modes import to_image
from lowrank.io.wall import wall
from lowrank.names import CODECS
from lowrank.picture import Picture
from lowrank.picture.distance import compare

KLT = "klt-jpeg2000"
"""Of stacks only: a transform across the frames, then JPEG 2000."""
_ALSO = {"jpg": "jpeg", "jp2": "jpeg2000", "jpegxl": "jxl"}


@dataclass(frozen=True)
class Peer:
    """One codec beside ours; None where it cannot reach the comparison.

    Attributes
    ----------
    codec : str
    psnr_db : float or None
        At no more bytes than ours; infinite where it is exact.
    bytes : int or None
        At no less PSNR than ours; exact, where ours is.
    why : str
        Why the codec has no numbers at all, or what they are of; "" where nothing need be said.
    tune : str or None
        What the codec is best for: what it was told, or made for.
    """

    codec: str
    psnr_db: float | None
    bytes: int | None
    why: str = ""
    tune: str | None = None


@dataclass(frozen=True)
class _Dial:
    """A codec's settings, and the values of its dial from worst to best."""

    format: str
    feature: str | None
    values: tuple[float, ...]
    settings: tuple[dict[str, Any], ...]
    option: Callable[[float], dict[str, Any]]
    tune: str | None = None
    lossless: dict[str, Any] | None = None
    """The setting that loses nothing, beside the dial."""


_DISTANCES = tuple(25 * 0.93**i for i in range(100))
"""Of JPEG XL, from the worst."""
_WHOLE = tuple(float(q) for q in range(1, 101))
_DIALS = {
    "jpeg": _Dial(
        "JPEG",
        None,
        _WHOLE[:-5],  # beyond 95 Pillow advises against it: size without gain
        tuple(
            {"subsampling": s, "progressive": p, "optimize": True}
            for s in (0, 2)
            for p in (False, True)
        ),
        lambda q: {"quality": int(q)},
    ),
    "webp": _Dial(
        "WEBP",
        "webp",
        _WHOLE,
        ({"method": 6, "exact": True},),
        lambda q: {"quality": int(q)},
        lossless={"lossless": True, "quality": 100, "method": 6, "exact": True},
    ),
    "avif": _Dial(
        "AVIF",
        "avif",
        _WHOLE[:-1],
        tuple({"speed": 6, "subsampling": s} for s in ("4:2:0", "4:4:4")),
        lambda q: {"quality": int(q)},
    ),
    "jpeg2000": _Dial(
        "JPEG2000",
        "jpg_2000",
        tuple(np.arange(15, 60, 0.25)),
        ({"irreversible": True, "quality_mode": "dB"},),
        lambda db: {"quality_layers": [db]},
        lossless={"irreversible": False},
    ),
    "jxl": _Dial(
        "JXL",
        None,
        _WHOLE[:-1],  # 100 is without loss
        ({"effort": 7},),
        lambda q: {"quality": int(q)},
        "eye",
        lossless={"lossless": True, "effort": 7},
    ),
}


def against(
    picture: Picture, codecs: Iterable[str], *, size: int, psnr: float | None
) -> list[Peer]:
    """Compare codecs with a file of `size` bytes and a PSNR in dB (None: it is exact).

    Raises
    ------
    UsageError
        An unknown codec, or a picture of more than 8 bits.
    """
    codecs = list(dict.fromkeys(_ALSO.get(name, name) for name in codecs))
    known = CODECS if picture.frames is None else (*CODECS, KLT)
    unknown = [name for name in codecs if name not in known]
    if unknown:
        raise UsageError(f"--against {unknown[0]}: unknown; give some of {', '.join(known)}")
    if picture.frames is not None:
        return [_frame_by_frame(picture, name, size, psnr) for name in codecs]
    if picture.mode.name not in ("L", "RGB", "RGBA"):
        raise UsageError(
            f"--against compares L, RGB and RGBA, and this picture is {picture.mode.title}; leave "
            "--against out"
        )
    return [_peer(picture, name, size, psnr) for name in codecs]


def _frame_by_frame(picture: Picture, name: str, size: int, psnr: float | None) -> Peer:
    """A codec on some frames of a stack, each alone, taken for all of them.

    Each frame gets its share of our bytes, or is as near to its original as our whole stack is.
    """
    from lowrank.report import stacks

    if name == KLT:
        return _transformed(picture, psnr)
    N, peak = picture.frames or 1, picture.peak
    mse = None if psnr is None else peak**2 / 10 ** (psnr / 10)
    if picture.mode.dtype not in ("uint8", "uint16", "int16"):
        return Peer(name, None, None, f"it holds no frames of {picture.mode.title}")
    numbers = stacks.sampled(N)
    found, tops = [], []
    for i in numbers:
        pictures = stacks.alone(picture, i)
        for frame in pictures:
            top = frame.mode.peak or 255.0
            near = None if mse is None else 10 * math.log10(top**2 / mse)
            found.append(_peer(frame, name, max(size // (N * len(pictures)), 1), near))
            tops.append(top)
    why = next((x.why for x in found if x.why), "")
    reached = [x.psnr_db for x in found]
    bytes_ = [x.bytes for x in found]
    db = None
    if None not in reached and reached:
        lost = [t**2 / 10 ** (p / 10) for t, p in zip(tops, reached, strict=True) if p is not None]
        mean = sum(lost) / len(lost)
        db = 10 * math.log10(peak**2 / mean) if mean else math.inf
    total = None if None in bytes_ else round(sum(b or 0 for b in bytes_) / len(numbers) * N)
    return Peer(
        name, db, total, why or f"each frame alone; from {len(numbers)} of {N}", found[0].tune
    )


def _transformed(picture: Picture, psnr: float | None) -> Peer:
    """The frames turned to their principal axes, and those coded by JPEG 2000."""
    from lowrank.report import klt

    if picture.mode.limits is None or not features.check("jpg_2000") or psnr is None:
        return Peer(KLT, None, None, "it needs integers, an error, and a Pillow with JPEG 2000")
    try:
        found = klt.size_at(picture, picture.peak**2 / 10 ** (psnr / 10))
    except (ImageError, LimitError) as error:
        return Peer(KLT, None, None, str(error))
    if found is None:
        return Peer(KLT, None, None, "it does not reach that PSNR with a number of planes tried")
    return Peer(KLT, None, found[0], f"{number_of(found[1], 'plane')}, and the basis in float16")


def _peer(picture: Picture, name: str, size: int, psnr: float | None) -> Peer:
    try:
        return _compared(picture, name, size, psnr)
    except (ImageError, LimitError) as error:  # one that cannot hold it stops no other
        return Peer(name, None, None, str(error))


def _compared(picture: Picture, name: str, size: int, psnr: float | None) -> Peer:
    if name == "png":
        stored = _png(picture)
        return Peer(name, math.inf if stored <= size else None, stored)
    dial = _DIALS[name]
    if dial.feature and not features.check(dial.feature):
        return Peer(name, None, None, "this Pillow was built without it")
    if name == "jxl" and picture.mode.bits > 8 and picture.mode.colours == 1:
        return _deep_jxl(picture, size, psnr)
    if name == "jxl" and not jxl.register():
        return Peer(name, None, None, f"it needs an extra: {pip_install('jxl')}")
    if name == "jpeg" and picture.mode.name == "RGBA":
        return Peer(name, None, None, "it holds no alpha")
    most = FORMATS[dial.format].side
    if max(picture.width, picture.height) > most:
        return Peer(name, None, None, f"it holds {most:,} pixels a side, and not more")
    if picture.mode.bits > 8:
        if name != "jpeg2000":
            return Peer(name, None, None, "it holds 8 bits, and not more")
        dial = replace(dial, values=tuple(np.arange(15, 110, 0.25)))
    image = to_image(picture)
    tune, told = dial.tune, {}
    if name == "avif" and _avif_can_be_tuned():
        tune, told = "psnr", {"advanced": {"tune": "psnr"}}
    found = [
        _at_setting(_measured(picture, image, dial, s | told), dial, size, psnr)
        for s in dial.settings
    ]
    if psnr is None and dial.lossless is not None:
        whole = replace(dial, values=(0.0,), option=lambda _: {})
        measured = _measured(picture, image, whole, dial.lossless)
        found.append(_at_setting(measured, whole, size, psnr))
    return Peer(
        name,
        max((p for p, _ in found if p is not None), default=None),
        min((b for _, b in found if b is not None), default=None),
        "it keeps no colours below transparent pixels" if _loses_hidden(picture, name) else "",
        tune=tune,
    )


def _png(picture: Picture) -> int:
    """Bytes of the smallest PNG: filtered or not, or of a palette where it has so few colours."""
    found = [len(pillow.write(picture, format="PNG", png_level=level)) for level in (6, 9)]
    if picture.mode.name not in ("L", "RGB"):
        return min(found)
    image = to_image(picture)
    images = [image]
    colours = image.getcolors(256)
    if colours is not None:
        palette, index = np.unique(
            picture.samples.reshape(-1, picture.samples.shape[2]), axis=0, return_inverse=True
        )
        few = Image.fromarray(index.reshape(image.height, image.width).astype(np.uint8))
        few.putpalette(np.broadcast_to(palette, (len(palette), 3)).tobytes())
        images.append(few)
    for each in images:
        stream = BytesIO()
        with wall("write PNG", "leave it out"):
            each.save(stream, "PNG", optimize=True)
        found.append(len(stream.getvalue()))
    return min(found)


def _loses_hidden(picture: Picture, name: str) -> bool:
    """Whether a codec gives other colours to pixels that are transparent, whatever its setting."""
    has_alpha = len(picture.mode.channels) > picture.mode.colours
    return name == "jxl" and has_alpha and not picture.samples[..., -1].all()


def _deep_jxl(picture: Picture, size: int, psnr: float | None) -> Peer:
    """JPEG XL of samples of 16 bits, which Pillow does not write."""
    if not jxl.codes():
        return Peer("jxl", None, None, "of more than 8 bits it needs the package imagecodecs")
    dial = replace(_DIALS["jxl"], values=_DISTANCES)

    @cache
    def measure(distance: float) -> tuple[int, float]:
        bytes_, back = jxl.coded(picture.samples[:, :, 0], distance)
        off = compare(picture, Picture(back[:, :, np.newaxis], picture.mode))
        return bytes_, float("inf") if off.psnr_db is None else off.psnr_db

    return Peer("jxl", *_at_setting(measure, dial, size, psnr), tune=dial.tune)


@cache
def _avif_can_be_tuned() -> bool:
    """Whether the encoder of AVIF that Pillow was built with knows the setting: libaom does."""
    try:
        Image.new("RGB", (8, 8)).save(BytesIO(), "AVIF", advanced={"tune": "psnr"})
    except (ValueError, OSError, TypeError):
        return False
    return True


def _at_setting(
    measured: Callable[[float], tuple[int, float]], dial: _Dial, size: int, psnr: float | None
) -> tuple[float | None, int | None]:
    """PSNR within `size` and bytes for `psnr`; the dial is taken as monotone."""
    wanted = math.inf if psnr is None else psnr
    fits = _last(dial.values, lambda q: measured(q)[0] <= size)
    reaches = _last(dial.values[::-1], lambda q: measured(q)[1] >= wanted)
    return (
        None if fits is None else measured(fits)[1],
        None if reaches is None else measured(reaches)[0],
    )


def _measured(
    picture: Picture, image: Image.Image, dial: _Dial, setting: dict[str, Any]
) -> Callable[[float], tuple[int, float]]:
    @cache
    def measure(value: float) -> tuple[int, float]:
        stream = BytesIO()
        options = setting | dial.option(value)
        if dial.format == "JPEG2000" and picture.mode.colours == 3:
            options["mct"] = 1
        with wall(f"write {dial.format}", "leave it out"):
            image.save(stream, dial.format, **options)
            with Image.open(BytesIO(stream.getvalue())) as decoded:
                samples = np.asarray(decoded.convert(image.mode))
        shaped = samples.reshape(picture.samples.shape)
        pixels = compare(picture, Picture(shaped, picture.mode))
        return len(stream.getvalue()), float("inf") if pixels.psnr_db is None else pixels.psnr_db

    return measure


def _last(values: tuple[float, ...], holds: Callable[[float], bool]) -> float | None:
    """Last value for which `holds`, if it holds for a start of the values and then no more."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if holds(values[middle]):
            low = middle + 1
        else:
            high = middle
    return values[low - 1] if low else None
