"""An image in Pillow's memory <-> samples in one of `picture.MODES`.

The table of what each of Pillow's modes becomes:

=============================  ==========================================================
1, L, LA, RGB, RGBA, CMYK, F   themselves; with a transparent colour key: LA or RGBA
I;16, I;16L, I;16B, I;16N      I;16
I                              I;16 where the values fit, else F where that is exact;
                               signed and wider integers of a file too
P, PA                          RGB, or RGBA where anything is transparent
RGBX                           RGB: the fourth byte is padding
La, RGBa                       LA, RGBA: alpha divided out, with a note (it rounds)
YCbCr, HSV                     RGB, with a note (it rounds)
LAB                            refused: Pillow converts it only through a colour profile
=============================  ==========================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowrank.errors import ImageError
from lowrank.io.metadata import EXIF_PREFIX
from lowrank.picture import ARRAY, MODES, Mode, Picture, array_mode

if TYPE_CHECKING:
    from lowrank.io.tiff import Reader

Samples = NDArray[np.generic]

_CLEAR, _OPAQUE = np.uint8(0), np.uint8(255)

_BYTES = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
_BAND = 1 << 15  # pixels at a time: less than what malloc takes from the system afresh

_ROUNDED = {"YCbCr": "RGB", "HSV": "RGB", "La": "LA", "RGBa": "RGBA"}


def stored_as(mode: str) -> str:
    """The note on a palette."""
    return f"The palette is stored as {mode} samples."


def from_image(
    image: Image.Image, raw: str, notes: list[str], reader: Reader | None = None
) -> tuple[Samples, Mode]:
    """Take the samples of a loaded image.

    Parameters
    ----------
    image : Image
        Loaded; it is not changed.
    raw : str
        Pillow's name for the samples in the file, such as `L;4` (empty: as the mode).
    notes : list of str
        Receives a sentence for each thing that is lost.
    reader : Reader, optional
        What takes the samples where Pillow's mode is not what they are.

    Returns
    -------
    samples : (height, width, channels) ndarray, C-contiguous, in the mode's dtype
    mode : Mode

    Raises
    ------
    ImageError
        In a mode that cannot be kept. The message names no file.
    """
    name = image.mode
    key = image.info.get("transparency")
    if reader is not None:
        samples, name = reader(image)
        return _shaped(*(_narrowed(samples, notes) if name == "I" else (samples, name)))
    if name in ("P", "PA"):
        target = "RGBA" if image.has_transparency_data else "RGB"
        notes.append(stored_as(target))
        image, name, key = image.convert(target), target, None
    elif name in _ROUNDED:
        target = _ROUNDED[name]
        notes.append(f"{name} was converted to {target}, which rounds.")
        image, name = image.convert(target), target
    elif name == "RGBX":
        image, name = image.convert("RGB"), "RGB"
    samples = _copied(image)
    if name == "I":
        samples, name = _narrowed(samples, notes)
    elif name.startswith("I;16"):
        name = "I;16"
    elif raw == "LA;16B":  # Pillow reads 16-bit grey with alpha as RGBA
        samples, name = samples[:, :, (0, 3)], "LA"
    elif name not in MODES:
        raise ImageError(f"mode {name} cannot be kept; convert the image to RGB first")
    if key is not None:
        samples, name = _keyed(samples, name, key, raw, notes)
    return _shaped(samples, name)


def _shaped(samples: Samples, name: str) -> tuple[Samples, Mode]:
    if samples.ndim == 2:
        samples = samples[:, :, np.newaxis]
    mode = array_mode(samples.dtype.name, samples.shape[2]) if name == ARRAY else MODES[name]
    return np.ascontiguousarray(samples, dtype=mode.dtype), mode


def to_image(picture: Picture) -> Image.Image:
    """Give the picture as an image of Pillow in its mode, with its metadata in `info`."""
    name = picture.mode.name
    image = Image.frombytes(name, (picture.width, picture.height), raw(picture), "raw", name)
    metadata = picture.metadata
    if metadata.exif is not None:
        image.info["exif"] = EXIF_PREFIX + metadata.exif
    if metadata.icc is not None:
        image.info["icc_profile"] = metadata.icc
    if metadata.xmp is not None:
        image.info["xmp"] = metadata.xmp
    return image


def raw(picture: Picture) -> bytes:
    """Give the samples as Pillow's raw decoder of the same mode takes them."""
    samples = picture.samples
    if picture.mode.name == "1":
        samples = np.packbits(samples[:, :, 0] != 0, axis=1)
    elif picture.mode.name == "I;16":
        samples = samples.astype("<u2")  # the mode's byte order on every machine
    return samples.tobytes()


def _copied(image: Image.Image) -> Samples:
    """The samples of an image, some rows at a time.

    Pillow gives an array by way of two copies as large; small ones stay in a cache, and take
    no fresh pages of memory.
    """
    width, height = image.size
    rows = max(_BAND // width, 1)
    if image.mode not in _BYTES or rows >= height:
        return np.asarray(image)
    first = np.asarray(image.crop((0, 0, width, rows)))
    samples = np.empty((height, *first.shape[1:]), first.dtype)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        samples[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return samples


def _narrowed(samples: Samples, notes: list[str]) -> tuple[Samples, str]:
    """Integers as grey of 8 or 16 bits, or as floats, whichever holds them exactly."""
    low, high = int(np.min(samples)), int(np.max(samples))
    if low >= 0 and samples.dtype.itemsize == 1:
        return samples.astype(np.uint8), "L"
    if low >= 0 and high < 2**16:
        return samples.astype(np.uint16), "I;16"
    floats = samples.astype(np.float32)
    if np.array_equal(floats.astype(np.float64), samples):
        notes.append("Integers outside 0-65535 are stored as floats, exactly.")
        return floats, "F"
    raise ImageError(
        f"32-bit integers from {low} to {high} fit neither 16 bits nor a float exactly; "
        "scale them first"
    )


def _keyed(
    samples: Samples, name: str, key: object, raw: str, notes: list[str]
) -> tuple[Samples, str]:
    """Turn a transparent colour into an alpha channel.

    The key counts in the file's bits, but Pillow widens samples of 2 and 4 bits to 8 and
    keeps the upper 8 of 16.
    """
    if isinstance(key, int) and name in ("1", "L"):
        if name == "1":
            samples, level = np.where(samples, _OPAQUE, _CLEAR), 255 * bool(key)
        else:
            level = key * {"L;2": 85, "L;4": 17}.get(raw[:3], 1)
        alpha = np.where(samples == level, _CLEAR, _OPAQUE)
        notes.append("The transparent grey level became an alpha channel.")
        return np.stack((samples, alpha), axis=2), "LA"
    if isinstance(key, tuple) and len(key) == 3 and name == "RGB":
        colour = np.asarray(key, dtype=np.int64)
        if ";16" in raw:
            colour >>= 8
            notes.append("The transparent colour was matched by its upper 8 bits only.")
        alpha = np.where(np.all(samples == colour, axis=2), _CLEAR, _OPAQUE)
        notes.append("The transparent colour became an alpha channel.")
        return np.dstack((samples, alpha)), "RGBA"
    if isinstance(key, int) and name in ("I;16", "F") and bool(np.any(samples == key)):
        notes.append(f"The transparent level {key} is opaque now: mode {name} has no alpha.")
    return samples, name


def check_finite(samples: Samples, mode: Mode) -> None:
    """Refuse what no decomposition can take."""
    if mode.limits is None and not np.isfinite(samples).all():
        raise ImageError(
            "it holds NaN or infinite samples; replace them first, or give them as --nodata"
        )
