"""What rounding adds to an error: that of factors to a store's type, that of samples to float32.

With u + du and v + dv the rounded vectors, A_k - B = -(U S dV^T + dU S V^T + dU S dV^T). The first
two are orthogonal to the residual A - A_k, whose rows and columns are orthogonal to V and U; the
last is of second order. So the squares of both add up, but for

    | <A - A_k, dU S dV^T> |  <=  ||A - A_k||_F ||dU S dV^T||_F.

What samples lose is orthogonal to nothing: it is taken off what an error may be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lowrank import format as lrk
from lowrank.errors import UsageError
from lowrank.format.parts import Head
from lowrank.linalg import TruncatedSVD
from lowrank.names import AUTO, FLOAT_STORES
from lowrank.targets import MOST_PSNR, Target

EXACT = 1e-12
"""Share by which sums of squares in another order may differ."""
_SAMPLES = 0.01  # of an error that the rounding of samples to float32 may take, if unasked


def wider(store: str) -> str:
    """The next wider float store."""
    return FLOAT_STORES[FLOAT_STORES.index(store) + 1]


def out_of_reach(target: Target, store: str, share: float) -> UsageError:
    """The error of a target that the rounding of a store alone misses, by its share of ||A||_F."""
    return UsageError(
        f"{target.kind} {target.value:.10g} is out of reach of {store} factors, whose rounding "
        f"alone is a relative error of {share:.2g}; give store {wider(store)}, or auto"
    )


@dataclass(frozen=True)
class Rounding:
    """What the rounding of a matrix' vectors to a store's type adds to its error.

    Attributes
    ----------
    square : float
        ||A_k - B||_F^2, where B is A_k with its vectors rounded.
    second : float
        ||dU S dV^T||_F.
    """

    square: float
    second: float

    def added(self, tail: float) -> float:
        """||A - B||_F^2 - ||A - A_k||_F^2 at most."""
        return self.square + 2.0 * tail * self.second


def of(x: TruncatedSVD, store: str) -> Rounding:
    """What the rounding of a decomposition in memory adds."""
    V = x.Vt.astype(store).astype(np.float64)
    Y = np.vstack([V - x.Vt, V]).astype(np.float32)
    return of_products(x.U, x.s, Y @ Y.T, store)


def of_products(
    U: NDArray[np.float64], s: NDArray[np.float64], products: NDArray[np.floating], store: str
) -> Rounding:
    """The same, where of V no more is known than products of rows.

    Parameters
    ----------
    U : (m, k) ndarray of float64
    s : (k,) ndarray of float64
    products : (2k, 2k) ndarray
        Y Y^T for Y = [V' - V, V'], where V' are the rows V^T as the store has them.
    store : str

    Notes
    -----
    A_k - B is the product X Y^T of two thin matrices, and ||X Y^T||_F^2 = tr(X^T X Y^T Y). Nothing
    cancels in it, so that float32 will do.
    """
    k = len(s)
    scale = float(s[0]) or 1.0 if k else 1.0  # in its units nothing is beyond float32
    dU = U.astype(store).astype(np.float64) - U
    X = (np.hstack([U, dU]) * np.tile(s / scale, 2)).astype(np.float32)
    of_left = X.T @ X
    square = max(float(np.vdot(of_left, products)), 0.0)
    second = max(float(np.vdot(of_left[k:, k:], products[:k, :k])), 0.0)
    return Rounding(scale**2 * square, scale * math.sqrt(second))


def at_most(s: NDArray[np.float64], m: int, n: int, store: str) -> Rounding:
    """What rounding adds at most, whatever the vectors are.

    Their entries are off by half a unit in the last place of a vector's length, or of the smallest
    number: so far vectors are off, and

        ||A_k - B||_F <= ||U S dV^T||_F + ||dU S V^T||_F + ||dU S dV^T||_F.
    """
    kind = np.finfo(store)
    of_one, least = float(kind.eps) / 2, float(kind.smallest_subnormal) / 2
    a, b = (of_one + least * math.sqrt(side) for side in (m, n))
    second = float(s.sum()) * a * b
    return Rounding((float(np.linalg.norm(s)) * (a + b) + second) ** 2, second)


def nearest(
    spectra: list[NDArray[np.float64]], tails: list[float], target: Target, head: Head,
    added: float, floor: float, *, turned: bool = False,
) -> tuple[str, int]:  # fmt: skip
    """Of files of one size the nearest, the narrowest of equals: its store, and its terms.

    Parameters
    ----------
    spectra : list of (k,) ndarray of float64
        Singular values of all terms that fit in the narrowest store, of each matrix.
    tails : list of float
        What lies behind them.
    target : Target
        The size.
    head : Head
        Of the file, whatever its store.
    added : float
        What the narrowest adds to the squared error; of wider ones it is `at_most` that counts.
    floor : float
        An error that does not show.
    turned : bool
        The file has a rotation of colours.
    """
    from lowrank.targets import spectrum  # where a size is asked for

    s = np.sort(np.concatenate(spectra))[::-1]
    behind = math.hypot(*tails)
    store, terms, least = FLOAT_STORES[0], len(s), behind**2 + added
    for wide in FLOAT_STORES[1:]:
        size = partial(lrk.float_file_size, replace(head, store=wide), turned=turned)
        count = min(spectrum.terms_that_fit(target, size), len(s))
        tail = math.hypot(behind, float(np.linalg.norm(s[count:])))
        square = tail**2 + at_most(s[:count], *head.shape, wide).added(tail)
        if square + floor**2 < least:
            store, terms, least = wide, count, square
    return store, terms


def most(exact: list[TruncatedSVD], store: str) -> tuple[float, float]:
    """||A - B||_F of all matrices together, at most; and what of it no further term takes away."""
    square = rounded = 0.0
    for x in exact:
        added = of(x, store).added(x.tail)
        rounded += added
        square += x.tail**2 + added
    return math.sqrt(square), math.sqrt(rounded)


def of_stored(
    U: NDArray[np.floating], s: NDArray[np.float64], Vt: NDArray[np.floating]
) -> NDArray[np.float64]:
    """||A_k - B||_F^2 at most, for each rank k from 0 on, of vectors that are rounded already.

    Each entry was rounded by half a unit in the last place at most; sides are added up as in
    `at_most`.
    """
    found = np.zeros(len(s) + 1)
    if U.dtype != np.float64:
        a, b = (np.square(np.spacing(x).astype(np.float64)).sum(axis=0) / 4 for x in (U, Vt.T))
        sides = np.sqrt(np.cumsum(s * s * a)) + np.sqrt(np.cumsum(s * s * b))
        found[1:] = np.square(sides + np.cumsum(s * np.sqrt(a * b)))
    return found


def beside_samples(
    target: Target, store: str, lost: float, allowed: float, peak: float = 1.0
) -> tuple[Target, str]:
    """What is left of an error once samples of float64 are float32; or store float64 for `auto`.

    Parameters
    ----------
    target : Target
        One of how far samples may be from those of the source.
    store : str
        Any but float64.
    lost, allowed : float
        How far samples of float32 are from those of float64, and how far they may be, as the target
        counts it; of a PSNR root mean squares, in levels.
    peak : float
        Of a PSNR.

    Raises
    ------
    UsageError
        Samples of float32 are too far off.
    """
    if lost > _SAMPLES * allowed and store == AUTO:
        return target, "float64"
    if not lost:
        return target, store
    decibels = target.kind.startswith("psnr")
    # Of an error of 0 all terms are wanted, whatever their store; a largest error of 0 is measured.
    if lost >= allowed and (allowed > 0 or target.kind == "max_error"):
        said = f"{lost:.3g}"
        if decibels:
            said = f"so much that {20 * math.log10(peak / lost):.2f} dB are left"
        elif target.kind != "max_error":
            said = f"an error of {lost:.3g}"
        raise UsageError(
            f"{target.kind} {target.value!r}: to round the samples to float32 alone takes "
            f"{said}; give store float64"
        )
    left = max(allowed - lost, 0.0)
    if decibels:
        value = min(target.value + 20 * math.log10(allowed / left), MOST_PSNR)
    else:
        value = 1 - left**2 if target.kind == "energy" else left
    return replace(target, value=value), store
