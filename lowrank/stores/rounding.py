"""What the rounding of factors to a store's type adds to their error.

With u + du and v + dv the rounded vectors, A_k - B = -(U S dV^T + dU S V^T + dU S dV^T). The first
two are orthogonal to the residual A - A_k, whose rows and columns are orthogonal to V and U; the
last is of second order. So the squares of both add up, but for

    | <A - A_k, dU S dV^T> |  <=  ||A - A_k||_F ||dU S dV^T||_F.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import UsageError
from lowrank.linalg import TruncatedSVD
from lowrank.names import FLOAT_STORES
from lowrank.targets import Target

EXACT = 1e-12
"""Share by which sums of squares in another order may differ."""


def wider(store: str) -> str:
    """The next wider float store."""
    return FLOAT_STORES[FLOAT_STORES.index(store) + 1]


def out_of_reach(target: Target, store: str, share: float) -> UsageError:
    """The error of a target that the rounding of a store alone misses, by its share of ||A||_F."""
    return UsageError(
        f"{target.kind} {target.value:.10g} is out of reach of {store} factors, whose rounding "
        f"alone is a relative error of {share:.2g}; give store {wider(store)}, or auto"
    )


def error(x: TruncatedSVD, store: str) -> float:
    """||A_k - B||_F, where B is A_k with its vectors rounded to the store's type.

    A_k - B is the product X Y^T of two thin matrices, and ||X Y^T||_F^2 = tr(X^T X Y^T Y). Nothing
    cancels in it, so that float32 will do.
    """
    U, s, Vt = x.U, x.s, x.Vt
    scale = _scale(x)
    dU = U.astype(store).astype(np.float64) - U
    V = Vt.astype(store).astype(np.float64)
    X = (np.hstack([U, dU]) * np.tile(s / scale, 2)).astype(np.float32)
    Y = np.vstack([V - Vt, V]).astype(np.float32)
    return scale * math.sqrt(max(float(np.vdot(X.T @ X, Y @ Y.T)), 0.0))


def most(exact: list[TruncatedSVD], store: str) -> tuple[float, float]:
    """||A - B||_F of all matrices together, at most; and what of it no further term takes away."""
    square = rounded = 0.0
    for x in exact:
        added = error(x, store) ** 2 + 2.0 * x.tail * _second_order(x, store)
        rounded += added
        square += x.tail**2 + added
    return math.sqrt(square), math.sqrt(rounded)


def of_stored(
    U: NDArray[np.floating], s: NDArray[np.float64], Vt: NDArray[np.floating]
) -> NDArray[np.float64]:
    """||A_k - B||_F^2 at most, for each rank k from 0 on, of vectors that are rounded already.

    Each entry was rounded by half a unit in the last place at most.
    """
    found = np.zeros(len(s) + 1)
    if U.dtype != np.float64:
        units = (np.square(np.spacing(x).astype(np.float64)).sum(axis=0) for x in (U, Vt.T))
        found[1:] = np.cumsum(s * s * sum(units) / 4)
    return found


def _second_order(x: TruncatedSVD, store: str) -> float:
    """||dU S dV^T||_F."""
    dU = x.U.astype(store).astype(np.float64) - x.U
    dV = x.Vt.astype(store).astype(np.float64) - x.Vt
    scale = _scale(x)
    X = dU * (x.s / scale)
    return scale * math.sqrt(max(float(np.vdot(X.T @ X, dV @ dV.T)), 0.0))


def _scale(x: TruncatedSVD) -> float:
    """In its units nothing is beyond float32."""
    return float(x.s[0]) or 1.0 if len(x.s) else 1.0
