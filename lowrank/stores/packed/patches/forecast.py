"""What a step will cost and lose, from a few coefficients and without coding them.

A uniform quantiser with the coder's dead zone, on every n-th patch: its error and its bits
differ from the coder's by an amount that hardly changes from step to step. So one encoding
tells how the others come out, and a search on a large picture takes one or two.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIZE
from lowrank.stores.packed.patches.select import worth_keeping

_EVERY = 8
"""Of the rows and columns of patches, one in so many is looked at."""
_DEAD = np.float32(0.63)
"""Magnitudes in steps that become zero on the coder's average: a bit has its price."""
_ROUND = np.float32(0.465)


class Forecast:
    """Error and bits of a picture by step.

    Parameters
    ----------
    C : (SIZE, rows, channels, columns) ndarray
        Coefficients in levels.
    finer : float
        How much finer the step of the last channel is, if that is opacity.
    """

    def __init__(self, C: NDArray[Any], finer: float = 1.0) -> None:
        # Of few rows or columns more are looked at: a picture may be long and thin.
        down, across = (min(_EVERY, max(n // _EVERY, 1)) for n in (C.shape[1], C.shape[3]))
        some = np.abs(C[:, down // 2 :: down, :, across // 2 :: across])
        # The first component, of means, is coded by a wavelet: it is left out.
        rows = some[1:].transpose(0, 2, 1, 3).reshape((SIZE - 1) * C.shape[2], -1)
        self._sizes = rows.astype(np.float32)
        # Each in units of its own step, that of the last channel being the finer one.
        weight = np.ones((SIZE - 1, C.shape[2]), np.float32)
        weight[:, -1] = finer
        self._finer = weight.reshape(-1, 1)
        self._sizes *= self._finer
        self._patches = C.shape[1] * C.shape[3]
        self.squared_error = cache(self._squared_error)
        self.log_bits = cache(self._log_bits)

    def _quantised(self, step: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        t = self._sizes * np.float32(1 / step)
        q = np.floor(t + _ROUND)
        q[t < _DEAD] = 0
        gain = (q * (2 * t - q)).sum(1)
        q[~worth_keeping(gain, np.count_nonzero(q, 1), t.shape[1], self._patches)] = 0
        return t, q

    def _squared_error(self, step: float) -> float:
        """Mean squared error of a coefficient, in squared levels."""
        t, q = self._quantised(step)
        t -= q
        t /= self._finer
        return float(np.vdot(t, t)) / t.size * step * step

    def _log_bits(self, step: float) -> float:
        """Logarithm of the bits, but for a constant.

        Of what is not zero a sign, twice its binary digits, and what tells it from the zeros.
        """
        q = self._quantised(step)[1]
        hit = q[q > 0]
        share = len(hit) / q.size
        if not share:
            return -math.log(q.size)
        zeros = 1 - share
        entropy = -share * math.log2(share) - (zeros * math.log2(zeros) if zeros else 0.0)
        bits = 0.6 * entropy * q.size + float(np.sum(1 + 1.5 * np.log2(hit)))
        return math.log(bits / q.size)
