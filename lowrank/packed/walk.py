"""The walk over all components, which the encoder and the decoder take alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lowrank.packed import first, wavelet
from lowrank.packed.components import Component, Predictors
from lowrank.packed.contexts import CAP, Quarters
from lowrank.packed.lapped import Floats
from lowrank.packed.maps import Reader, Writer, traverse
from lowrank.packed.stream import Header
from lowrank.packed.synthesis import FRACTION


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
        self.known = np.zeros((channels + len(plan), self.quarters.size), np.uint8)
        self.count = channels
        self.predictors = Predictors(channels)
        self.float = np.dtype(np.float32 if bits <= 8 else np.float64)
        self.firsts: list[Floats] = []
        self.maps: list[list[NDArray[np.int32]]] = [[] for _ in range(channels)]
        self.indices: list[list[int]] = [[] for _ in range(channels)]
        self.symbols = (channels + len(plan)) * self.quarters.size
        self._bands: first.Bands | None = None

    def first(
        self, channel: int, target: list[dict[str, NDArray[np.float32]]] | None = None
    ) -> None:
        """Code the first component of a channel."""
        bands = first.code(self.shape, self.coder, self._bands, target)
        if channel == 0:
            self._bands = bands
        low = self.header.coarsest[channel].astype(self.float)
        levels = [{k: self.restore(v, channel) for k, v in b.items()} for b in bands]
        mean = wavelet.inverse(low, levels)
        self.firsts.append(mean)
        self.known[channel] = self.quarters.scatter(first.gradient(mean.astype(np.float32)))

    def restore(self, q: NDArray[np.int32], channel: int) -> Floats:
        """Coefficients in steps."""
        return self.sixteenths(q, channel).astype(self.float) / self.float.type(FRACTION)

    def sixteenths(self, q: NDArray[np.int32], channel: int) -> NDArray[np.int32]:
        """Coefficients in sixteenths of a step: magnitudes less the offsets."""
        one, more = self.header.offsets[channel]
        size = np.abs(q)
        table = np.array([0, one, more], np.int32)
        return np.sign(q) * (size * FRACTION - table[np.minimum(size, 2)])

    def next(self, batch: list[Component], target: Floats | None = None) -> None:
        """Code a batch of components after the first ones."""
        size = self.quarters.size
        sums = np.empty((len(batch), 9, size), np.float32)
        own = np.empty((3, len(batch), 1), np.float32)
        for i, component in enumerate(batch):
            rows, W, weights = self.predictors.weights(
                component, colour=self.header.turn is not None
            )
            np.matmul(W, self.known[rows].astype(np.float32), out=sums[i])
            own[:, i, 0] = weights
        if target is not None and isinstance(self.coder, Writer):
            self.coder.target = np.stack([self.quarters.scatter(x) for x in target])
        m = traverse(self.quarters, sums, own, self.coder)
        signed = self.coder.signs(m)
        np.minimum(m, CAP, out=m)
        self.known[self.count : self.count + len(batch)] = m
        self.count += len(batch)
        for component, q in zip(batch, signed, strict=True):
            self.predictors.add(component)
            self.maps[component.channel].append(self.quarters.gather(q))
            self.indices[component.channel].append(component.index)

    def empty_first(self, channel: int) -> None:
        """Take the first component's coarsest map alone, its bands as zeros."""
        _, levels = wavelet.band_shapes(*self.shape)
        bands = [{k: np.zeros(s, self.float) for k, s in level.items()} for level in levels]
        low = self.header.coarsest[channel].astype(self.float)
        self.firsts.append(wavelet.inverse(low, bands))

    def keep(self, plan: list[Component]) -> None:
        """Forget the components that are not in `plan`."""
        kept = set(plan)
        for c, indices in enumerate(self.indices):
            here = [i for i, index in enumerate(indices) if Component(c, index) in kept]
            self.indices[c] = [indices[i] for i in here]
            self.maps[c] = [self.maps[c][i] for i in here]
