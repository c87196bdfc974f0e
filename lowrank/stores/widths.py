"""The float type that what passes found is stored in: the narrowest that keeps what is promised.

In memory the vectors are there, and what is lost of them is measured. Here those of the long side
are not made yet: a bound tells most times, and where none does a pass is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from lowrank.format.parts import Head
from lowrank.linalg.streamed import Leading, Seen
from lowrank.names import AUTO, AUTO_WIDTH, FLOAT_STORES
from lowrank.picture.lazy import Lazy
from lowrank.stores import rounding
from lowrank.stores.truncation import AUTO_EXCESS, AUTO_FLOOR
from lowrank.targets import Target, spectrum

_MARGIN = 1.02  # of what rounding adds, for residuals that are not quite orthogonal to vectors


@dataclass(eq=False)
class Rounded:
    """What stores make of vectors.

    Attributes
    ----------
    found : list of Leading
    number : int
        Passes so far.
    """

    found: list[Leading]
    number: int
    _added: dict[str, float] = field(default_factory=dict)

    def at_most(self, store: str) -> float:
        """What rounding adds to ||A - B||_F^2 at most, as far as is known without a pass."""
        return sum(
            rounding.at_most(x.s, len(x.left), x.length, store).added(x.tail) for x in self.found
        )

    def of_one_side(self, store: str) -> float:
        """||dU S V^T||_F^2."""
        lost = (np.square(x.left.astype(store).astype(np.float64) - x.left) for x in self.found)
        return sum(float(x.s**2 @ d.sum(axis=0)) for x, d in zip(self.found, lost, strict=True))

    def measured(self, store: str) -> float:
        """What it adds, by a pass over each matrix."""
        if store not in self._added:
            added = 0.0
            for x in self.found:
                products, self.number = x.rounded(store, self.number)
                added += rounding.of_products(x.left, x.s, products, store).added(x.tail)
            self._added[store] = _MARGIN * added
        return self._added[store]


def kept(rounded: Rounded, target: Target, asked: str, store: str) -> tuple[str, float | None]:
    """The store that keeps what is asked for once factors are rounded, None beside it.

    Or, where a term more is wanted, what may be lost besides the rounding, as a share of ||A||_F.

    Raises
    ------
    UsageError
        The store's rounding alone is more than may be lost.
    """
    (x,) = rounded.found  # a share is that of one matrix
    allowed = x.norm * spectrum.allowed_tail(target, 1.0, 1.0, 1)
    while store != FLOAT_STORES[-1]:
        most = (allowed * (1 + rounding.EXACT)) ** 2 - x.tail**2
        if rounded.at_most(store) <= most or rounded.measured(store) <= most:
            break
        lost = rounded.measured(store)
        if lost < allowed**2:
            return store, math.sqrt(allowed**2 - lost) / x.norm
        if asked != AUTO:
            raise rounding.out_of_reach(target, store, math.sqrt(lost) / x.norm)
        store = rounding.wider(store)
    return store, None


def nearest(
    rounded: Rounded, target: Target, head: Head, lazy: Lazy, seen: list[Seen | None]
) -> tuple[str, int]:
    """As `rounding` has it; a pass tells what the narrowest adds."""
    spectra, tails = [x.s for x in rounded.found], [x.tail for x in rounded.found]
    added = rounded.measured(AUTO_WIDTH)
    floor = _floor(lazy, rounded.found, seen)
    return rounding.nearest(spectra, tails, target, head, added, floor)


def narrowest(rounded: Rounded, lazy: Lazy, seen: list[Seen | None]) -> str:
    """Narrowest float type whose rounding does not show, as `truncation` has it.

    A pass is taken where neither the most that rounding may add tells, nor one side of it.
    """
    found = rounded.found
    tail = math.hypot(*(x.tail for x in found))
    allowed = max(tail**2 * ((1 + AUTO_EXCESS) ** 2 - 1), _floor(lazy, found, seen) ** 2)
    for store in FLOAT_STORES[:-1]:
        if rounded.at_most(store) < allowed:
            return store
        if rounded.of_one_side(store) < allowed and rounded.measured(store) < allowed:
            return store
    return FLOAT_STORES[-1]


def _floor(lazy: Lazy, found: list[Leading], seen: list[Seen | None]) -> float:
    """What rounding may add in any case, as `truncation` has it."""
    samples = lazy.matrix.m * lazy.matrix.n * len(found)
    return AUTO_FLOOR * _fine_scale(lazy, found, seen) * math.sqrt(samples)


def _fine_scale(lazy: Lazy, found: list[Leading], seen: list[Seen | None]) -> float:
    """Full scale of the samples, as `truncation` has it; or their root mean square.

    That is below the one, and there without a pass, of integers of 16 bits.
    """
    if lazy.mode.bits <= 8:
        return 255.0
    extremes = [x for x in seen if x is not None]
    if not extremes:
        norm = math.hypot(*(x.norm for x in found))
        return norm / math.sqrt(lazy.matrix.m * lazy.matrix.n * len(found)) or 1.0
    span = max(x.high for x in extremes) - min(x.low for x in extremes) or 1.0
    return span if lazy.mode.limits is None else min(span, 65535.0)
