"""The packed layout `patches`: an image as quantised low-rank factors of its patches.

SPEC TO BE WRITTEN
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FormatError, TruncatedError
from lowrank.packed import first, wavelet
from lowrank.packed.colour import Turn, principal, rotation
from lowrank.packed.components import Component, Predictors, order, read_scales, write_scales
from lowrank.packed.contexts import CAP, Quarters
from lowrank.packed.entropy import Cut, RansReader, RansWriter
from lowrank.packed.header import BitReader, BitWriter
from lowrank.packed.lapped import SIDE, SIZE, Floats, analyse, grid
from lowrank.packed.maps import Reader, Writer, traverse
from lowrank.packed.synthesis import FRACTION, Channel, basis, render

Samples = NDArray[np.uint8] | NDArray[np.uint16]
MULTIPLIER = 0.11
SYMBOLS_PER_LANE = 1 << 16
LANES = 1 << 14
BATCH = 4608
ALPHA_FINER = 2


@dataclass(frozen=True)
class Header:
    """What precedes the coefficients."""

    step: float
    turn: Turn | None
    alpha: bool
    levels: tuple[int, int] | None
    lanes: int
    offsets: tuple[tuple[int, int], ...]
    scales: list[NDArray[np.int64]]
    rotations: tuple[tuple[tuple[int, int, int], ...], ...]
    coarsest: list[NDArray[np.int64]]

    def step_of(self, channel: int) -> float:
        """Quantiser step of a channel: alpha, the last, has a finer one."""
        last = channel == len(self.scales) - 1
        return self.step / ALPHA_FINER if self.alpha and last else self.step


@dataclass(frozen=True)
class Packed:
    """An encoded image."""

    payload: bytes
    ranks: tuple[int, ...]
    components: int


@dataclass(frozen=True)
class Decoded:
    """A decoded image."""

    samples: Samples
    total: int
    decoded: int


def coarse_step(step: float) -> tuple[int, float]:
    """Code of 16 bits of the nearest step not below 2^-16: exponent and 10 bits."""
    mantissa, exponent = math.frexp(max(step, 2.0**-16))
    m = round((2 * mantissa - 1) * 1024)
    code = min(max((exponent + 15) * 1024 + m, 0), (1 << 16) - 1)
    return code, fine_step(code)


def fine_step(code: int) -> float:
    """The step of a code."""
    exponent, m = divmod(code, 1024)
    return math.ldexp(1 + m / 1024, exponent - 16)


# --- encoder --------------------------------------------------------------------------


def encode(
    samples: Samples, bits: int, step: float, *, alpha: bool | None = None
) -> Packed:
    """Encode an image with one quantiser step."""
    height, width, channels = samples.shape
    if alpha is None:
        alpha = channels in (2, 4)
    code, step = coarse_step(step)
    turn = None
    if channels >= 3:
        pixels = samples[:: max(1, height // 256), :: max(1, width // 256), :3].reshape(-1, 3)
        turn = principal(pixels)
    dtype = np.dtype(np.float32)
    C = analyse(samples, None if turn is None else rotation(turn), dtype)
    levels = None
    if alpha:
        low, high = int(samples[..., -1].min()), int(samples[..., -1].max())
        if low == high or (channels and np.isin(samples[..., -1], (low, high)).all()):
            levels = (low, high)
    shape = grid(height, width)
    scales, firsts = [], []
    for c in range(channels):
        d = step / ALPHA_FINER if alpha and c == channels - 1 else step
        C[:, :, c] *= dtype.type(1 / d)
        scales.append(_scales(C[:, :, c]))
        firsts.append(wavelet.forward(C[0, :, c].copy()))
    if levels is not None and levels[0] == levels[1]:
        scales[-1][:] = 0
        firsts[-1] = wavelet.forward(np.zeros(shape, dtype))
    coarsest = [np.rint(low).astype(np.int64) for low, _ in firsts]
    offsets = tuple((1, 1) for _ in range(channels))
    header = Header(step, turn, alpha, levels, 0, offsets, scales, ((),) * channels, coarsest)
    rans = RansWriter()
    coder = Writer(rans, multiplier=MULTIPLIER)
    plan = order(scales)
    walk = Walk(shape, header, plan, coder, bits)
    for c in range(channels):
        walk.first(c, firsts[c][1])
    for batch in batches(plan, shape[0] * shape[1]):
        walk.next(batch, np.stack([C[x.index, :, x.channel] for x in batch]))
    lanes = int(min(max(1, rans.bits / 4096, walk.symbols / SYMBOLS_PER_LANE), LANES))
    body = rans.finish(lanes)
    head = _write_header(header, code, lanes)
    payload = _varint(len(head)) + head + body
    ranks = tuple(1 + int((s > 0).sum()) for s in scales)
    return Packed(payload, ranks, channels + len(plan))


def _scales(maps: Floats) -> NDArray[np.int64]:
    """Half octaves of the maps' sizes in steps, plus 12; 0 for those not worth keeping."""
    scale = np.zeros(SIZE, np.int64)
    flat = maps.reshape(SIZE, -1)
    for index in range(1, SIZE):
        x = np.abs(flat[index])
        large = x[x > 0.6]
        if not large.size:
            continue
        q = np.floor(large + 0.45)
        gain = float((large * large - (large - q) ** 2).sum())
        if gain > MULTIPLIER * (5.5 * large.size + 20):
            rms = math.sqrt(float(np.dot(x.ravel(), x.ravel())) / x.size)
            scale[index] = max(1, round(2 * math.log2(rms)) + 12)
    return scale


def _write_header(header: Header, code: int, lanes: int) -> bytes:
    out = BitWriter()
    out.bits(code, 16)
    out.bits(int(header.turn is not None), 1)
    out.bits(int(header.alpha), 1)
    for value in header.turn or ():
        out.bits(value + 128, 8)
    if header.alpha:
        out.bits(int(header.levels is not None), 1)
        for value in header.levels or ():
            out.bits(value, 16)
    out.number(lanes, "lanes")
    for c, scale in enumerate(header.scales):
        for value in header.offsets[c]:
            out.bits(value, 3)
        write_scales(out, scale, c)
        out.number(len(header.rotations[c]), "turns")
        first.write_coarsest(out, header.coarsest[c])
    return out.finish()


def _read_header(data: bytes, shape: tuple[int, int], channels: int) -> Header:
    read = BitReader(data)
    step = fine_step(read.bits(16))
    turned, alpha = read.bits(1), read.bits(1)
    if turned and channels < 3 or alpha and channels not in (2, 4):
        raise FormatError("packed stream: a flag does not fit the number of channels")
    turn = (read.bits(8) - 128, read.bits(8) - 128, read.bits(8) - 128) if turned else None
    levels = None
    if alpha and read.bits(1):
        levels = (read.bits(16), read.bits(16))
    lanes = read.number("lanes")
    if not 1 <= lanes <= LANES:
        raise FormatError(f"packed stream: {lanes} interleaved coders, of 1 to {LANES}")
    low, _ = wavelet.band_shapes(*shape)
    offsets, scales, rotations, coarsest = [], [], [], []
    for c in range(channels):
        offsets.append((read.bits(3), read.bits(3)))
        scales.append(read_scales(read, c))
        if read.number("turns"):
            raise FormatError("packed stream: rotations")
        rotations.append(())
        coarsest.append(first.read_coarsest(read, low))
        if int(np.abs(coarsest[-1]).max()) >= 1 << 30:
            raise FormatError("packed stream: a coefficient is out of range")
    return Header(
        step, turn, bool(alpha), levels, lanes, tuple(offsets), scales, tuple(rotations), coarsest
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


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
        self._coder_first = coder

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


def batches(plan: list[Component], patches: int) -> list[list[Component]]:
    """Components coded together: more of them in a small image, where calls cost most."""
    size = min(max(1, BATCH // patches), 32)
    return [plan[i : i + size] for i in range(0, len(plan), size)]


# --- decoder --------------------------------------------------------------------------


def decode(
    payload: bytes,
    height: int,
    width: int,
    channels: int,
    bits: int,
    *,
    components: int | None = None,
    partial: bool = False,
) -> Decoded:
    """Decode an image, or what its first components show of it."""
    walk, total, done = _decode_maps(
        payload, height, width, channels, bits, components=components, partial=partial
    )
    return Decoded(_samples(walk, height, width, bits), total, done)


def _decode_maps(
    payload: bytes,
    height: int,
    width: int,
    channels: int,
    bits: int,
    *,
    components: int | None,
    partial: bool,
) -> tuple[Walk, int, int]:
    shape = grid(height, width)
    header, position = _split_header(payload, shape, channels)
    plan = order(header.scales)
    total = channels + len(plan)
    wanted = total if components is None else min(max(components, 0), total)
    done = 0
    walk = None
    try:
        rans = RansReader(payload[position:], header.lanes)
        walk = Walk(shape, header, plan, Reader(rans), bits)
        if walk.symbols > header.lanes * SYMBOLS_PER_LANE * 2:
            raise FormatError("packed stream: too few interleaved coders for its size")
        for c in range(min(channels, wanted)):
            walk.first(c)
            done += 1
        for batch in batches(plan, shape[0] * shape[1]):
            if done >= wanted:
                break
            walk.next(batch)
            done += len(batch)
    except Cut:
        if not partial:
            raise TruncatedError(
                f"packed stream ends after {done} of {total} components", terms=done, total=total
            ) from None
    if walk is None:
        raise TruncatedError("packed stream ends in its header", terms=0, total=total)
    for c in range(len(walk.firsts), channels):
        low = header.coarsest[c].astype(walk.float)
        _, levels = wavelet.band_shapes(*shape)
        empty = [{k: np.zeros(s, walk.float) for k, s in level.items()} for level in levels]
        walk.firsts.append(wavelet.inverse(low, empty))
    return walk, total, done


def factors(
    payload: bytes, height: int, width: int, channels: int, bits: int
) -> list[NDArray[np.float64]]:
    """The decoded matrices of rank k, in the coordinates of `matrices`, before rounding."""
    walk, _, _ = _decode_maps(
        payload, height, width, channels, bits, components=None, partial=False
    )
    result = []
    for c, mean in enumerate(walk.firsts):
        d = walk.header.step_of(c)
        B = np.zeros((mean.size, SIZE))
        B[:, 0] = mean.ravel() * d
        for index, q in zip(walk.indices[c], walk.maps[c], strict=True):
            B[:, index] = walk.sixteenths(q, c).ravel() * (d / FRACTION)
        result.append(B)
    return result


def _split_header(
    payload: bytes, shape: tuple[int, int], channels: int
) -> tuple[Header, int]:
    size, position = _read_varint(payload)
    head = payload[position : position + size]
    if len(head) < size:
        raise TruncatedError("packed stream ends in its header", terms=0, total=0)
    return _read_header(head, shape, channels), position + size


def read_header(payload: bytes, height: int, width: int, channels: int) -> Header:
    """What a payload says before its coefficients."""
    return _split_header(payload, grid(height, width), channels)[0]


def _read_varint(payload: bytes) -> tuple[int, int]:
    value = 0
    for i in range(4):
        if i >= len(payload):
            raise TruncatedError("packed stream is empty", terms=0, total=0)
        value |= (payload[i] & 127) << 7 * i
        if payload[i] < 128:
            return value, i + 1
    raise FormatError("packed stream: the header's length is out of range")


def _samples(walk: Walk, height: int, width: int, bits: int) -> Samples:
    header, dtype = walk.header, walk.float
    channels = len(header.scales)
    peak = (1 << bits) - 1
    precision = 13 if bits <= 8 else 24
    parts = []
    for c in range(channels):
        d = header.step_of(c)
        B = basis(walk.indices[c], [], precision)
        maps = [walk.sixteenths(q, c) for q in walk.maps[c]]
        stack = np.stack(maps) if maps else np.zeros((0, *walk.shape), np.int32)
        mean = walk.firsts[c] * dtype.type(d / SIDE)
        parts.append(Channel(mean, B, stack, d / FRACTION / (1 << precision)))
    out = np.empty((height, width, channels), np.uint8 if bits <= 8 else np.uint16)
    R = None if header.turn is None else rotation(header.turn).astype(dtype)

    def emit(top: int, block: Floats) -> None:
        y, x, rows, _, columns = block.shape
        if R is not None:
            turned = block[:, :, :, :3].copy()
            for c in range(3):
                block[:, :, :, c] = turned[:, :, :, 0] * R[0, c] + turned[:, :, :, 1] * R[1, c]
                block[:, :, :, c] += turned[:, :, :, 2] * R[2, c]
        block += dtype.type(0.5)
        np.clip(block, 0, peak, out=block)
        pixels = block.astype(out.dtype).transpose(2, 0, 4, 1, 3)
        pixels = pixels.reshape(rows * y, columns * x, channels)
        part = out[top * SIDE : (top + rows) * SIDE]
        part[:] = pixels[: len(part), :width]

    render(parts, emit, dtype)
    if header.levels is not None:
        low, high = header.levels
        last = out[..., -1].astype(np.int64)
        out[..., -1] = np.where(2 * last > low + high, high, low)
    return out
