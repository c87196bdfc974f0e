"""The walk over all components, which the encoder and the decoder take alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError
from lowrank.layouts.lapped import Floats
from lowrank.stores.packed.coding import wavelet
from lowrank.stores.packed.coding.payload import FRACTION
from lowrank.stores.packed.patches import means, prediction
from lowrank.stores.packed.patches.contexts import CAP, Quarters, expected
from lowrank.stores.packed.patches.header import Header
from lowrank.stores.packed.patches.order import Component, Predictors
from lowrank.stores.packed.patches.phases import Reader, Writer


class Walk:
    """The order of coding, the contexts and the reconstruction: both sides take it."""

    def __init__(
        self,
        shape: tuple[int, int],
        header: Header,
        plan: list[Component],
        coder: Reader | Writer,
        bits: int,
    ) -> None:
        self.shape, self.header, self.coder = shape, header, coder
        channels = len(header.scales)
        self.quarters = Quarters(*shape)
        self.memory = prediction.Memory(self.quarters)
        self.known = np.zeros((channels + len(plan), self.quarters.size), np.uint8)
        self.count = channels
        self.predictors = Predictors(channels)
        self.float = np.dtype(np.float32 if bits <= 8 else np.float64)
        self.firsts: list[Floats] = []
        self.indices: list[list[int]] = [[] for _ in range(channels)]
        self.maps = [
            np.zeros((sum(x.channel == c for x in plan), *shape), self.float)
            for c in range(channels)
        ]
        """Coefficients of each channel's components, in sixteenths of a step."""
        self.symbols = (channels + len(plan)) * self.quarters.size
        self._bands: means.Bands | None = None
        self._unsigned: list[tuple[Floats, NDArray[np.intp]]] = []

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
        shape = self.quarters
        sums, own = self._sums(batch)
        known = np.zeros((len(batch), shape.size), np.float32)
        weights = [prediction.weights(x.index) for x in batch]
        maps = self._maps_of(batch)
        # What is predicted is kept in planes, too, where its neighbours look for it.
        kept = [None if w is None else np.zeros(shape.size, self.float) for w in weights]
        for phase in shape.phases:
            rows = expected(shape, phase, sums, known, own)
            target = None
            if targets is not None:
                target = np.concatenate([t[phase.places] for t in targets])
            for i, (x, w, values) in enumerate(zip(batch, weights, kept, strict=True)):
                if w is not None and values is not None:
                    guess = self.memory.predict(x.channel, x.index, w, phase, values)
                    values[phase.places] = guess
                    if target is not None:
                        whole = target[i * phase.count : (i + 1) * phase.count]
                        whole -= guess * np.float32(1 / FRACTION)
            hit, q = self.coder.phase(rows.ravel(), target, signs=signs)
            size = np.minimum(np.abs(q), CAP)
            ends = np.searchsorted(hit, phase.count * np.arange(len(batch) + 1))
            for i, values in enumerate(kept):
                part = slice(ends[i], ends[i + 1])
                place = phase.places.take(hit[part] - i * phase.count)
                known[i, place] = size[part]
                if values is not None:
                    values[place] += q[part] * FRACTION
                    continue
                here = shape.where.take(place)
                maps[i][here] = q[part] * FRACTION
                if not signs:
                    self._unsigned.append((maps[i], here))
        self.coder.models.learn()
        self.known[self.count : self.count + len(batch)] = known
        self.count += len(batch)
        for x, values, flat in zip(batch, kept, maps, strict=True):
            if values is not None:
                shape.gather(values, flat.reshape(self.shape))
                self.memory.add(x.channel, x.index, values)
            self.predictors.add(x)
            self.indices[x.channel].append(x.index)

    def _maps_of(self, batch: list[Component]) -> list[Floats]:
        """The next maps of the channels, flat, still zero."""
        used = [len(indices) for indices in self.indices]
        maps = []
        for x in batch:
            maps.append(self.maps[x.channel][used[x.channel]].reshape(-1))
            used[x.channel] += 1
        return maps

    def sign(self, bits: NDArray[np.uint8]) -> None:
        """Give the components that were coded without them their signs."""
        if sum(len(places) for _, places in self._unsigned) > len(bits):
            raise FormatError("packed stream: more late signs than room for them")
        at = 0
        for flat, places in self._unsigned:
            negative = places[bits[at : at + len(places)].nonzero()[0]]
            flat[negative] = -flat[negative]
            at += len(places)

    def _sums(self, batch: list[Component]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        shape = self.quarters
        sums = np.empty((len(batch), 3, shape.size), np.float32)
        own = np.empty((3, len(batch), 1), np.float32)
        for i, component in enumerate(batch):
            rows, W, own[:, i, 0] = self.predictors.weights(
                component, colour=self.header.turn is not None
            )
            K = np.empty((len(rows), shape.size), np.float32)
            for k, row in zip(K, rows, strict=True):
                k[:] = self.known[row]
            for plane in range(4):
                part = slice(plane * shape.plane, (plane + 1) * shape.plane)
                np.matmul(W[plane], K[:, part], out=sums[i, :, part])
        return sums, own

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
