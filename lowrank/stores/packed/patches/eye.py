"""What the eye sees less: weights of frequencies, and gains of patches that are busy.

Of fine detail, and in a patch that is full of detail, the eye misses more: a file that is made for
it has a coarser step for the one, and a finer one where a patch has less of it than most. The
component of frequency F = |(u, v)| is coded times 1/sqrt(1 + p (F/16)^2), with a number p of the
file, but times 1/sqrt(1 + p F/16) in all channels beside the first, luma, and in files of before
version 4. Those of a patch, but for its mean, are coded times 2^(-g/2), with its gain g. All that
is taken back in synthesis. V stays orthonormal, and the rank what it was: scaling the rows and the
components of a product does not change it.

The gains g are a small map, coded as a first component is (means.py), before all others.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIDE, SIZE, Floats
from lowrank.stores.packed.coding import wavelet
from lowrank.stores.packed.patches import means
from lowrank.stores.packed.patches.phases import Reader, Writer

Gains = NDArray[np.int64]
UNIT = 2
"""Gains to an octave."""
MOST = 8
"""Largest gain, of either sign."""
POWER = 20
"""The number p of what is encoded, and octaves of gain to an octave of detail: fitted by
SSIMULACRA2 and Butteraugli on photographs."""
STRENGTH = 0.3
_FLOOR = 1.0
"""Levels that detail of none at all counts as."""


@cache
def spread(power: int, *, squared: bool) -> NDArray[np.float64]:
    """(SIZE,) by how much each component is divided: square roots, the same on every machine."""
    v, u = np.divmod(np.arange(SIZE), SIDE)
    square = (v * v + u * u) / SIZE
    found: NDArray[np.float64] = np.sqrt(1 + power * (square if squared else np.sqrt(square)))
    return found


def factors(gains: Gains) -> NDArray[np.float64]:
    """2^(g/2) of each gain, by a square root and powers of two alone."""
    whole, part = np.divmod(gains, UNIT)
    found: NDArray[np.float64] = np.ldexp(np.where(part, np.sqrt(2.0), 1.0), whole)
    return found


def busy(C: Floats) -> NDArray[np.float64]:
    """Gain that each patch is to have, from the (SIZE, rows, columns) coefficients of luma.

    None is coarser than those of the middle: Butteraugli sees that.
    """
    some = C[1:].astype(np.float64)
    size = np.log2(np.sqrt((some * some).mean(0)) + _FLOOR)
    wanted: NDArray[np.float64] = UNIT * STRENGTH * np.minimum(size - np.median(size), 0)
    return wanted


def forward(wanted: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    """The coarsest map of gains, and their bands to be quantised."""
    low, bands = wavelet.forward(wanted.astype(np.float32))
    return np.rint(low).astype(np.int64), bands


def code(
    shape: tuple[int, int],
    coder: Reader | Writer,
    coarsest: NDArray[np.int64],
    kind: np.dtype[Any],
    target: list[dict[str, Any]] | None = None,
) -> Gains:
    """Code the gains; the same walk on both sides. `kind` is the float of the picture."""
    bands = means.code(shape, coder, None, target)
    levels: list[dict[str, Any]] = [
        {k: v.astype(kind) for k, v in level.items()} for level in bands
    ]
    found = wavelet.inverse(coarsest.astype(kind), levels)
    gains: Gains = np.clip(np.rint(found), -MOST, MOST).astype(np.int64)
    return gains
