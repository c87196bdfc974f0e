"""The walk over all components, which the encoder and the decoder take alike."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.layouts.lapped import Floats
from lowrank.stores.packed.coding import wavelet
from lowrank.stores.packed.coding.payload import FRACTION
from lowrank.stores.packed.patches import chroma, means, prediction
from lowrank.stores.packed.patches.chroma import FromLuma
from lowrank.stores.packed.patches.contexts import CAP, Board, Phase, Quarters
from lowrank.stores.packed.patches.header import Header, is_squared
from lowrank.stores.packed.patches.order import NEIGHBOURS, Component, predictors
from lowrank.stores.packed.patches.phases import Reader, Writer

if TYPE_CHECKING:
    from lowrank.stores.packed.patches.eye import Gains


RARE = 16
"""Context rows below which values are taken farther from zero than they say, or nearer to it."""


class Walk:
    """The order of coding, the contexts and the reconstruction: both sides take it."""

    def __init__(
        self,
        shape: tuple[int, int],
        header: Header,
        groups: list[list[Component]],
        coder: Reader | Writer,
        bits: int,
        gains: Gains | None = None,
    ) -> None:
        self.gains = gains
        self.shape, self.header, self.coder = shape, header, coder
        channels = len(header.scales)
        self.quarters = Quarters(*shape)
        self.memory = prediction.Memory(self.quarters)
        plan = [one for group in groups for one in group]
        self.known = np.zeros((channels + len(plan), self.quarters.size), np.uint8)
        self.count = channels
        self._predictors = predictors(groups, channels, colour=header.turn is not None)
        others = self._predictors[1][..., NEIGHBOURS:]
        self._crossed: list[bool] = np.logical_or.reduce(others, axis=(1, 2, 3)).tolist()
        self._boards: dict[int, tuple[Board, Floats, Floats]] = {}
        """By maps of a batch what they are written on, and room for what goes there."""
        self.float = np.dtype(np.float32 if bits <= 8 else np.float64)
        self._chroma: FromLuma | None = None
        self._pairs: frozenset[Component] = frozenset()
        if header.crossed:
            self._pairs = chroma.pairs(header.scales)
            self._chroma = FromLuma(self.quarters, self._pairs, self.float)
        self.firsts: list[Floats] = []
        self.indices: list[list[int]] = [[] for _ in range(channels)]
        self._patches = shape[0] * shape[1]
        self._flat = np.zeros(len(plan) * self._patches, self.float)
        of = np.array([x.channel for x in plan], np.intp)
        counts = np.bincount(of, minlength=channels).tolist()
        self._starts = [0, *accumulate(counts[:-1])]
        grids = self._flat.reshape(-1, *shape)
        self.maps = [grids[i : i + n] for i, n in zip(self._starts, counts, strict=True)]
        """Coefficients of each channel's components, in sixteenths of a step."""
        self.symbols = (channels + len(plan)) * self.quarters.size
        self._bands: means.Bands | None = None
        self._unsigned: list[NDArray[np.signedinteger[Any]]] = []
        self._places = np.dtype(np.int32 if self._flat.size < 1 << 31 else np.intp)

    def scales_of(
        self, channel: int
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """By how much the components, and the patches, of a channel are divided, if they are."""
        if self.gains is None or self.header.is_alpha(channel):
            return None, None
        from lowrank.stores.packed.patches import eye

        squared = is_squared(self.header.version, channel)
        return eye.spread(self.header.power, squared=squared), eye.factors(self.gains)

    def first(
        self, channel: int, target: list[dict[str, NDArray[np.float32]]] | None = None
    ) -> None:
        """Code the first component of a channel."""
        bands = means.code(self.shape, self.coder, self._bands, target)
        if channel == 0:
            self._bands = bands
        low = self.header.coarsest[channel].astype(self.float)
        levels = [{k: v.astype(self.float) for k, v in b.items()} for b in bands]
        mean = wavelet.inverse(low, levels)
        self.firsts.append(mean)
        self.memory.means(channel, mean)
        self.known[channel] = self.quarters.scatter(means.gradient(mean.astype(np.float32)))

    def next(
        self,
        batch: list[Component],
        targets: list[NDArray[np.float32]] | None = None,
        *,
        signs: bool = True,
    ) -> None:
        """Code a batch of components after the first ones.

        Parameters
        ----------
        batch : list of Component
        targets : list of (size,) ndarray, optional
            What to quantise, in steps, when writing.
        signs : bool
            Whether the signs stand with the magnitudes; if not, `sign` gives them.
        """
        shape, count = self.quarters, len(batch)
        board, own = self._expect(count)
        known = board.known.reshape(-1)
        lines = self._lines(batch)
        weights = [prediction.weights(x.index) for x in batch]
        cross = self._chroma
        told = [cross.guess(x) if cross else None for x in batch]
        paired = not self._pairs.isdisjoint(batch)
        coded = np.zeros((count if paired else 0, shape.size), self.float)
        # What is predicted is kept in planes, too, where its neighbours look for it.
        plain = np.array([w is None and t is None for w, t in zip(weights, told, strict=True)])
        foretold = (~plain).nonzero()[0].tolist()
        kept = np.zeros((count if foretold else 0, shape.size), self.float)
        for phase in shape.phases:
            rows = board.rows(phase, own)
            target = None
            if targets is not None:
                target = np.concatenate([phase.cut(t) for t in targets], axis=None)
            for i in foretold:
                part = None
                if target is not None:
                    part = target[i * phase.count : (i + 1) * phase.count]
                self._foretell(batch[i], weights[i], told[i], phase, kept[i], part)
            hit, q = self.coder.phase(rows.reshape(-1), target, signs=signs)
            cells = phase.cells(count).take(hit)
            known[cells] = np.minimum(np.abs(q), CAP)
            q *= FRACTION
            if len(coded):
                coded.reshape(-1)[cells] = q
            if self.header.farther:
                away = (q >> 31) | 1  # with the sign of each
                away *= rows.reshape(-1).take(hit) < RARE
                away *= self.header.farther
                q += away
            if foretold:
                kept.reshape(-1)[cells] += q
                if count == 1:
                    continue
                some = plain.take(hit // phase.count)
                hit, q = hit[some], q[some]
            # A place beyond the edge, of a hostile file, is the last of the map.
            if count == 1:
                here = phase.where.take(hit)
                here += lines[0]
            else:
                here = (lines + phase.where).reshape(-1).take(hit)
            self._flat[here] = q
            if not signs and isinstance(self.coder, Reader):
                self._unsigned.append(here[self.coder.apart].astype(self._places, copy=False))
        self.coder.models.learn()
        self.known[self.count : self.count + count] = board.known
        self.count += count
        for i, (x, w) in enumerate(zip(batch, weights, strict=True)):
            if cross is not None and x in self._pairs:
                cross.learn(x, coded[i], told[i])
            if not plain[i]:
                line = int(lines[i, 0])
                grid = self._flat[line : line + self._patches].reshape(self.shape)
                shape.gather(kept[i], grid)
            if w is not None:
                self.memory.add(x.channel, x.index, kept[i])
            self.indices[x.channel].append(x.index)

    def _foretell(
        self, x: Component, weights: prediction.Weights | None, told: Floats | None, phase: Phase,
        kept: Floats, target: NDArray[np.float32] | None,
    ) -> None:  # fmt: skip
        """Put what patches, and luma, foretell of a component in its places, and off its target."""
        guess: Floats | None = None if told is None else phase.cut(told).reshape(-1)
        if weights is not None:
            along = self.memory.predict(x.channel, x.index, weights, phase, kept)
            guess = along if guess is None else along + guess
        if guess is None:
            return
        places = phase.cut(kept)
        places[:] = guess.reshape(places.shape)
        if target is not None:
            target -= guess * np.float32(1 / FRACTION)

    def _lines(self, batch: list[Component]) -> NDArray[np.intp]:
        """(components, 1) where the map of each starts, of those that are still zero."""
        used = [len(indices) for indices in self.indices]
        lines = []
        for x in batch:
            lines.append(self._starts[x.channel] + used[x.channel])
            used[x.channel] += 1
        return np.array(lines, np.intp)[:, None] * self._patches

    def sign(self, bits: NDArray[np.uint8]) -> None:
        """Give the components that were coded without them their signs."""
        if sum(map(len, self._unsigned)) > len(bits):
            raise FormatError("packed stream: more late signs than room for them")
        at = 0
        for places in self._unsigned:
            negative = places[bits[at : at + len(places)].nonzero()[0]]
            self._flat[negative] = -self._flat[negative]
            at += len(places)

    def _expect(self, count: int) -> tuple[Board, NDArray[np.int32]]:
        """What the next maps are written on, with what others let expect; weights of their own."""
        shape, known = self.quarters, self.known
        if count not in self._boards:
            sums = np.empty((count, 3, 4, shape.plane), np.float32)
            room = np.empty((count, self._predictors[0].shape[1], shape.plane), np.float32)
            self._boards[count] = Board(shape, count), sums, room
        board, sums, room = self._boards[count]
        rows, weights, own = self._predictors
        first = self.count - len(self.header.scales)
        part = slice(first, first + count)
        used, W = rows[part], weights[part]
        if not any(self._crossed[part]):  # no other channel tells of them
            used, W = used[:, :NEIGHBOURS], W[..., :NEIGHBOURS]
        K, planes = room[:, : used.shape[1]], known.reshape(len(known), 4, -1)
        for p in range(4):  # which stays in a cache
            K[:] = planes[used, p]
            np.matmul(W[:, p], K, out=sums[:, :, p])
        board.expect(sums.reshape(count, 3, shape.size))
        return board, own[:, part]

    def empty_first(self, channel: int) -> None:
        """Take the first component's coarsest map alone, its bands as zeros."""
        _, levels = wavelet.band_shapes(*self.shape)
        bands = [{k: np.zeros(s, self.float) for k, s in level.items()} for level in levels]
        low = self.header.coarsest[channel].astype(self.float)
        self.firsts.append(wavelet.inverse(low, bands))

    def keep(self, kept: set[Component]) -> None:
        """Forget the other components."""
        for c, indices in enumerate(self.indices):
            here = [i for i, index in enumerate(indices) if Component(c, index) in kept]
            self.indices[c] = [indices[i] for i in here]
            self.maps[c] = self.maps[c][here]


def leaves_of(groups: list[list[Component]], header: Header) -> list[int]:
    """Batches whose signs predict nothing."""
    pairs = chroma.pairs(header.scales) if header.crossed else frozenset()
    return [
        number
        for number, batch in enumerate(groups)
        if pairs.isdisjoint(batch) and not any(prediction.weights(x.index) for x in batch)
    ]
