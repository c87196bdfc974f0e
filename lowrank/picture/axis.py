"""What the frames of a stack are: a label or a number for each, such as a wavelength or a time.

They travel as one block beside the metadata, a JSON object in UTF-8::

    {"labels": ["a.png", ...], "values": [410.5, ...], "unit": "nm"}

Any of the three may be missing; the lists have an entry for each frame.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 1 << 20
MOST = 1e300
"""The largest value that a frame may have."""


@dataclass(frozen=True)
class Axis:
    """Labels (texts), values (finite numbers) and their unit; nothing where they are unknown."""

    labels: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    unit: str = ""

    def pack(self) -> bytes | None:
        """Return the block; None where there is nothing to say.

        Raises
        ------
        ValueError
            It would be larger than `MAX_BYTES`.
        """
        fields: dict[str, Any] = {}
        if self.labels:
            fields["labels"] = list(self.labels)
        if self.values:
            fields["values"] = list(self.values)
        if self.unit:
            fields["unit"] = self.unit
        block = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
        if len(block) > MAX_BYTES:
            raise ValueError(f"labels of {len(block):,} bytes, more than {MAX_BYTES:,}")
        return block if fields else None

    def some(self, frames: Sequence[int]) -> Axis:
        """Of some frames."""
        return Axis(
            tuple(self.labels[i] for i in frames) if self.labels else (),
            tuple(self.values[i] for i in frames) if self.values else (),
            self.unit,
        )

    def name(self, frame: int) -> str:
        """What a frame is called: its label, else its value and unit, else nothing."""
        if self.labels:
            return self.labels[frame]
        return f"{self.values[frame]:g} {self.unit}".rstrip() if self.values else ""


def unpack(block: bytes | None, frames: int) -> Axis:
    """Read a block.

    Raises
    ------
    ValueError
        It is none of so many frames.
    """
    if block is None:
        return Axis()
    if len(block) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    try:
        fields = json.loads(block.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError("no JSON in UTF-8") from error
    if not isinstance(fields, dict):
        raise ValueError("no JSON object")
    labels, values, unit = (fields.get(key, kind()) for key, kind in _KINDS)
    if not (isinstance(labels, list) and all(isinstance(x, str) for x in labels)):
        raise ValueError("labels that are no texts")
    if not (isinstance(values, list) and all(map(_is_number, values))):
        raise ValueError("values that are no numbers")
    if not isinstance(unit, str):
        raise ValueError("a unit that is no text")
    if len(labels) not in (0, frames) or len(values) not in (0, frames):
        raise ValueError("of another number of frames")
    return Axis(tuple(labels), tuple(map(float, values)), unit)


_KINDS: tuple[tuple[str, type], ...] = (("labels", list), ("values", list), ("unit", str))


def _is_number(x: object) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= MOST


def _refuse(constant: str) -> float:
    raise ValueError(constant)
