"""From what the user wants to how many terms each matrix keeps.

Every target is met from the spectra alone, exactly and in one step: a prefix of the
list of all singular values, sorted over the matrices (the singular values of a
block-diagonal matrix are the union of its blocks', so no other choice of as many
terms is nearer to the image).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import UsageError, number_of
from lowrank.targets import Target


def terms_for_tail(spectra: list[NDArray[np.float64]], tail: float) -> int:
    """Fewest terms whose discarded singular values have sqrt(sum sigma_i^2) <= `tail`.

    Parameters
    ----------
    spectra : list of (N,) ndarray
        All singular values of each matrix.
    tail : float
        In levels, as sigma.
    """
    s = np.sort(np.concatenate(spectra))  # ascending: the small ones add up first
    discarded = np.sqrt(np.cumsum(s * s))
    return len(s) - int(np.searchsorted(discarded, tail, side="right"))


def ranks_of_leading(spectra: list[NDArray[np.float64]], terms: int) -> tuple[int, ...]:
    """Rank of each matrix when the `terms` largest singular values of all are kept."""
    s = np.concatenate(spectra)
    matrix = np.concatenate([np.full(len(x), i) for i, x in enumerate(spectra)])
    kept = matrix[np.argsort(-s, kind="stable")[:terms]]
    return tuple(int(c) for c in np.bincount(kept, minlength=len(spectra)))


def terms_that_fit(target: Target, size: Callable[[int], int]) -> int:
    """Terms in a file of the target's size, given the bytes of a file of so many terms."""
    empty, one = size(0), size(1)
    return max(int(target.value - empty) // (one - empty), 0)


def terms_of_size(target: Target, size: Callable[[int], int]) -> int:
    """The same, at least one.

    Raises
    ------
    UsageError
        Not even one term fits.
    """
    terms = terms_that_fit(target, size)
    if terms < 1:
        raise UsageError(
            f"{number_of(int(target.value), 'byte')} cannot hold a term of this image; a file of "
            f"one takes {size(1):,}"
        )
    return terms


def allowed_share(target: Target) -> float:
    """Share of ||A||_F that may be lost where an energy or an error is asked for."""
    return math.sqrt(1 - target.value) if target.kind == "energy" else target.value


def allowed_tail(target: Target, norm: float, peak: float, samples: int) -> float:
    """Largest Frobenius error, in levels, that meets an energy, error or PSNR target.

    Parameters
    ----------
    target : Target
    norm : float
        ||A||_F of all matrices together.
    peak : float
        Full scale of the samples.
    samples : int
    """
    if target.kind in ("energy", "error"):
        share = allowed_share(target)
        # All may be lost: the rounding of a sum of squares keeps no term.
        return norm * (share if share < 1 else 1 + 1e-9)
    return tail_for_psnr(target.value, peak, samples)


def tail_for_psnr(psnr: float, peak: float, samples: int) -> float:
    """Frobenius error, in levels, of an image of so many samples at a PSNR in dB.

    PSNR = 10 log10(peak^2 / MSE) and MSE = ||A - B||_F^2 / samples.
    """
    return peak * 10 ** (-psnr / 20) * math.sqrt(samples)


def psnr_of_tail(tail: float, peak: float, samples: int) -> float:
    """PSNR in dB at a Frobenius error above 0: the inverse of `tail_for_psnr`."""
    return 20 * math.log10(peak * math.sqrt(samples) / tail)


def gavish_donoho_rank(s: NDArray[np.float64], m: int, n: int, *, rounding: float = 0.0) -> int:
    """Rank of the optimal hard threshold for singular values in unknown white noise.

    Terms with sigma_i > omega(beta) median(sigma) are kept, beta = min(m,n)/max(m,n):
    asymptotically the threshold of least mean squared error for a low-rank matrix
    in white noise of unknown strength. At least one term is kept.

    Parameters
    ----------
    s : (min(m, n),) ndarray
        All singular values, descending.
    m, n : int
    rounding : float
        Share of the largest below which a value is that of rounding. Where most are, as of a
        drawing, their median is no noise, and none of them is kept.

    References
    ----------
    M. Gavish and D. L. Donoho, "The optimal hard threshold for singular values is
    4/sqrt(3)", IEEE Transactions on Information Theory 60(8), 2014, eqs. 11 and 5;
    omega(beta) = lambda_*(beta) / sqrt(mu_beta).
    """
    beta = min(m, n) / max(m, n)
    threshold = _gavish_donoho_lambda(beta) / math.sqrt(marchenko_pastur_median(beta))
    half = len(s) // 2  # np.median would load masked arrays, a tenth of a short run
    median = (float(s[half]) + float(s[~half])) / 2
    least = max(threshold * median, rounding * float(s[0]))
    return max(int(np.count_nonzero(s > least)), 1)


def _gavish_donoho_lambda(beta: float) -> float:
    """lambda_*(beta), the optimal threshold for known noise: eq. 11 of Gavish and Donoho."""
    root = math.sqrt(beta * beta + 14 * beta + 1)
    return math.sqrt(2 * (beta + 1) + 8 * beta / (beta + 1 + root))


def marchenko_pastur_median(beta: float) -> float:
    """Median of the Marchenko-Pastur distribution of ratio `beta`, 0 < beta <= 1.

    Its density is sqrt((b - t)(t - a)) / (2 pi beta t) on [a, b], a, b = (1 -+ sqrt(beta))^2.
    With t = (a + b)/2 - (b - a)/2 cos(phi) the integrand is smooth, and the midpoint
    rule converges fast.
    """
    root = math.sqrt(beta)
    nodes = 20_000
    phi = (np.arange(nodes) + 0.5) * (math.pi / nodes)
    t = 1 + beta - 2 * root * np.cos(phi)
    cumulative = np.cumsum(np.sin(phi) ** 2 / t)
    # Half of the mass lies below the median; the mass of all is 1 up to the rule's error.
    at = float(np.interp(cumulative[-1] / 2, cumulative, phi + math.pi / nodes / 2))
    return 1 + beta - 2 * root * math.cos(at)
