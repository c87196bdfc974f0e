"""One component's map of coefficients to and from the stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.packed.contexts import CAP, PAD, Quarters, expected
from lowrank.packed.entropy import RansReader, RansWriter
from lowrank.packed.models import SHIFT, TOKENS, TOTAL, FlagModel, TokenModel

Magnitudes = NDArray[np.int32]
ESCAPE = TOKENS - 1
LENGTH = 5
"""Bits of the length of an escaped magnitude's remainder."""


class Statistics:
    """The models, and what was coded since they last learnt."""

    def __init__(self) -> None:
        self.flags = FlagModel()
        self.tokens = TokenModel()
        self._seen: list[tuple[NDArray[np.intp], NDArray[np.bool_]]] = []
        self._tokens: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []

    def see(self, rows: NDArray[np.intp], flags: NDArray[np.bool_]) -> None:
        """Remember a pass of flags."""
        self._seen.append((rows, flags))

    def see_tokens(self, rows: NDArray[np.intp], tokens: NDArray[np.intp]) -> None:
        """Remember a pass of tokens."""
        self._tokens.append((rows, tokens))

    def learn(self) -> None:
        """Update the models at the end of a map."""
        if self._seen:
            rows, flags = (np.concatenate(parts) for parts in zip(*self._seen, strict=True))
            self.flags.update(rows, flags)
        if self._tokens:
            pairs, tokens = (np.concatenate(parts) for parts in zip(*self._tokens, strict=True))
            self.tokens.update(pairs, tokens)
        self._seen, self._tokens = [], []


def traverse(
    shape: Quarters,
    sums: NDArray[np.float32],
    own: NDArray[np.float32],
    coder: Reader | Writer,
) -> Magnitudes:
    """Magnitudes of some maps, phase by phase; the same walk on both sides.

    Parameters
    ----------
    sums, own
        As in contexts.expected.
    """
    result = np.zeros((len(sums), shape.size), np.int32)
    known = np.zeros(result.shape, np.float32)
    for planes, pads in shape.phases:
        phase = min(planes[0], 2)
        rows = expected(shape, sums, known, own, phase, planes)
        rows[:, pads] = PAD
        places = [shape.spans[plane] for plane in planes]
        m = coder.magnitudes(rows.ravel(), places).reshape(rows.shape)
        for i, place in enumerate(places):
            part = m[:, i * shape.count : (i + 1) * shape.count]
            result[:, place] = part
            if phase < 2:
                np.minimum(part, CAP, out=known[:, place], casting="unsafe")
    coder.models.learn()
    return result


def _expand(values: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The low `lengths` bits of each value, most significant first, as one row of bits."""
    owner = np.repeat(np.arange(len(values)), lengths)
    ends = np.cumsum(lengths)
    place = ends[owner] - 1 - np.arange(len(owner))
    return (values[owner] >> place & 1).astype(np.uint8)


def _collapse(bits: NDArray[np.uint8], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    owner = np.repeat(np.arange(len(lengths)), lengths)
    place = np.cumsum(lengths)[owner] - 1 - np.arange(len(owner))
    parts = bits.astype(np.int64) << place
    # Sums of distinct powers of two below 2^32: exact in float64.
    return np.bincount(owner, weights=parts, minlength=len(lengths)).astype(np.int64)


class Reader:
    """Decodes magnitudes and signs."""

    def __init__(self, rans: RansReader) -> None:
        self._rans = rans
        self.models = Statistics()

    def magnitudes(self, rows: NDArray[np.intp], places: list[slice]) -> Magnitudes:
        """Decode one phase."""
        models = self.models
        flags = self._rans.flags(models.flags.zero[rows])
        models.see(rows, flags)
        hit = flags.nonzero()[0]
        result = np.zeros(len(rows), np.int32)
        if not len(hit):
            return result
        row = rows[hit]
        pair = row >> 1
        tokens = self._rans.tokens(pair, models.tokens.cumulative)
        models.see_tokens(pair, tokens)
        m = tokens.astype(np.int64)
        escaped = (tokens == ESCAPE).nonzero()[0]
        if len(escaped):
            lengths = _collapse(
                self._rans.raw(LENGTH * len(escaped)), np.full(len(escaped), LENGTH, np.int64)
            )
            rest = _collapse(self._rans.raw(int(lengths.sum())), lengths)
            m[escaped] += rest + (np.int64(1) << lengths) - 1
        shift = SHIFT[row]
        if shift.any():
            m = (m << shift) + _collapse(self._rans.raw(int(shift.sum())), shift)
        if int(m.max()) >= 1 << 26:
            raise FormatError("packed stream: a coefficient is out of range")
        result[hit] = m + 1
        return result

    def signs(self, magnitudes: Magnitudes) -> NDArray[np.int32]:
        """Signed values of whole maps."""
        result = magnitudes.copy()
        flat = result.reshape(-1)
        hit = flat.nonzero()[0]
        negative = hit[self._rans.raw(len(hit)).nonzero()[0]]
        flat[negative] = -flat[negative]
        return result


class Writer:
    """Quantises a map and collects its symbols.

    Parameters
    ----------
    multiplier : float
        What one bit is worth, in squared quantiser steps.
    """

    def __init__(self, rans: RansWriter, *, multiplier: float) -> None:
        self._rans = rans
        self._multiplier = multiplier
        self.models = Statistics()
        self.target = np.empty((0, 0), np.float32)
        self.bits = 0.0

    def magnitudes(self, rows: NDArray[np.intp], places: list[slice]) -> Magnitudes:
        """Quantise and collect one phase of `target`."""
        models = self.models
        x = np.abs(np.concatenate([self.target[:, place] for place in places], axis=1).ravel())
        zero = models.flags.zero
        cumulative = models.tokens.cumulative
        p = zero / TOTAL
        cost = -np.log2(np.diff(cumulative.astype(np.float64), axis=1) / TOTAL)
        half = self._multiplier / 2
        pairs = np.arange(len(p)) >> 1
        threshold = 0.5 + half * (np.log2(p) - np.log2(1 - p) + 1 + cost[pairs, 0])
        threshold[PAD] = np.inf
        flags = x > threshold.astype(np.float32)[rows]
        hit = flags.nonzero()[0]
        result = np.zeros(len(rows), np.int32)
        f = zero[rows]
        bound = np.where(flags, f, 0)
        self._rans.symbols(bound.astype(np.uint16), np.where(flags, TOTAL - f, f).astype(np.uint16))
        models.see(rows, flags)
        if not len(hit):
            return result
        row = rows[hit]
        pair = row >> 1
        xs = x[hit]
        m = np.maximum(xs.astype(np.int64), 1)
        shift = SHIFT[row]
        step = np.minimum((m - 1) >> shift, ESCAPE - 1)
        rise = (
            half
            * np.diff(cost, axis=1)
            / (1 << SHIFT[np.minimum(2 * np.arange(len(cost)), 31)])[:, None]
        )
        m += xs - m > 0.5 + np.clip(rise, -0.1, 0.45)[pair, step]
        coded = (m - 1) >> shift
        tokens = np.minimum(coded, ESCAPE)
        self._rans.symbols(
            cumulative[pair, tokens].astype(np.uint16),
            (cumulative[pair, tokens + 1] - cumulative[pair, tokens]).astype(np.uint16),
        )
        models.see_tokens(pair, tokens)
        escaped = (tokens == ESCAPE).nonzero()[0]
        if len(escaped):
            rest = coded[escaped] - ESCAPE + 1
            lengths = np.frexp(rest.astype(np.float64))[1].astype(np.int64) - 1
            self._rans.raw(_expand(lengths, np.full(len(lengths), LENGTH, np.int64)))
            self._rans.raw(_expand(rest, lengths))
        if shift.any():
            self._rans.raw(_expand(m - 1, shift))
        result[hit] = m
        return result

    def signs(self, magnitudes: Magnitudes) -> NDArray[np.int32]:
        """Signed values of whole maps, their signs collected."""
        negative = self.target < 0
        self._rans.raw(negative[magnitudes > 0].astype(np.uint8))
        result = magnitudes.copy()
        np.negative(result, where=negative, out=result)
        return result
