"""What a packed file states of its matrices, from the coefficients that were coded."""

from __future__ import annotations

import numpy as np

from lowrank.layouts.lapped import SIZE, Floats
from lowrank.stores.packed.coding.payload import FRACTION, Norms
from lowrank.stores.packed.patches.walk import Walk

_SLAB = 1 << 12


def measure(maps: Floats, walk: Walk, channel: int) -> Norms:
    """Measure a channel in the coordinates of its basis, which is orthonormal.

    Parameters
    ----------
    maps : (SIZE, rows, columns) ndarray
        Coefficients before quantisation, in steps, scaled as `walk` has them.
    walk : Walk
        What was made of them.
    channel : int
    """
    step = walk.header.step_of(channel)
    kept = walk.indices[channel]
    spread, factors = walk.scales_of(channel)
    G = np.zeros((SIZE, SIZE))
    error = 0.0
    rows = max(1, _SLAB // maps.shape[2])
    for top in range(0, maps.shape[1], rows):
        part = slice(top, top + rows)
        A = maps[:, part].reshape(SIZE, -1).astype(np.float64)
        B = walk.maps[channel][: len(kept), part].reshape(len(kept), A.shape[1]) / FRACTION
        if spread is not None and factors is not None:
            scale = factors[part].ravel()
            A[1:] *= scale * spread[1:, None]
            B *= scale * spread[kept, None]
        G += A @ A.T
        A[0] -= walk.firsts[channel][part].ravel()
        A[kept] -= B
        error += float(np.sum(A * A))
    squares = np.maximum(np.linalg.eigvalsh(G)[::-1], 0)
    # No matrix has more singular values than rows.
    squares = squares[: maps[0].size]
    beyond = squares[len(kept) + 1 :]
    return Norms(
        float(np.sqrt(np.trace(G))) * step,
        float(np.sqrt(beyond[0])) * step if len(beyond) else 0.0,
        float(np.sqrt(beyond.sum())) * step,
        float(np.sqrt(error)) * step,
    )


def error_of(maps: Floats, walk: Walk, channel: int) -> float:
    """||A - B||_F^2 of a channel alone, in squared levels: what `measure` takes of it, sooner."""
    kept = walk.indices[channel]
    spread, factors = walk.scales_of(channel)
    dropped = np.ones(SIZE, bool)
    dropped[[0, *kept]] = False
    error = 0.0
    rows = max(1, _SLAB // maps.shape[2])
    for top in range(0, maps.shape[1], rows):
        part = slice(top, top + rows)
        A = maps[:, part]
        first = (A[0] - walk.firsts[channel][part]).ravel()
        B = walk.maps[channel][: len(kept), part]
        others = A[kept] - B * B.dtype.type(1 / FRACTION)
        rest = A[dropped]
        if spread is not None and factors is not None:
            scale = factors[part]
            others = others * (scale * spread[kept, None, None]).astype(B.dtype)
            rest = rest * (scale * spread[dropped, None, None]).astype(B.dtype)
        others, rest = others.ravel(), rest.ravel()
        error += sum(float(np.vdot(x, x)) for x in (first, others, rest))
    step = walk.header.step_of(channel)
    return error * step * step
