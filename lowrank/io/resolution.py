"""The resolution of an image, carried in its EXIF block.

PNG, JPEG and BMP keep it in fields of their own. Its tags in EXIF are the same in every
format: they join the block that is there, whose other bytes stay in their places, or make a
small one.
"""

from __future__ import annotations

import reprlib
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from PIL import Image

from lowrank.errors import UsageError

_X, _Y, _UNIT = 282, 283, 296
NONE, _INCH, _CENTIMETRE = 1, 2, 3
_RATIONAL, _SHORT = 5, 3
_SAME = 1e-3  # fields of whole dots a metre or an inch agree to this
_METRE = Fraction(254, 10000)  # dots an inch of one dot a metre
_MOST = 2**32 - 1


@dataclass(frozen=True)
class Resolution:
    """Dots along x and y a unit: 1 none (their ratio alone counts), 2 an inch, 3 a centimetre."""

    x: Fraction
    y: Fraction
    unit: int = _INCH

    @property
    def dpi(self) -> tuple[float, float]:
        """Dots an inch."""
        scale = 2.54 if self.unit == _CENTIMETRE else 1.0
        return float(self.x) * scale, float(self.y) * scale


def of_image(image: Image.Image) -> Resolution | None:
    """What the fields of an opened image say, those of its EXIF data apart."""
    info = image.info
    if image.format in ("JPEG", "MPO"):
        # Pillow's own `dpi` may be that of the EXIF data, or 72 where nothing says anything.
        x, y = info.get("jfif_density", (0, 0))
        unit = {1: _INCH, 2: _CENTIMETRE}.get(info.get("jfif_unit", 0))
        return Resolution(Fraction(x), Fraction(y), unit) if unit and min(x, y) > 1 else None
    if image.format == "TIFF":  # its EXIF data are its tags
        return None
    if "aspect" in info:
        x, y = info["aspect"]
        return Resolution(Fraction(x), Fraction(y), NONE) if 0 < x != y > 0 else None
    pair = info.get("dpi")
    if not isinstance(pair, tuple) or len(pair) != 2 or not all(0.1 < v < 1e6 for v in pair):
        return None
    if image.format == "BMP":  # Pillow divides by 39.3701
        pair = tuple(v * 39.3701 * 0.0254 for v in pair)
    return Resolution(_tidy(pair[0]), _tidy(pair[1]))


def of_dpi(pair: Any) -> Resolution:
    """Dots an inch as Pillow's savers take them, along x and y.

    Raises
    ------
    UsageError
        They are no two numbers.
    """
    try:
        x, y = (float(v) for v in pair)
    except (TypeError, ValueError) as error:
        raise UsageError(f"dpi {reprlib.repr(pair)} does not do; give (300, 300)") from error
    if not all(0.1 < v < 1e6 for v in (x, y)):  # refuses NaN too
        raise UsageError(f"dpi {x:g}, {y:g} is out of range; give numbers such as (300, 300)")
    return Resolution(_tidy(x), _tidy(y))


def _tidy(dpi: float) -> Fraction:
    """The dots an inch that are meant by a field of whole dots a metre, or nearly."""
    metre, inch = round(dpi / 0.0254), round(dpi)
    if abs(metre * 0.0254 - dpi) > 1e-6 * dpi:  # it was no such field
        # A float: Pillow has fractions that are not in their lowest terms.
        return Fraction(float(dpi)).limit_denominator(1000)
    return Fraction(inch) if round(inch / 0.0254) == metre else metre * _METRE


def put(block: bytes | None, resolution: Resolution, notes: list[str]) -> bytes | None:
    """Give an EXIF block that states a resolution.

    A block that states another gets this one, with a note; one that is no TIFF structure is
    given back as it is, with a note.
    """
    if block is None:
        return _with(b"II*\0" + bytes(4), "<", [], 0, resolution)
    found = _directory(block)
    if found is None:
        notes.append("Left out: the resolution, for the EXIF data that carry it are damaged.")
        return block
    stated = of_exif(block)
    if stated is not None:
        pairs = zip(stated.dpi, resolution.dpi, strict=True)
        alike = all(abs(a - b) <= _SAME * b for a, b in pairs)
        if alike and (stated.unit == NONE) == (resolution.unit == NONE):
            return block
        if resolution.unit == NONE:
            return block  # the ratio of pixels' sides says less than what is there
        notes.append(
            f"The resolution of the EXIF data ({stated.dpi[0]:.4g} dpi) gave way to that of "
            f"the file ({resolution.dpi[0]:.4g} dpi)."
        )
    return _with(block, *found, resolution)


def of_exif(block: bytes | None) -> Resolution | None:
    """The resolution that an EXIF block states."""
    found = _directory(block) if block else None
    if found is None or block is None:
        return None
    order, entries, _ = found
    values: dict[int, Any] = {}
    for entry in entries:
        tag, kind, count = struct.unpack_from(f"{order}HHI", entry)
        if count == 1 and kind == _RATIONAL and tag in (_X, _Y):
            (at,) = struct.unpack_from(f"{order}I", entry, 8)
            if at + 8 <= len(block):
                over, under = struct.unpack_from(f"{order}II", block, at)
                values[tag] = Fraction(over, under) if under else Fraction(0)
        elif count == 1 and kind == _SHORT and tag == _UNIT:
            (values[tag],) = struct.unpack_from(f"{order}H", entry, 8)
    unit = values.get(_UNIT, _INCH)
    if not (values.get(_X) and values.get(_Y) and NONE <= unit <= _CENTIMETRE):
        return None
    return Resolution(values[_X], values[_Y], unit)


def is_all(block: bytes) -> bool:
    """Whether an EXIF block states a resolution, and nothing else."""
    resolution = of_exif(block)
    return resolution is not None and block == put(None, resolution, [])


def has_thumbnail(block: bytes) -> bool:
    """Whether a second directory follows the first, as that of a small copy does."""
    found = _directory(block)
    return found is not None and found[2] != 0


def held_by(format: str, block: bytes | None) -> Resolution | None:
    """The resolution of an EXIF block, where a format has fields of its own for it."""
    resolution = of_exif(block)
    if resolution is None or format not in ("PNG", "JPEG", "BMP"):
        return None
    fits = resolution.unit != NONE and max(resolution.dpi) <= 65535
    return resolution if fits else None


def save_options(format: str, block: bytes | None) -> dict[str, Any]:
    """Pillow's options of `save` that write the resolution of an EXIF block."""
    resolution = held_by(format, block)
    if resolution is None:
        return {"dpi": (0, 0)} if format == "BMP" else {}  # for else Pillow writes 96
    if format == "PNG":
        # Through whole dots a metre, so that Pillow's rounding meets no half.
        return {"dpi": tuple(round(v / 0.0254) * 0.0254 for v in resolution.dpi)}
    return {"dpi": resolution.dpi}


def _directory(block: bytes) -> tuple[str, list[bytes], int] | None:
    """Byte order, entries and successor of the first directory; None where there is none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return None
    (at,) = struct.unpack_from(f"{order}I", block, 4)
    if at + 2 > len(block):
        return None
    (count,) = struct.unpack_from(f"{order}H", block, at)
    end = at + 2 + 12 * count
    if end > len(block):
        return None
    entries = [block[i : i + 12] for i in range(at + 2, end, 12)]
    # Some writers leave the successor out at the very end.
    following = struct.unpack_from(f"{order}I", block, end)[0] if end + 4 <= len(block) else 0
    return order, entries, following


def _with(
    block: bytes, order: str, entries: list[bytes], following: int, resolution: Resolution
) -> bytes:
    """A block whose first directory, moved to its end, states a resolution.

    What it points to stays where it is, so no offset changes its meaning.
    """
    if len(block) > 8:
        block += bytes(len(block) % 2)
    kept = [e for e in entries if struct.unpack_from(f"{order}H", e)[0] not in (_X, _Y, _UNIT)]
    at = len(block)
    values_at = at + 2 + 12 * (len(kept) + 3) + 4
    made = [
        struct.pack(f"{order}HHII", _X, _RATIONAL, 1, values_at),
        struct.pack(f"{order}HHII", _Y, _RATIONAL, 1, values_at + 8),
        struct.pack(f"{order}HHIHH", _UNIT, _SHORT, 1, resolution.unit, 0),
    ]
    ordered = sorted(kept + made, key=lambda entry: struct.unpack_from(f"{order}H", entry)[0])
    directory = struct.pack(f"{order}H", len(ordered)) + b"".join(ordered)
    values = b"".join(_rational(v, order) for v in (resolution.x, resolution.y))
    head = block[:4] + struct.pack(f"{order}I", at) + block[8:]
    return head + directory + struct.pack(f"{order}I", following) + values


def _rational(value: Fraction, order: str) -> bytes:
    if max(value.numerator, value.denominator) > _MOST:
        value = value.limit_denominator(1000)
    return struct.pack(f"{order}II", min(value.numerator, _MOST), value.denominator)
