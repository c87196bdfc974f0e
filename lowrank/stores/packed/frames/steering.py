"""What a bit is worth from map to map, so that the squared error of all comes to a wanted sum.

Where maps are predicted from those before as these were decoded, no part of them tells beforehand
what is lost. Those that are done tell it of those to come, in time for a little more or less to be
lost there: a bit that is worth a tenth more or less costs next to nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NEAR = 0.008  # share of the whole error by which it may be off
_DOUBT = 0.04, 0.01  # share of what is expected of the maps to come by which that may be
_KNOWN = 0.1
_POWER = 0.4  # of the worth of a bit, by which the error grows
_LEAST, _MOST = 0.75, 4 / 3


class Steering:
    """Follows the squared error of maps.

    Parameters
    ----------
    whole : float
        Squared error that is wanted, in squared steps.
    beyond : float
        How much of it the planes are not to blame for.
    expected : (maps,) ndarray
        What is expected of each.
    gains : (maps,) ndarray
        How many times its squared error each map adds to that of the samples.
    sure : bool
        Whether that is what a step like this one has left of them.

    Attributes
    ----------
    worth : float
        Of a bit, in the maps to come, to what it usually is.
    usual : (maps,) ndarray
        About what each map has lost, or would have where a bit is worth the usual.
    """

    def __init__(
        self, whole: float, beyond: float, expected: NDArray[np.float64],
        gains: NDArray[np.float64], *, sure: bool,
    ) -> None:  # fmt: skip
        self._low, self._high = (whole * (1 + x) - beyond for x in (-_NEAR, _NEAR))
        self._expected, self._gains = expected, gains
        self._doubt = _DOUBT[sure]
        self._spent, self._done, self._rest = 0.0, 0.0, float(expected @ gains)
        # What is expected counts as if so much of it were known to be right.
        self._known = self._first = _KNOWN * self._rest
        self.worth, self.usual = 1.0, expected.copy()
        self._choose()

    def lost(self, some: slice, error: NDArray[np.float64]) -> None:
        """Take account of some maps that are done, each with its squared error."""
        self.usual[some] = error / self.worth**_POWER
        self._spent += float(self._gains[some] @ error)
        self._done += float(self._gains[some] @ self.usual[some])
        expected = float(self._gains[some] @ self._expected[some])
        self._known += expected
        self._rest -= expected
        self._choose()

    def _choose(self) -> None:
        """Say what a bit is to be worth in the maps to come."""
        share = (self._done + self._first) / max(self._known, 1e-30)
        rest = max(share * self._rest, 1e-30)
        low, high = self._low - self._spent, self._high - self._spent
        self.worth = 1.0
        if not low - self._doubt * rest <= rest <= high + self._doubt * rest:
            share = max(low if rest < low else high, 0.0) / rest
            self.worth = min(max(share ** (1 / _POWER), _LEAST), _MOST)
