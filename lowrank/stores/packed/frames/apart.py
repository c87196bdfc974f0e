"""Whether a transform across the frames pays, or each is better coded as it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIDE
from lowrank.stores.packed.frames import select
from lowrank.stores.packed.frames.klt import Stack
from lowrank.stores.packed.frames.rates import BIT

_SAMPLES = 1 << 20


def share_apart(stack: Stack, step: float) -> float:
    """What coding the frames apart would cost, over what coding planes of theirs would.

    A cost is the squared error and the bits of a box in the middle, in squared steps. Both are
    estimated from the same coefficients: a transform across the frames is one of the
    coefficients, too.
    """
    s, U = stack.spectrum
    C = stack.frame_coefficients(slice(None), box=_box(stack)) * np.float32(1 / step)
    size, rows, _, columns = C.shape
    frames = C.reshape(size, rows, stack.frames, -1)
    planes = np.matmul(U.T.astype(np.float32), frames).reshape(size, rows, -1, columns)
    part = rows * columns / (stack.grid[0] * stack.grid[1])
    price = part * BIT * select.column_bits(stack.frames, s, step)
    return float(_cost(C).sum() / _klt(planes, price))


def _klt(planes: NDArray[np.float32], price: NDArray[np.float64]) -> float:
    """Cost of the planes that are worth theirs, and of what is lost with the others."""
    channels = planes.shape[2] // len(price)
    whole = np.square(planes).sum((0, 1, 3), dtype=np.float64).reshape(len(price), channels).sum(1)
    coded = _cost(planes).reshape(len(price), channels).sum(1) + price
    return max(float(np.minimum(whole, coded).sum()), 1e-30)


def _cost(C: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared error and bits of each map, in squared steps."""
    choice = select.Choice(C)
    lost = np.square(C).sum((0, 1, 3), dtype=np.float64)
    net = np.maximum(choice.gain - BIT * choice.bits, 0).sum(0)
    result: NDArray[np.float64] = lost - net
    return result


def _box(stack: Stack) -> tuple[slice, slice]:
    """Rows and columns of whole patches, about square, in the middle."""
    most = _SAMPLES / (stack.frames * stack.channels * SIDE * SIDE)
    side = max(int(np.sqrt(most)), 2)

    def middle(length: int, patches: int) -> slice:
        start = max(length // SIDE - patches, 0) // 2 * SIDE
        return slice(start, min(start + patches * SIDE, length))

    return middle(stack.height, side), middle(stack.width, side)
