"""What planes are to be: which are kept, their basis, and their coefficients in steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import Floats
from lowrank.stores.packed.coding.payload import FRACTION
from lowrank.stores.packed.frames import basis, classes, learn, select
from lowrank.stores.packed.frames.forecast import worth
from lowrank.stores.packed.frames.klt import LARGE, Stack
from lowrank.stores.packed.frames.samples import EXACT, power

_LEAK = 0.04
"""What an error of the basis costs in planes, to what it costs beyond them: there it is lost, but
planes are those of the quantised basis, so that of N columns of N none is."""


def kept(stack: Stack, step: float, planes: int | None) -> NDArray[np.intp]:
    """Which planes are kept: so many, or those that are worth their bits."""
    s = stack.spectrum[0]
    if planes is not None:
        return np.arange(min(planes, len(s)))
    return np.flatnonzero(worth(stack, step).net > 0)


def quantised(
    stack: Stack, step: float, kept: NDArray[np.intp]
) -> tuple[NDArray[np.int64], list[basis.Column]]:
    """Entries of the basis, and how its columns are coded."""
    s, U = stack.spectrum
    # No product may leave exact arithmetic: planes are at most as long as columns of A.
    longest = math.sqrt(stack.frames * len(kept)) * max(
        float(np.abs(stack.samples.max())), float(np.abs(stack.samples.min())), 1.0
    )
    most = int(math.log2(EXACT) - 4 - math.log2(longest * FRACTION / step))
    fine = step * select.FINER
    coarse = fine / math.sqrt(1 - (1 - _LEAK) * len(kept) / stack.frames)
    enough = math.ceil(math.log2(2 * math.sqrt(stack.frames)))
    exponents = [
        min(
            max(basis.exponent_of(coarse, sigma), min(basis.exponent_of(fine, sigma), enough)),
            max(most, 0),
        )
        for sigma in s[kept].tolist()
    ]
    B = U[:, kept] if stack.weights is None else U[:, kept] * stack.weights[:, None]
    entries = np.rint(B / power(iter(exponents))).astype(np.int64)
    return entries, basis.plan(entries, exponents)


def _weighed(stack: Stack, B: NDArray[np.float64]) -> NDArray[np.float64]:
    """A basis, its frames counting as those of the stack do."""
    return B if stack.weights is None else B / stack.weights[:, None]


def gains(stack: Stack, B: NDArray[np.float64]) -> NDArray[np.float64]:
    """(maps,) how many times its squared error each map adds to that of all samples."""
    return np.repeat(np.square(_weighed(stack, B)).sum(0), stack.channels)


def beyond(stack: Stack, B: NDArray[np.float64]) -> float:
    """Squared error of what no planes with a basis come to."""
    s, U = stack.spectrum
    Q = np.linalg.qr(_weighed(stack, B))[0]
    return max(float(np.sum(s**2) - np.sum((Q.T @ (U * s)) ** 2)), 0.0)


def matched(stack: Stack, B: NDArray[np.float64]) -> NDArray[np.float64]:
    """What makes the planes of U those that suit the quantised basis, by least squares."""
    B = _weighed(stack, B)
    C = stack.coefficients(B.shape[1])
    known = stack.spectrum[1][:, : C.shape[2] // stack.channels]
    return np.asarray(np.linalg.lstsq(B.T @ B, B.T @ known, rcond=None)[0], np.float64)


def release(stack: Stack) -> None:
    """Forget the coefficients of a large stack, where what comes needs none of them."""
    if stack.samples.size >= LARGE and stack.spared:
        stack.forget()


def learnt(
    stack: Stack, M: NDArray[np.float64] | None, step: float, maps: int
) -> tuple[classes.Planes, learn.Learnt] | None:
    """What planes are to be and the classes of their pixels, where these pay."""
    if M is None or learn.BASE * stack.channels >= maps:
        return None
    release(stack)  # what is tried takes as much memory again
    Y = learn.targets(stack, M, step)
    found = learn.learn(stack, Y, step)
    if found is not None:
        return Y, found
    del Y
    stack.coefficients(M.shape[1])
    return None


def groups(
    stack: Stack, M: NDArray[np.float64] | None, maps: int, each: int, step: float
) -> Iterator[NDArray[np.float32]]:
    """The coefficients of each group; where those of the stack are not kept, in their memory."""
    parts = [slice(i, min(i + each, maps)) for i in range(0, maps, each)]
    if M is None or not stack.spared:
        yield from (_coefficients(stack, M, part, step) for part in parts)
        return
    held = [_matched(stack, M, parts, step)]
    stack.forget()
    *before, last = (part.stop - part.start for part in parts)
    for count in before:
        yield _taken(held[0], count)
    yield held.pop()[:, :, :last].astype(np.float32, copy=False)


def _taken(C: Floats, maps: int) -> NDArray[np.float32]:
    """The coefficients of the first maps, taken out: the others take no more memory than theirs."""
    first = C[:, :, :maps].astype(np.float32)
    size, rows, count, columns = C.shape
    flat, each = C.reshape(-1), rows * (count - maps) * columns
    for start, one in zip(range(0, size * each, each), C, strict=True):
        flat[start : start + each] = one[:, maps:].ravel()
    del flat, one
    C.resize((size, rows, count - maps, columns), refcheck=False)
    return first


def _matched(stack: Stack, M: NDArray[np.float64], parts: list[slice], step: float) -> Floats:
    """The coefficients of all groups, where those of the stack were."""
    C = stack.coefficients(1)
    for row in range(C.shape[1]):
        one = C[:, row].copy()
        for part in parts:
            C[:, row, part] = _row(stack, M, part, step, one)
    return C


def _coefficients(
    stack: Stack, M: NDArray[np.float64] | None, part: slice, step: float
) -> NDArray[np.float32]:
    """(SIZE, rows, maps, columns) coefficients of a group, in steps."""
    channels = stack.channels
    if M is None:
        first, last, inside = _planes(part, channels)
        C = stack.frame_coefficients(slice(first, last))[:, :, inside]
        C *= np.float32(1 / step)
        return C
    C = stack.coefficients(1)
    out = np.empty((*C.shape[:2], part.stop - part.start, C.shape[3]), np.float32)
    for row in range(C.shape[1]):
        out[:, row] = _row(stack, M, part, step, C[:, row])
    return out


def _row(stack: Stack, M: NDArray[np.float64], part: slice, step: float, one: Floats) -> Floats:
    """(SIZE, maps, columns) coefficients of a row of patches of a group, of those of all planes."""
    size, _, columns = one.shape
    first, last, inside = _planes(part, stack.channels)
    weights = (M[first:last] / step).astype(one.dtype)
    found: Floats = weights @ one.reshape(size, -1, stack.channels * columns)
    return found.reshape(size, -1, columns)[:, inside]


def _planes(part: slice, channels: int) -> tuple[int, int, slice]:
    """The first plane of some maps, the one behind the last, and the maps among theirs."""
    first, last = part.start // channels, -(-part.stop // channels)
    return first, last, slice(part.start - first * channels, part.stop - first * channels)
