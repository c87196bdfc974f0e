"""An image to a payload of layout `channels`: two walks, of which the first learns what bits cost.

The format, and its decoder, are in codec.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lowrank import pace, threads
from lowrank.stores.packed.channels import factorise, vectors
from lowrank.stores.packed.channels.factorise import Refined, Source, prepare
from lowrank.stores.packed.channels.header import Header, write_header
from lowrank.stores.packed.channels.samples import samples_of
from lowrank.stores.packed.channels.sums import Outer
from lowrank.stores.packed.channels.symbols import Writer
from lowrank.stores.packed.channels.terms import (
    directions,
    matrix_of,
    planes_of,
    sixteenths,
)
from lowrank.stores.packed.channels.walk import Walk
from lowrank.stores.packed.coding.payload import (
    SMALLEST_STEP,
    SMOOTHED,
    SYMBOLS_PER_LANE,
    Coded,
    Norms,
    Samples,
)
from lowrank.stores.packed.coding.ranswriter import RansWriter
from lowrank.stores.packed.coding.smoothing import Filter
from lowrank.stores.packed.coding.start import LANES, coarse_step

__all__ = ["Source", "encode", "prepare"]

Floats = NDArray[np.float64]
MULTIPLIER = 0.09
"""What a bit is worth, in squared steps: the exchange rate of the quantiser."""
BITS_PER_LANE = 8192
"""A lane costs four bytes: 0.4%; more lanes decode in fewer steps."""
OFFSETS = (0, 0)
"""Written by this encoder: its dead zone leaves the centroids at the integers."""


def encode(source: Source, step: float) -> Coded:
    """Encode an image with one quantiser step, in levels."""
    code, step = coarse_step(max(step, SMALLEST_STEP[source.bits]))
    channels = len(source.factors)
    refined = threads.each(lambda f: factorise.refine(f, source.rank, step), source.factors)
    order = source.order(tuple(x.U.shape[1] for x in refined))
    switches = [x.switches for x in refined]
    header = Header(
        step, source.turn, source.alpha, source.levels, OFFSETS, 1, (0,) * channels, switches, order
    )
    components, rans = _walked(source, header, refined)
    symbols = len(order) * sum(source.shape)
    lanes = int(min(max(1, rans.bits / BITS_PER_LANE, symbols / SYMBOLS_PER_LANE), LANES))
    body = rans.finish(lanes, np.empty(0, np.uint8))
    return _coded(source, replace(header, lanes=lanes), code, components, body)


def _walked(
    source: Source, header: Header, refined: list[Refined]
) -> tuple[list[Floats], RansWriter]:
    """The components of each channel as `_walk` gives them, and what has them all.

    The vectors u are quantised in a first walk, which learns the costs of bits; then V
    is solved for them as quantised, and everything is coded in a second walk.
    """
    m, step = source.shape[0], header.step
    U = [vectors.forward(x.U, x.switches[0]).T / step for x in refined]
    V = [vectors.forward(x.V, x.switches[1]).T / step for x in refined]
    places = vectors.coefficients(m)
    U = [x[:, :places] for x in _walk(RansWriter(), header, source.shape, U, V)]

    def solved(c: int) -> tuple[Floats, Floats]:
        """V for the U of a channel as quantised, in steps; and what its errors carry."""
        u, v = refined[c].switches
        fixed = directions(sixteenths(U[c], OFFSETS).T, m, u)
        exact = factorise.solve(source.factors[c].A, fixed)
        return vectors.forward(exact, v).T / step, factorise.carried(fixed)

    both = threads.each(solved, range(len(refined)))
    rans = RansWriter()
    components = _walk(rans, header, source.shape, U, [x for x, _ in both], [x for _, x in both])
    return components, rans


def _coded(
    source: Source, plain: Header, code: int, components: list[Floats], body: bytes
) -> Coded:
    """What was encoded; what its decoder will find is found where it is asked for, and once."""
    m, n = source.shape
    channels = len(components)
    ranks = tuple(map(len, components))

    @cache
    def smoothed() -> tuple[Header, list[Outer], list[Filter] | None]:
        """The header with its strengths, the matrices, and the filters of their planes."""
        sums = [
            matrix_of(list(x.astype(np.int64)), plain, c, m, n) for c, x in enumerate(components)
        ]
        if source.rank is not None or m * n > SMOOTHED:
            return plain, sums, None
        filters = [Filter(x.whole(), plain.step) for x in sums]
        smooth = tuple(_strength(source, c, x) for c, x in enumerate(filters))
        return replace(plain, smooth=smooth), sums, filters

    @cache
    def payload() -> bytes:
        return write_header(smoothed()[0], code, channels) + body

    @cache
    def decoded() -> Samples:
        whole, sums, filters = smoothed()
        return samples_of(whole, sums, (m, n, channels), source.bits, smooth=True, filters=filters)

    @cache
    def norms() -> tuple[Norms, ...]:
        return source.norms(ranks, planes_of(*smoothed()[:2]))

    length = len(write_header(plain, code, channels)) + len(body)

    def squared_error() -> float:
        return sum(x.error**2 for x in norms())

    return Coded(lambda: length, ranks, payload, decoded, norms, squared_error)


def _strength(source: Source, channel: int, decoded: Filter) -> int:
    """How strongly a channel is best smoothed; alpha, which may be all edge, is not."""
    if source.alpha and channel == len(source.factors) - 1:
        return 0
    return decoded.best_strength(source.factors[channel].A)


def _walk(
    rans: RansWriter,
    header: Header,
    shape: tuple[int, int],
    U: list[Floats],
    V: list[Floats],
    carry: list[Floats] | None = None,
) -> list[Floats]:
    """Quantise and collect all components.

    Parameters
    ----------
    U, V : lists of (k, coefficients) ndarray
        Of each channel, in steps.
    carry : list of (k, k) ndarray, optional
        What an error in a row of V does to those after it (factorise.carried). If given,
        U are integers already and stay as they are.

    Returns
    -------
    list of (k, coefficients) ndarray of integers as floats
        Of each channel, u and v side by side.
    """
    walk = Walk(*shape, header.switches)
    coder = Writer(rans, multiplier=MULTIPLIER)
    places = vectors.coefficients(shape[0])
    coder.exact = places if carry else 0
    errors = [np.zeros_like(v) for v in V]
    seen = [0] * len(U)
    result = [np.zeros((len(u), places + v.shape[1])) for u, v in zip(U, V, strict=True)]
    for c in pace.steps("coding", header.order):
        i = seen[c]
        v = V[c][i]
        if carry:
            v = v - carry[c][:i, i] @ errors[c][:i]
        coder.target = np.concatenate([U[c][i], v])
        result[c][i] = walk.component(coder, c)
        errors[c][i] = result[c][i, places:] - V[c][i]
        seen[c] += 1
    return result
