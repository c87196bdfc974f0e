"""Whether a transform across the frames pays, and which one of patches suits the planes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.layouts.lapped import SIDE
from lowrank.stores.packed.frames import select
from lowrank.stores.packed.frames.edges import LAPPED, STEPS, analyse
from lowrank.stores.packed.frames.klt import Stack
from lowrank.stores.packed.frames.rates import BIT

_SAMPLES = 1 << 20
_FEW = 1 << 20  # samples that tell which transform suits, of so many planes
_PLANES = 48
_DOUBT = 0.08  # share by which an estimate may be wrong
_BETTER = 0.98  # share of the cost that another transform may leave


def told_apart(stack: Stack, step: float) -> bool | None:
    """Whether the frames are better coded apart, where an estimate is enough to tell."""
    if stack.apart is not None and stack.apart[0] / 2 < step < stack.apart[0] * 2:
        return stack.apart[1]
    share = share_apart(stack, step)
    if abs(share - 1) <= _DOUBT:
        return None
    stack.apart = step, share < 1
    return share < 1


def share_apart(stack: Stack, step: float) -> float:
    """What coding the frames apart would cost, over what coding planes of theirs would.

    A cost is the squared error and the bits of a box in the middle, in squared steps. Both are
    estimated from the same coefficients: a transform across the frames is one of the
    coefficients, too.
    """
    stack.put_aside()  # what is looked at takes as much memory again
    s, U = stack.spectrum
    C = stack.frame_coefficients(slice(None), box(stack))
    C *= np.float32(1 / step)
    size, rows, _, columns = C.shape
    part = rows * columns / (stack.grid[0] * stack.grid[1])
    price = part * BIT * select.column_bits(stack.frames, s, step)
    themselves = select.Choice(C).cost.sum()
    # Planes stand where the frames did, of which there are no less.
    across = U.T.astype(np.float32)
    frames = C.reshape(size, rows, stack.frames, -1)
    for one in frames:
        one[:, : len(across)] = np.matmul(across, one)
    return float(themselves / _klt(C[:, :, : len(across) * stack.channels], price))


def suit(stack: Stack, step: float) -> None:
    """Choose the transform of patches, by what a strip of some planes would cost with each."""
    if stack.suited is not None and stack.suited / 2 < step < stack.suited * 2:
        return
    stack.put_aside()
    part = slice(None, None, max(1, len(stack.spectrum[0]) // _PLANES))
    most = _FEW // (stack.frames * stack.channels * 2 * SIDE)
    box = _middle(stack.height, 2), _middle(stack.width, max(most // SIDE, 2))
    planes = stack.box(box, part)
    planes *= np.float32(1 / step)
    costs = [
        float(select.Choice(analyse(planes, transform=kind)).cost.sum())
        for kind in range(LAPPED, STEPS + 1)
    ]
    best = int(np.argmin(costs))
    chosen = best if costs[best] < _BETTER * costs[LAPPED] else LAPPED
    stack.suited = step
    if chosen != stack.transform:
        stack.transform = chosen
        stack.forget()


def _klt(planes: NDArray[np.float32], price: NDArray[np.float64]) -> float:
    """Cost of the planes that are worth theirs, and of what is lost with the others."""
    choice, count = select.Choice(planes), len(price)
    coded = choice.cost.reshape(count, -1).sum(1) + price
    lost = choice.energy.reshape(count, -1).sum(1)
    return max(float(np.minimum(lost, coded).sum()), 1e-30)


def box(stack: Stack) -> tuple[slice, slice]:
    """Rows and columns of whole patches, about square, in the middle."""
    most = _SAMPLES / (stack.frames * stack.channels * SIDE * SIDE)
    side = max(int(np.sqrt(most)), 2)
    return _middle(stack.height, side), _middle(stack.width, side)


def _middle(length: int, patches: int) -> slice:
    start = max(length // SIDE - patches, 0) // 2 * SIDE
    return slice(start, min(start + patches * SIDE, length))
