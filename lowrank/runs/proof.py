"""An output read back and decoded before it takes its name."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass, field

from lowrank import codec
from lowrank import format as lrk
from lowrank.errors import FormatError
from lowrank.format.parts import Parts
from lowrank.picture import Picture
from lowrank.picture.distance import Pixels, compare, relative
from lowrank.report import compared, measure
from lowrank.runs.manifest import Entry


@dataclass(eq=False)
class Proof:
    """What is known of an output, once it was read back.

    Attributes
    ----------
    input, output : str
        Where it comes from, and the name that it will have.
    source : bytes
        What it is made from, as a file.
    picture : Picture or None
        The same as a picture; None of a `.lrk` file that is shortened.
    max_pixels : int
    began : float or None
        When the work began, of `time.monotonic`; None for an output that was there before.
    listed : bool
        A manifest lists it.
    """

    input: str
    output: str
    source: bytes
    picture: Picture | None
    max_pixels: int
    began: float | None
    listed: bool
    _ranks: tuple[int, ...] = field(default=(), init=False)
    _facts: tuple[int, str] = field(default=(0, ""), init=False)
    _pixels: Pixels | None = field(default=None, init=False)

    def examine(self, data: bytes) -> None:
        """Take what was read back: check every checksum, decode it, measure it.

        Raises
        ------
        FormatError
            It does not decode, or to a picture that is farther from the one that it was made
            from than it states.
        """
        parts = lrk.parse(data, name=self.output, max_pixels=self.max_pixels)
        decoded = codec.decode(parts).picture
        self._ranks, self._facts = parts.ranks, (len(data), sha256(data))
        if self.picture is None:
            return
        self._pixels = compare(self.picture, decoded)
        kept = measure.as_kept(self.picture, parts)
        rmse = self._pixels.rmse if kept is self.picture else compare(kept, decoded).rmse
        check_near(parts, rmse, self.picture.samples.size, output=self.output, source=self.input)

    def entry(self) -> Entry:
        """What a manifest lists, once it was examined."""
        pixels, measured = self._pixels, None
        if pixels is not None and self.picture is not None:
            measured = relative(self.picture, pixels.rmse)
        return Entry(
            self.input,
            self.output,
            len(self.source),
            self._facts[0],
            sha256(self.source),
            self._facts[1],
            self._ranks,
            measured,
            None if pixels is None else pixels.psnr_db,
            None if pixels is None else pixels.max_abs_error,
            None if self.began is None else round(time.monotonic() - self.began, 3),
        )


def check_near(parts: Parts, rmse: float, samples: int, *, output: str, source: str) -> None:
    """Refuse a picture of so many samples that is farther from its source than the file states."""
    # Of integers a, |rint(b) - a| <= 2 |b - a|: half a level is lost to rounding at most,
    # and nothing where b is nearer than that.
    if rmse * math.sqrt(samples) > 2 * math.hypot(*compared.allowed(parts)):
        raise FormatError(
            f"{output} decodes to another picture than {source}; "
            "if it was made from that, please report it with the command"
        )


def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
