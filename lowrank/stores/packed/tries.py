"""Encodings of one picture with one quantiser step after another, and what they come to.

What decoding would give, and the norms that a file states, come from the encoder's own walk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank import pace
from lowrank.format.parts import Head, Packed, PackedMatrix, Parts
from lowrank.picture import Picture
from lowrank.stores.packed.coding.payload import Coded, Norms

if TYPE_CHECKING:
    from typing import Protocol

    from lowrank.picture.distance import OfFrame, Pixels
    from lowrank.picture.levels import Levels

    class Forecast(Protocol):
        """What a step will lose and cost, but for a part that changes slowly."""

        def squared_error(self, step: float) -> float:
            """Of a sample, in squared levels."""

        def log_bits(self, step: float) -> float:
            """Logarithm of the bits of a sample."""

    class Rehearsal(Forecast, Protocol):
        """The same, and what a step will lose as a part of a picture tells that it quantises."""

        def rehearsed(self, step: float) -> float:
            """Mean squared error of a sample, in squared levels."""

        def aim(self, error: float | None) -> None:
            """Say which error is wanted, where encodings can come near to it."""

        @property
        def steered(self) -> bool:
            """Whether the last one did something about it."""


_ROUNDING = 1 / 12
"""Mean squared error of rounding to levels."""
_FINE = 0.41
"""Mean squared error, in levels, below which rounding has much part in it: 52 dB of 0-255."""
_EXACT = 1e3
"""What stands for the PSNR in dB of what is exact."""


def rounded(error: float) -> float:
    """Mean squared error of whole numbers, of normal errors that rounding follows.

    The sum of j^2 P(|e - j| < 1/2). Errors far below 1 are rounded away, all but the rarest;
    large ones grow by 1/12.
    """
    if error > 1:
        return error + _ROUNDING
    error = max(error, 1e-12)
    width = math.sqrt(2 * error)
    some = sum((2 * j + 1) * math.erfc((j + 0.5) / width) for j in range(8))
    return max(some, 1e-6 * error)  # which falls on, for whoever searches


def unrounded(error: float) -> float:
    """Mean square of the errors that come to so much when they are rounded."""
    if error > rounded(1.0):
        return error - _ROUNDING
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if rounded(middle) < error else (low, middle)
    return high


@dataclass(frozen=True, eq=False)
class Ready:
    """What encodes a picture with a step in levels, and what helps a search for the step.

    Attributes
    ----------
    encode : callable
    spectra : list of (r,) ndarray
        All singular values of each matrix, where a rank is asked for.
    forecast : Forecast or None
    rehearsal : Rehearsal or None
        Of a stack, where a forecast is wanted.
    peak : float or None
        Peak of a PSNR, where it takes more than the picture to know.
    notes : tuple of str
        What somebody should know of the encoding.
    """

    encode: Callable[[float], Coded]
    spectra: list[NDArray[np.float64]] = field(default_factory=list)
    forecast: Forecast | None = None
    rehearsal: Rehearsal | None = None
    peak: float | None = None
    notes: tuple[str, ...] = ()


class Tries:
    """Encodings of one picture with one step after another, the latest of them at hand.

    Parameters
    ----------
    picture : Picture
    layout : str
    levels : Levels or None
        The range that its samples are counted in.
    ready : Ready
    """

    def __init__(self, picture: Picture, layout: str, levels: Levels | None, ready: Ready) -> None:
        self.picture, self.levels = picture, levels
        # Floats lie between levels, as well as not.
        self._whole = levels is None or levels.whole
        self.forecast = ready.rehearsal or ready.forecast
        self.rehearsal = ready.rehearsal
        self._layout, self._peak, self._encode = layout, ready.peak, ready.encode
        # Of data whose peak is their range: that range, in levels.
        deep = levels.span if levels is not None else self.peak
        self.unit = (picture.mode.peak or deep) / 255
        """Levels of the data for one of 0-255, the range that steps are said of."""
        self._latest: tuple[float, Coded] | None = None
        self._count = 0
        self._means: dict[float, float] = {}
        self.beyond = 0.0
        """Mean squared error of samples beyond what that of coefficients comes to, as measured."""

    @cached_property
    def peak(self) -> float:
        """Peak of a PSNR."""
        return self.picture.peak if self._peak is None else self._peak

    def at(self, step: float) -> Coded:
        """The picture encoded with a step in levels of 0-255."""
        if self._latest is None or self._latest[0] != step:
            self._latest = None  # before the next one, which takes as much memory
            self._count += 1
            pace.begin(f"try {self._count}" if self._count > 1 else "")
            self._latest = step, self._encode(step * self.unit)
        return self.latest

    @property
    def latest(self) -> Coded:
        """The encoding that is at hand."""
        if self._latest is None:
            raise ValueError("nothing was encoded")
        return self._latest[1]

    def size(self, step: float) -> int:
        """Bytes of the file, give or take one or two, see `Coded.length`."""
        coded = self.at(step)
        norms = (Norms(0.0, 0.0, 0.0, 0.0),) * len(coded.ranks)
        return lrk.file_size(self._parts(coded.ranks, norms, bytes(coded.length())))

    def off(self, step: float) -> list[OfFrame]:
        """How far each decoded frame is off."""
        from lowrank.picture import distance

        coded, picture, levels = self.at(step), self.picture, self.levels
        if coded.off is not None:
            return coded.off()
        frames = picture.each(coded.samples())
        if levels is not None:  # as floats they take twice the memory
            frames = (levels.to_samples(x, picture.mode) for x in frames)
        return distance.frames(picture, frames)

    def pixels(self, step: float) -> Pixels:
        """How far the decoded picture is off."""
        from lowrank.picture.distance import total

        return total(self.off(step), self.peak)

    def worst(self, step: float) -> float:
        """PSNR of the worst frame of the decoded stack, in dB; 1000 where all are exact."""
        mse = max((x.squares / x.samples for x in self.off(step) if x.samples), default=0.0)
        return 10 * math.log10(self.peak**2 / mse) if mse else _EXACT

    def psnr(self, step: float) -> float:
        """PSNR of the decoded picture, in dB; 1000 where it is exact."""
        value = self.pixels(step).psnr_db
        return _EXACT if value is None else value

    def told_psnr(self, step: float) -> float:
        """PSNR in dB as the coefficients tell it: sooner than by decoding, and nearly right."""
        return self._psnr_of(max(self._decoded(self._mean(step)) + self.beyond, 1e-9))

    def exact_psnr(self, step: float) -> float:
        """PSNR in dB, by decoding; what that has beyond coefficients is known from then on."""
        exact = self.psnr(step)
        self.beyond = self._square_of(exact) - self._decoded(self._mean(step))
        return exact

    def _mean(self, step: float) -> float:
        """Mean squared error of the coefficients, which is looked at more than once."""
        if step not in self._means:
            self._means[step] = self.at(step).squared_error() / self.picture.samples.size
        return self._means[step]

    def expected_psnr(self, step: float) -> float:
        """PSNR in dB that the forecast expects of a step."""
        if self.forecast is None:
            raise TypeError("there is no forecast")
        return self._psnr_of(self._decoded(self.forecast.squared_error(step * self.unit)))

    def rehearsed_psnr(self, step: float) -> float:
        """PSNR in dB that a part of the picture lets expect, quantised with a step."""
        if self.rehearsal is None:
            raise TypeError("there is no rehearsal")
        return self._psnr_of(self._decoded(self.rehearsal.rehearsed(step * self.unit)))

    def aim(self, psnr: float | None) -> None:
        """Say which PSNR in dB is wanted, or none: encodings to come may be the nearer to it."""
        if self.rehearsal is not None:
            self.rehearsal.aim(None if psnr is None else self._encoded(self._square_of(psnr)))

    @property
    def steered(self) -> bool:
        """Whether the last encoding did something about the PSNR that is wanted."""
        return self.rehearsal is not None and self.rehearsal.steered

    def is_fine(self, psnr: float) -> bool:
        """Whether rounding to levels, of which there are more than two, has much part in a PSNR."""
        some = self._whole and self.picture.mode.bits > 1
        return some and self._square_of(psnr) < _FINE

    def unrounded_psnr(self, psnr: float) -> float:
        """PSNR in dB of the coefficients of samples that have so much, as near as can be told."""
        return math.inf if psnr == _EXACT else self._psnr_of(self._encoded(self._square_of(psnr)))

    def _decoded(self, error: float) -> float:
        """Mean squared error of samples, of that of coefficients, in squared levels."""
        return rounded(error) if self._whole else error + _ROUNDING

    def _encoded(self, error: float) -> float:
        """The reverse, as far as it is known what else adds to it."""
        error -= self.beyond
        return unrounded(error) if self._whole else error - _ROUNDING

    @property
    def _peak_levels(self) -> float:
        """Peak of a PSNR, in levels."""
        return self.peak / (1.0 if self.levels is None else self.levels.unit)

    def _square_of(self, psnr: float) -> float:
        """Mean squared error in levels of a PSNR in dB."""
        return self._peak_levels**2 / 10 ** (psnr / 10)

    def _psnr_of(self, error: float) -> float:
        """PSNR in dB of a mean squared error in levels."""
        return 10 * math.log10(self._peak_levels**2 / error)

    def expected_size(self, step: float) -> float:
        """Logarithm of the bytes that the forecast expects of a step."""
        if self.forecast is None:
            raise TypeError("there is no forecast")
        bits = self.forecast.log_bits(step * self.unit)
        return bits + math.log(self.picture.samples.size / 8)

    def parts(self, step: float) -> Parts:
        """The file, its norms stated."""
        coded = self.at(step)
        return self._parts(coded.ranks, coded.norms(), coded.payload())

    def _parts(self, ranks: tuple[int, ...], norms: tuple[Norms, ...], payload: bytes) -> Parts:
        head = Head.of(self.picture, self._layout, "packed")
        stated = tuple(
            PackedMatrix(min(k, *head.shape), x.norm, x.sigma_next, x.tail, x.error)
            for k, x in zip(ranks, norms, strict=True)
        )
        return Parts(head, Packed(stated, payload, self.levels))
