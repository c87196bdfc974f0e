"""The coefficients of one phase to and from the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.stores.packed.coding.rans import RansReader
from lowrank.stores.packed.coding.tokens import ESCAPE, LENGTH, TOKENS, TokenModel
from lowrank.stores.packed.patches import hiding
from lowrank.stores.packed.patches.contexts import Board
from lowrank.stores.packed.patches.models import SHIFT, TOTAL, FlagModel, token_model

if TYPE_CHECKING:
    from lowrank.stores.packed.coding.ranswriter import RansWriter

Indices = NDArray[np.intp]
Values = NDArray[np.int32]
Target = NDArray[np.float32]
SAMPLE = 4096
_SIGNS = np.array([1, -1], np.int32)
LARGEST = 1 << 20
"""Bound of coefficients: sixteenths of a step still are exact in float32."""


class _Limits(NamedTuple):
    """What the quantiser goes by until the models, whose tables stand here, learn.

    Above what a magnitude is none of zero, by row; what is rounded up, by pair and token; what
    one more than a magnitude costs in bits, by row and magnitude, in squared steps.
    """

    zero: NDArray[Any]
    frequency: NDArray[Any]
    threshold: NDArray[np.float32]
    rise: NDArray[np.float64]
    rising: NDArray[np.float32]


class Statistics:
    """The models, and what was coded since they last learnt.

    Parameters
    ----------
    flags, tokens : optional
        Those of photographs, where none are given.
    lengths : TokenModel, optional
        Of one distribution, for the lengths of what escapes; without one they are raw bits.
    """

    def __init__(
        self, flags: FlagModel | None = None, tokens: TokenModel | None = None,
        lengths: TokenModel | None = None,
    ) -> None:  # fmt: skip
        self.flags = flags or FlagModel()
        self.tokens = tokens or token_model()
        self.lengths = lengths
        self.lengths_seen: list[NDArray[np.intp]] = []
        self.shift = np.resize(np.append(SHIFT, (0, 0)), len(self.flags.zero))
        """Low bits of |q| - 1 sent raw, by row."""
        self.shifted = int(np.flatnonzero(self.shift)[0])
        """The first row that has any."""
        self._rows: list[Indices] = []
        self._hits: list[Indices] = []
        self._tokens: list[NDArray[np.intp]] = []

    def see(
        self, rows: Indices, flags: NDArray[np.bool_], hits: Indices, tokens: NDArray[np.intp]
    ) -> None:
        """Remember a phase: rows, whether non-zero, rows of those, and pair x TOKENS + token.

        Of a large phase every n-th flag is enough: the models forget most of it anyway.
        """
        every = len(rows) // SAMPLE
        if every <= 1:
            self._rows.append(rows)
            self._hits.append(hits)
        else:
            some = np.ascontiguousarray(rows[::every])
            self._rows.append(some)
            self._hits.append(some.take(flags[::every].nonzero()[0]))
        self._tokens.append(tokens)

    def learn(self) -> None:
        """Update the models at the end of some maps."""
        self.flags.update(self._rows, self._hits)
        self.tokens.update(self._tokens)
        if self.lengths is not None and self.lengths_seen:
            self.lengths.update(self.lengths_seen)
            self.lengths_seen = []
        self._rows, self._hits, self._tokens = [], [], []


def expand(values: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The low `lengths` bits of each value, most significant first, as one row of bits."""
    place = (lengths.cumsum() - 1).repeat(lengths)
    place -= np.arange(len(place))
    bits = values.repeat(lengths)
    bits >>= place
    bits &= 1
    return bits.astype(np.uint8)


def collapse(bits: NDArray[np.uint8], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """What `expand` made rows of bits of."""
    owner = np.arange(len(lengths)).repeat(lengths)
    place = (lengths.cumsum() - 1).take(owner)
    place -= np.arange(len(owner))
    parts = np.left_shift(bits, place, dtype=np.int64)
    # Sums of distinct powers of two below 2^32: exact in float64.
    return np.bincount(owner, weights=parts, minlength=len(lengths)).astype(np.int64)


class Reader:
    """Decodes coefficients.

    Parameters
    ----------
    rans : RansReader
    models : Statistics, optional
    hidden : int
        Non-zeros that a group is expected to have, of which one sign is hidden; 0 for none.
    """

    def __init__(
        self, rans: RansReader, models: Statistics | None = None, *, hidden: int = 0
    ) -> None:
        self._rans = rans
        self._hidden = hidden
        self.apart: slice | Indices = slice(None)
        """Of the last phase's non-zeros, those whose signs are not hidden."""
        self.models = models or Statistics()
        self.boards: dict[tuple[int, int], Board] = {}
        """What the maps of first components are written on, by their size."""

    def phase(self, rows: Indices, target: Target | None, *, signs: bool) -> tuple[Indices, Values]:
        """Places and values of the non-zeros of one phase, or their magnitudes."""
        models, rans = self.models, self._rans
        zero = models.flags.zero.take(rows)
        flags, hit = rans.flags(zero)
        row = rows.take(hit)
        coded = rans.tokens(row >> 1, models.tokens)
        models.see(rows, flags, row, coded)
        m = coded & (TOKENS - 1)
        escaped = (m == ESCAPE).nonzero()[0]
        if len(escaped):
            lengths = self._lengths(len(escaped))
            rest = collapse(rans.raw(int(lengths.sum())), lengths)
            m[escaped] += rest + (np.int64(1) << lengths) - 1
        # Where large ones are expected low bits are raw: in most phases nowhere.
        large = (row >= models.shifted).nonzero()[0]
        if len(large):
            shift = models.shift.take(row.take(large))
            m[large] = (m.take(large) << shift) + collapse(rans.raw(int(shift.sum())), shift)
        m += 1
        if len(escaped) and int(m.max()) >= LARGEST:
            raise FormatError("packed stream: a coefficient is out of range")
        values = m.astype(np.int32)
        self.apart = slice(None)
        if self._hidden and len(hit) >= hiding.LEAST:
            self._tell(hiding.groups(zero, self._hidden, hit), values, signs=signs)
        elif signs:
            values *= _SIGNS.take(rans.raw(len(hit)))
        return hit, values

    def _tell(self, group: NDArray[np.int64], values: Values, *, signs: bool) -> None:
        """Give those non-zeros their signs that magnitudes tell, and with `signs` the others."""
        first, odd, _ = hiding.hidden(group, values)
        self.apart = hiding.others(len(values), first)
        negative = np.zeros(len(values), np.uint8)
        if signs:
            negative[self.apart] = self._rans.raw(len(self.apart))
        negative[first] = odd
        values *= _SIGNS.take(negative)

    def _lengths(self, count: int) -> NDArray[np.int64]:
        """Bits of what escaped each of so many tokens, beyond the first."""
        rans, model = self._rans, self.models.lengths
        if model is None:
            return collapse(rans.raw(LENGTH * count), np.full(count, LENGTH, np.int64))
        found = rans.tokens(np.zeros(count, np.intp), model)
        self.models.lengths_seen.append(found)
        long = found == ESCAPE
        result = found.astype(np.int64)
        many = int(long.sum())
        result[long] = collapse(rans.raw(LENGTH * many), np.full(many, LENGTH, np.int64))
        return result


class Writer:
    """Quantises coefficients and collects their symbols.

    Parameters
    ----------
    zero, rise : float
        What one bit is worth, in squared quantiser steps, when it is asked whether a
        coefficient becomes zero, and whether its magnitude is rounded up.
    hidden : int
        As of Reader.
    """

    def __init__(
        self, rans: RansWriter, *, zero: float, rise: float, models: Statistics | None = None,
        hidden: int = 0,
    ) -> None:  # fmt: skip
        self._rans = rans
        self._hidden = hidden
        self._zero, self._rise = zero / 2, rise / 2
        self.models = models or Statistics()
        self.boards: dict[tuple[int, int], Board] = {}
        # The models' tables, and the limits that follow from them until they learn.
        self._limits: _Limits | None = None
        self._tables: dict[int, tuple[NDArray[np.integer], NDArray[np.uint16]]] = {}
        self.signs: list[int] = []
        """Passes of raw bits that are signs, one for each phase."""

    def phase(self, rows: Indices, target: Target | None, *, signs: bool) -> tuple[Indices, Values]:
        """Quantise `target` and collect it; places and values of the non-zeros.

        Signs are always collected, each phase in a pass of its own: those that stand
        elsewhere are withdrawn from the stream in the end.
        """
        if target is None:
            raise ValueError("nothing to write")
        models, limits = self.models, self._thresholds()
        x = np.abs(target)
        flags = x > limits.threshold.take(rows)
        hit = flags.nonzero()[0]
        row, xs = rows.take(hit), x.take(hit)
        m = xs.astype(np.int64)
        np.maximum(m, 1, out=m)
        step = m - 1
        if len(row) and int(row.max()) >= models.shifted:
            step >>= models.shift.take(row)
        np.minimum(step, ESCAPE - 1, out=step)
        row >>= 1
        row *= ESCAPE
        step += row
        m += xs - m > limits.rise.take(step)
        np.minimum(m, LARGEST - 2, out=m)  # a hidden sign may ask for one more
        negative = target < 0
        told = None
        if self._hidden and len(hit) >= hiding.LEAST:
            zero = models.flags.zero.take(rows)
            rising = limits.rising

            def costs(places: Indices, m: NDArray[np.int64]) -> tuple[Any, Any]:
                """What one more than a magnitude costs, and it more than one less."""
                index = rows.take(places)
                index *= TOKENS + 1
                index += np.minimum(m, TOKENS)
                more = rising.take(index)
                index -= 1
                return more, rising.take(index)

            hit, m, told = hiding.suit(x, negative, hit, m, zero, self._hidden, costs)
            flags.fill(False)
            flags[hit] = True
        values = m.astype(np.int32)
        negative = negative.take(hit)
        values *= _SIGNS.take(negative.view(np.uint8))
        self._collect(rows, flags, hit, m, negative, told)
        return hit, values

    def _thresholds(self) -> _Limits:
        """What the quantiser goes by until the models learn."""
        models = self.models
        zero, frequency = models.flags.zero, models.tokens.frequency
        if self._limits and self._limits.zero is zero and self._limits.frequency is frequency:
            return self._limits
        p = zero / TOTAL
        bits = np.log2(frequency / models.tokens.total)  # of tokens, and negative
        rows = np.arange(len(p))
        first = np.log2(p)
        first -= np.log2(1 - p)
        first += 1
        first -= bits[:, 0].take(rows >> 1)
        threshold = self._zero * first
        threshold += 0.5
        threshold[models.flags.pads] = np.inf
        dearer = bits[:, :-1] - bits[:, 1:]
        rise = self._rise * dearer
        rise /= (1 << models.shift[np.minimum(rows[: 2 * len(bits) : 2], 31)])[:, None]
        np.clip(rise, -0.1, 0.45, out=rise)
        rise += 0.5
        # A zero stands before the tokens. Where low bits are raw one more costs hardly any.
        rising = np.zeros((len(p), TOKENS + 1), np.float32)
        rising[:, 0] = first
        rising[:, 1:TOKENS] = dearer.take(rows >> 1, axis=0)
        rising[models.shifted :, 1:] = 0
        rising *= 2 * self._zero
        self._limits = _Limits(zero, frequency, threshold.astype(np.float32), rise, rising)
        return self._limits

    def collect(
        self, rows: Indices, flags: NDArray[np.bool_], hit: Indices, values: Values
    ) -> None:
        """Collect one phase: which are non-zero, where, and their values."""
        self._collect(rows, flags, hit, np.abs(values).astype(np.int64), values < 0)

    def _collect(
        self, rows: Indices, flags: NDArray[np.bool_], hit: Indices,
        m: NDArray[np.int64], negative: NDArray[np.bool_], told: Indices | None = None,
    ) -> None:  # fmt: skip
        """Collect one phase, by magnitudes and signs; of `told` some are told by magnitudes."""
        models, rans = self.models, self._rans
        zero, frequency = self._narrow(models.flags.zero), self._narrow(models.tokens.frequency)
        number = rans.flags(rows, flags, zero)
        coded = m - 1
        row = rows.take(hit)
        shift = None
        if len(row) and int(row.max()) >= models.shifted:
            shift = models.shift.take(row)
            coded >>= shift
        tokens = np.minimum(coded, ESCAPE)
        index = row >> 1
        index *= TOKENS
        index += tokens
        rans.tokens(index, number, frequency)
        models.see(rows, flags, row, index)
        escaped = (tokens == ESCAPE).nonzero()[0]
        if len(escaped):
            rest = coded[escaped] - ESCAPE + 1
            lengths = np.frexp(rest.astype(np.float64))[1].astype(np.int64) - 1
            self._lengths(lengths)
            rans.raw(expand(rest, lengths))
        if shift is not None:
            rans.raw(expand(m - 1, shift))
        if told is not None:
            negative = negative.take(hiding.others(len(negative), told))
        self.signs.append(rans.raw(negative.view(np.uint8)))

    def _narrow(self, table: NDArray[np.integer]) -> NDArray[np.uint16]:
        """A table of the models in 16 bits, the same one until they learn."""
        kept = self._tables.get(table.ndim)
        if kept is None or kept[0] is not table:
            kept = self._tables[table.ndim] = table, table.astype(np.uint16)
        return kept[1]

    def _lengths(self, lengths: NDArray[np.int64]) -> None:
        """Collect how many bits what escaped has, beyond the first."""
        rans, model = self._rans, self.models.lengths
        if model is None:
            rans.raw(expand(lengths, np.full(len(lengths), LENGTH, np.int64)))
            return
        tokens = np.minimum(lengths, ESCAPE)
        rans.among(tokens, model.frequency[0].astype(np.uint16))
        self.models.lengths_seen.append(tokens)
        long = lengths[tokens == ESCAPE]
        rans.raw(expand(long, np.full(len(long), LENGTH, np.int64)))
