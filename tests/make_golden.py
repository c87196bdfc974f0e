"""Add golden files: `python tests/make_golden.py`, by hand and for a new case only.

Golden files hold version 1 of the format to its promise, that its files open for ever:
so nothing here overwrites one, and no test or target runs this. To add a case, add a
line to CASES (or a branch to `content`), run this once and commit what it adds. To
settle the files of a layout and store, take the pair out of OPEN first.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from lowrank import codec
from lowrank import format as lrk
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.picture import MODES, Metadata, Picture, array_mode
from lowrank.picture.axis import Axis
from lowrank.stores.packed.frames import tiled
from lowrank.targets import Target

GOLDEN = Path(__file__).resolve().parent / "golden"
INDEX = GOLDEN / "golden.json"
PHOTO = GOLDEN.parents[1] / "sample_images" / "parrots.png"

OPEN: set[tuple[str, str]] = set()
"""Layouts with stores whose files may still change before a first release: none of these
files is written yet, and none is missed."""

Case = tuple[str, int, int, Target, str, str]  # mode, height, width, target, layout, store
CASES: dict[str, Case] = {
    f"mode-{mode.lower().replace(';', '')}-{store}": (
        mode, 23, 31, Target("rank", 3), "channels", store,
    )
    for mode in MODES
    for store in ("float16", "float32", "float64")
}  # fmt: skip
CASES |= {
    f"{name}-{store}": (mode, height, width, Target("rank", k), "channels", store)
    for store in ("float16", "float32", "float64")
    for name, mode, height, width, k in (
        ("1x1", "L", 1, 1, 1),
        ("1x19", "RGB", 1, 19, 1),
        ("19x1", "RGB", 19, 1, 1),
        ("tiny", "LA", 3, 2, 2),
        ("full-rank", "L", 17, 13, 13),
        ("constant", "L", 12, 9, 1),
        ("black", "RGB", 6, 5, 2),
        ("cut", "RGB", 21, 34, 6),
    )
}
CASES |= {
    "photo-patches-packed": ("RGB", 256, 320, Target("quality", 75), "patches", "packed"),
    "stripes-patches-packed": ("L", 128, 160, Target("quality", 82), "patches", "packed"),
    "photo-channels-packed": ("RGB", 97, 112, Target("quality", 60), "channels", "packed"),
}
CASES |= {
    "metadata-float16": ("RGB", 8, 8, Target("rank", 1), "channels", "float16"),
    "unequal-ranks-float16": ("RGBA", 27, 26, Target("error", 0.12), "channels", "float16"),
    "large-float16": ("RGB", 301, 419, Target("rank", 9), "channels", "float16"),
}
CASES |= {
    f"{name}-patches-{store}": (mode, height, width, Target("rank", k), "patches", store)
    for name, mode, height, width, k, stores in (
        *((f"mode-{m.lower().replace(';', '')}", m, 23, 31, 2, ("float16",)) for m in MODES),
        ("1x1", "L", 1, 1, 1, ("float16", "float32", "float64")),
        ("1x19", "RGB", 1, 19, 1, ("float32",)),
        ("19x1", "RGB", 19, 1, 1, ("float64",)),
        ("full-rank", "L", 35, 18, 6, ("float64",)),
        ("cut", "RGB", 37, 34, 4, ("float16",)),
        ("metadata", "RGB", 8, 8, 1, ("float16",)),
    )
    for store in stores
}
CASES |= {
    f"{name}-{layout}-packed": (mode, height, width, target, layout, "packed")
    # The packed store keeps a quality in patches, and a rank in channels.
    for layout, coarse, rough, fine in (
        ("patches", Target("quality", 4), Target("quality", 40), Target("quality", 90)),
        ("channels", Target("rank", 2), Target("rank", 3), Target("rank", 12)),
    )
    for name, mode, height, width, target in (
        *(
            (f"mode-{m.lower().replace(';', '')}", m, 23, 31, rough)
            for m in MODES
            if MODES[m].peak is not None
        ),
        ("1x1", "L", 1, 1, rough),
        ("1x19", "RGB", 1, 19, rough),
        ("19x1", "RGB", 19, 1, rough),
        ("tiny", "LA", 3, 2, rough),
        ("constant", "L", 12, 9, rough),
        ("black", "RGB", 6, 5, rough),
        ("fine", "RGB", 49, 50, fine),
        ("large", "RGB", 301, 419, coarse),
        ("cut", "RGB", 83, 70, fine),
        ("metadata", "RGB", 8, 8, rough),
    )
}
# Mode `array`: its type and its channels.
ARRAYS = {
    f"{dtype}-{channels}": (dtype, channels)
    for dtype, channels in (
        ("uint8", 5), ("uint16", 3), ("uint32", 1), ("int8", 2), ("int16", 1), ("int32", 4),
        ("float32", 3), ("float64", 1), ("uint8", 20),
    )
}  # fmt: skip
CASES |= {
    f"array-{array}-{layout}-{store}": (array, 13, 17, target, layout, store)
    for array, layout, store, target in (
        *((a, "channels", "float64", Target("rank", 13)) for a in ARRAYS if a != "uint8-20"),
        ("uint16-3", "channels", "float16", Target("rank", 3)),
        ("int16-1", "patches", "float32", Target("rank", 2)),
        *(
            (a, layout, "packed", Target("quality", 90))
            for a in ("uint8-5", "uint16-3", "int8-2", "int16-1", "float32-3", "uint8-20")
            for layout in ("patches", "channels")
        ),
    )
}
CASES |= {
    # Floats of one channel: their packed file says which range its levels are of.
    f"mode-f-{layout}-packed": ("F", 23, 31, Target("quality", 60), layout, "packed")
    for layout in ("patches", "channels")
}
CASES |= {
    # Payloads of several pieces, with a checksum for each.
    f"{name}-{layout}-packed": ("RGB", height, width, Target("quality", 98), layout, "packed")
    for layout, height, width in (("patches", 67, 75), ("channels", 43, 50))
    for name in ("pieces", "cut-pieces")
}
CASES |= {
    # Weighed for the eye: colours, opacity, 16 bits, one patch, cut short.
    f"{name}-patches-packed": (
        mode,
        height,
        width,
        Target("quality", q, "eye"),
        "patches",
        "packed",
    )
    for name, mode, height, width, q in (
        ("eye-rgb", "RGB", 67, 75, 70),
        ("eye-la", "LA", 35, 50, 40),
        ("eye-i16", "I;16", 33, 49, 90),
        ("eye-1x1", "RGBA", 1, 1, 60),
        ("cut-eye", "RGB", 83, 70, 85),
    )
}
CASES |= {
    f"{name}-patches-packed": (mode, height, width, target, "patches", "packed")
    for name, mode, height, width, target in (
        # Luma tells of chroma: inks, opacity, 16 bits, weighed, cut.
        ("tinted", "RGB", 97, 112, Target("quality", 60)),
        ("tinted-rgba", "RGBA", 67, 75, Target("quality", 40)),
        ("tinted-cmyk", "CMYK", 65, 83, Target("quality", 50)),
        ("tinted-i16", "uint16-3", 66, 82, Target("quality", 70)),
        ("tinted-eye", "RGB", 97, 112, Target("quality", 50, "eye")),
        ("cut-tinted", "RGB", 83, 90, Target("quality", 70)),
        # Differences are cut, rare values farther: colours, opacity, 16 bits, weighed, cut short.
        ("cutting", "RGB", 67, 75, Target("quality", 55)),
        ("cutting-fine", "LA", 50, 49, Target("quality", 88)),
        ("cutting-five", "uint8-5", 35, 50, Target("quality", 60)),
        ("cutting-i16", "uint16-3", 50, 49, Target("quality", 50)),
        ("cutting-eye", "RGB", 49, 66, Target("quality", 40, "eye")),
        ("cut-cutting", "RGB", 65, 70, Target("quality", 70)),
        # Magnitudes tell signs: colours, opacity, 16 bits, large values, weighed, cut short.
        ("hiding", "RGB", 83, 99, Target("quality", 60)),
        ("hiding-la", "LA", 50, 49, Target("quality", 80)),
        ("hiding-fine", "L", 35, 50, Target("quality", 100)),
        ("hiding-i16", "uint16-3", 50, 65, Target("quality", 75)),
        ("hiding-eye", "RGB", 65, 66, Target("quality", 50, "eye")),
        ("cut-hiding", "RGB", 70, 83, Target("quality", 75)),
        # Weights by squares of frequencies: colours, opacity, 16 bits, cut short.
        ("squared", "RGB", 67, 83, Target("quality", 55, "eye")),
        ("squared-la", "LA", 35, 50, Target("quality", 75, "eye")),
        ("squared-i16", "uint16-3", 50, 49, Target("quality", 60, "eye")),
        ("cut-squared", "RGB", 65, 70, Target("quality", 80, "eye")),
    )
}
CASES |= {
    # Stacks: of every mode, with labels, with checksums of pieces, cut short.
    f"{name}-{store}": (mode, height, width, Target("rank", k), "stack", store)
    for name, mode, height, width, k, stores in (
        *((f"stack-{m.lower().replace(';', '')}", m, 9, 11, 3, ("float16",)) for m in MODES),
        ("stack-int16", "int16-1", 9, 11, 3, ("float32",)),
        ("stack-uint16-3", "uint16-3", 9, 11, 3, ("float16",)),
        ("stack-float64", "float64-1", 9, 11, 7, ("float64",)),
        ("stack-tiny", "L", 3, 2, 2, ("float16", "float32", "float64")),
        ("stack-1x1", "L", 1, 1, 1, ("float16", "float32", "float64")),
        ("stack-1x9", "RGB", 1, 9, 2, ("float16", "float32", "float64")),
        ("stack-9x1", "I;16", 9, 1, 2, ("float16", "float32", "float64")),
        ("stack-labels", "L", 5, 6, 1, ("float16",)),
        ("stack-pieces", "I;16", 67, 75, 2, ("float16",)),
        ("cut-stack", "RGB", 19, 23, 4, ("float16",)),
    )
    for store in stores
}
CASES |= {
    # Packed stacks: transformed and apart, signed, in colours that are turned, cut short.
    f"{name}-packed": (mode, height, width, Target("quality", quality), "stack", "packed")
    for name, mode, height, width, quality in (
        *((f"stack-{m.lower().replace(';', '')}", m, 19, 23, 60) for m in ("L", "RGBA", "I;16")),
        ("stack-rgb", "RGB", 33, 40, 85),
        ("stack-int16", "int16-1", 37, 20, 95),
        ("stack-uint8-5", "uint8-5", 9, 11, 75),
        ("stack-f", "F", 9, 11, 75),
        ("stack-tiny", "L", 3, 2, 90),
        ("stack-1x1", "L", 1, 1, 90),
        ("cut-stack", "RGB", 40, 50, 90),
    )
}
CASES |= {
    # The same, once patches at the far edges are as large as they are: each number of samples.
    f"{name}-packed": (mode, height, width, Target("quality", quality), "stack", "packed")
    for name, mode, height, width, quality in (
        ("edges-9-23", "I;16", 9, 23, 96),
        ("edges-17-8", "int16-1", 17, 8, 99),
        ("edges-rgb", "RGB", 37, 45, 90),
        ("edges-apart", "uint8-5", 20, 33, 97),
        ("edges-1-50", "I;16", 1, 50, 100),
        ("cut-edges", "L", 44, 59, 97),
    )
}
CASES |= {
    # Stacks of a few materials, whose later planes are predicted by classes of pixels.
    f"{name}-packed": (mode, height, width, Target("quality", quality), "stack", "packed")
    for name, mode, height, width, quality in (
        ("classes", "I;16", 40, 52, 97),
        ("classes-rgb", "RGB", 33, 40, 92),
        ("cut-classes", "I;16", 45, 52, 98),
    )
}
CASES |= {
    # Stacks with nothing around what they show: their patches do not lap, and are not cosines.
    f"{name}-packed": (mode, height, width, Target("quality", quality), "stack", "packed")
    for name, mode, height, width, quality in (
        ("masked", "I;16", 45, 50, 99),
        ("masked-16", "RGB", 37, 50, 90),
        ("masked-4", "I;16", 48, 43, 80),
        ("masked-classes", "I;16", 45, 52, 98),
        ("cut-masked", "I;16", 40, 52, 99),
    )
}
CASES |= {
    # Stacks in tiles of four patches.
    f"{name}-packed": (mode, height, width, Target("quality", quality), "stack", "packed")
    for name, mode, height, width, quality in (
        ("tiles-l", "L", 20, 34, 50),
        ("tiles", "I;16", 40, 52, 90),
        ("tiles-rgb", "RGB", 39, 33, 85),
        ("tiles-f", "F", 20, 50, 90),
        ("cut-tiles", "I;16", 45, 52, 92),
    )
}
FRAMES = 7


def is_open(name: str) -> bool:
    """Whether the files of a case may still change."""
    return CASES[name][4:] in OPEN


def pixels(name: str, mode: str, height: int, width: int) -> Picture:
    """Draw the picture of a case: whole numbers from whole numbers, the same everywhere."""
    kind = array_mode(*ARRAYS[mode]) if mode in ARRAYS else MODES[mode]
    y, x, c = np.mgrid[0:height, 0:width, 0 : len(kind.channels)].astype(np.int64)
    A = (x * x * (3 + c) + 7 * y * (x + 5 * c) + 911 * ((x // 5 + y // 7) % 2)) % 4096
    if name.startswith("constant"):
        A = np.full_like(A, 2600)
    if name.startswith("black"):
        A = np.zeros_like(A)
    if name.startswith("stripes"):  # far from the cosines: its basis is turned
        A = ((5 * x + 3 * y) % 37 * 6 + x * y // 50 % 20) * 16
    if "tinted" in name:  # colours go with brightness, in each place in a way of their own
        A = A[..., :1] * (3 + (x // 40 + y // 48 + c) % 3) // 5
    if kind.limits is None:
        # No sample of an array is 0, next to which the last bits of a float32 product show.
        return Picture((A + (1000 if mode in ARRAYS else -2048)).astype(kind.dtype), kind)
    if mode in ARRAYS:  # over the whole range of the type
        low, high = kind.limits
        return Picture(
            (A * ((high - low + 1) // 4096 or 1) % (high - low) + low).astype(kind.dtype), kind
        )
    return Picture((A * (int(kind.peak) + 1) // 4096).astype(kind.dtype), kind)


def stacked(picture: Picture) -> Picture:
    """Frames of a picture that moves and fades, the same everywhere."""
    A = picture.samples
    eighths = [8 - i for i in range(FRAMES)]
    if A.dtype.kind == "f":
        frames = [np.roll(A, i, axis=1) * (x / 8) for i, x in enumerate(eighths)]
    else:
        frames = [np.roll(A, i, axis=1).astype(np.int64) * x // 8 for i, x in enumerate(eighths)]
    return Picture(np.stack(frames).astype(A.dtype), picture.mode)


def materials(height: int, width: int, channels: int, peak: int) -> np.ndarray:
    """14 frames of four materials, each with curves of its own, the same everywhere."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    kind = (x // 9 + 2 * (y // 11)) % 4
    shade = 60 + abs(x % 40 - 20) + abs(y % 30 - 15)
    frames = []
    for t in range(2 * FRAMES):
        for c in range(channels):
            first = (37 * kind * kind + 91 * t * (kind + 2) + 13 * t * t * (kind + 1) + 29 * c) % 97
            second = (53 * kind + 17 * t * t * (kind + 3) + 71 * t + 11 * c) % 89
            third = (7 * kind * kind + 59 * t * (kind + 5) + 31 * t * t) % 83
            A = first * shade + second * (shade * shade // 64) + third * abs(x % 26 - 13) * 4
            frames.append((A + (31 * x * x + 17 * y * y + 7 * t * x * y) % 23) * peak // 30000)
    return np.stack(frames).reshape(-1, channels, height, width).transpose(0, 2, 3, 1)


def masked(A: np.ndarray, name: str) -> np.ndarray:
    """Frames with nothing around what they show, or of blocks of 4 or 16 smooth samples."""
    frames, height, width, channels = A.shape
    t, y, x, c = np.mgrid[:frames, :height, :width, :channels]
    side = name.split("-")[1]
    if side not in ("4", "16"):
        return np.where((x // 7 + y // 5) % 3 > 0, A, 0).astype(A.dtype)
    n = int(side)
    level = (x // n * 37 + y // n * 91 + (t + c) * (x // n + 2 * (y // n)) * 11) % 50
    bend = (2 * (x % n) - n) ** 2 * ((y // n + t) % 3) - (2 * (y % n) - n) ** 2 * (x // n % 3)
    most = 255 if A.dtype == np.uint8 else 30000
    return np.clip((level + 20) * most // 100 + bend * most // (8 * n * n), 0, most).astype(A.dtype)


def content(name: str) -> bytes:
    """Return the bytes of a case."""
    mode, height, width, target, layout, store = CASES[name]
    picture = pixels(name, mode, height, width)
    if name.startswith("photo"):
        with Image.open(PHOTO) as photo:
            samples = np.asarray(photo.convert("RGB"))[100 : 100 + height, 300 : 300 + width]
        picture = Picture(np.ascontiguousarray(samples), picture.mode)
    if name.startswith("metadata"):
        metadata = Metadata(exif=b"MM\0*\0\0\0\x08\0\0", icc=b"a profile", xmp=b"<x:xmpmeta/>")
        picture = Picture(picture.samples, picture.mode, metadata)
    if "classes" in name:
        A = materials(height, width, picture.samples.shape[2], 255 if mode == "RGB" else 30000)
        picture = Picture(A.astype(picture.samples.dtype), picture.mode)
    elif layout == "stack":
        picture = stacked(picture)
    if "masked" in name:
        picture = Picture(masked(picture.samples, name), picture.mode)
    if "labels" in name:
        axis = Axis(tuple("abcdefg"), tuple(400.0 + 10 * i for i in range(FRAMES)), "nm").pack()
        picture = Picture(picture.samples, picture.mode, Metadata(axis=axis))
    whole = tiled.LARGEST
    if "tiles" in name:
        tiled.LARGEST = 4 * 256 * FRAMES * picture.samples.shape[-1]
    try:
        parts = codec.encode(picture, target, layout=layout, store=store).parts
    finally:
        tiled.LARGEST = whole
    data = lrk.serialize(parts)
    return data[: len(data) * 2 // 3] if name.startswith("cut") else data


def entry(data: bytes, *, partial: bool) -> dict[str, object]:
    """Return what the index says of a golden file."""
    parts = lrk.parse(data, name="golden", max_pixels=DEFAULT_MAX_PIXELS, partial=partial)
    picture = codec.decode(parts).picture
    samples = picture.samples
    return {
        "file_sha256": hashlib.sha256(data).hexdigest(),
        "sha256": hashlib.sha256(little_endian(samples)).hexdigest(),
        "mode": picture.mode.name,
        "shape": list(samples.shape),
        "partial": partial,
    }


def little_endian(samples: np.ndarray) -> bytes:
    """Return samples as bytes, the same on any machine."""
    return np.ascontiguousarray(samples, samples.dtype.newbyteorder("<")).tobytes()


def main() -> None:
    """Write the cases that have no file yet."""
    GOLDEN.mkdir(exist_ok=True)
    index = json.loads(INDEX.read_text()) if INDEX.exists() else {}
    settled = {name for name in CASES if not is_open(name)}
    for name in sorted(settled - {key.removesuffix(".lrk") for key in index}):
        data = content(name)
        path = GOLDEN / f"{name}.lrk"
        with path.open("xb") as stream:  # never over an existing file
            stream.write(data)
        index[path.name] = entry(data, partial=name.startswith("cut"))
        sys.stdout.write(f"added {path.name}, {len(data)} bytes\n")
    INDEX.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
