"""What packed stacks take of memory: bytes that are held at once, counted, for each sample."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lowrank

SIDE = 128


def noise(frames: int) -> np.ndarray:
    """What nothing compresses: every plane and every component is kept."""
    return np.random.default_rng(7).integers(0, 65536, (frames, SIDE, SIDE)).astype(np.uint16)


def low(frames: int) -> np.ndarray:
    """Four maps, and a little noise."""
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:SIDE, :SIDE] / 20
    maps = [np.sin(x * (1 + k)) * np.cos(y * (2 + k)) for k in range(4)]
    A = 2000 + 100 * np.tensordot(rng.normal(size=(frames, 4)), maps, 1)
    return np.rint(A + rng.normal(size=A.shape)).astype(np.uint16)


def floats(frames: int) -> np.ndarray:
    """The same as numbers of 32 bits, which are packed as levels of 16."""
    return low(frames).astype(np.float32) / 7


def colours(frames: int) -> np.ndarray:
    """The same in three channels of 8 bits."""
    A = low(frames)[..., None] + np.array([0, 60, -90])
    return np.clip(A / 16, 0, 255).astype(np.uint8)


class Peak:
    """The most bytes that are held at once, but for those that numpy counts twice.

    From numpy 2.5 on `ndarray.resize` tells what it resizes, which stays in its place, once more
    before it tells that the old one is gone: what it tells meanwhile is left out.
    """

    def __init__(self) -> None:
        self._before = 0

    def look(self, frame: object, event: str, function: object) -> None:
        """A profile function: it leaves out what happens in `resize`."""
        if getattr(function, "__name__", None) == "resize":
            if event == "c_call":
                self._before = self.most()
            else:
                tracemalloc.reset_peak()

    def most(self) -> int:
        """The peak until now, in bytes."""
        return max(self._before, tracemalloc.get_traced_memory()[1])


def counts_twice() -> bool:
    """Whether this numpy tells tracemalloc of an array twice while it resizes it."""
    array = np.empty(1 << 24, np.uint8)
    tracemalloc.reset_peak()
    array.resize(array.size - 1, refcheck=False)
    return tracemalloc.get_traced_memory()[1] > 3 * array.size // 2


def peak(work: Callable[[], Any]) -> tuple[Any, int]:
    """What some work gives, and the most bytes that it holds at once."""
    tracemalloc.start()
    held = Peak()
    try:
        if counts_twice():
            threading.setprofile(held.look)
            sys.setprofile(held.look)
        tracemalloc.reset_peak()
        result = work()
        return result, held.most()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        tracemalloc.stop()


# Between two sizes, so that what every stack takes alike does not count. All planes of these are
# one group, which is kept in more than one form: of a stack of several, most are not.
@pytest.mark.parametrize(
    ("make", "sizes", "target", "encoding", "decoding"),
    [
        (noise, (4, 7), {"quality": 75}, None, 3.5),
        (low, (24, 72), {"quality": 90}, 5.5, 2.5),
        (floats, (24, 72), {"quality": 60}, 9.4, 4.5),
        (colours, (16, 32), {"psnr": 40}, 5.5, 2),
    ],
    ids=["noise", "low rank", "floats", "colours"],
)
def test_a_packed_stack_takes_so_many_bytes_for_each_sample(
    make, sizes, target, encoding, decoding
):
    lowrank.open(lowrank.compress(make(2), stack=True, **target).to_bytes()).to_array()
    found = []
    for frames in sizes:
        A = make(frames)
        encode = lambda A=A: lowrank.compress(A, stack=True, **target).to_bytes()  # noqa: E731
        # To count takes twice as long as to encode, and noise takes long as it is.
        data, first = peak(encode) if encoding else (encode(), 0)
        B, second = peak(lambda data=data: lowrank.open(data).to_array())
        assert B.shape == A.shape
        found.append((A.nbytes + first, second, A.size))
    *taken, added = (b - a for a, b in zip(*found, strict=True))
    most = [x / added for x in taken]
    assert encoding is None or most[0] <= encoding
    assert most[1] <= decoding


# What does not grow with the stack counts here. Samples of 32 bits are most of what is held.
@pytest.mark.parametrize("kind", [np.uint16, np.float32], ids=["integers", "floats"])
def test_half_a_million_samples_of_noise_are_decoded_in_six_bytes_each(kind):
    A = noise(32).astype(kind)
    data = lowrank.compress(A, stack=True, quality=60).to_bytes()
    lowrank.open(lowrank.compress(A[:2], stack=True, quality=60).to_bytes()).to_array()
    B, taken = peak(lambda: lowrank.open(data).to_array())
    assert B.dtype == A.dtype
    assert taken <= 6 * A.size


def doubles(frames: int) -> np.ndarray:
    """The same as numbers of 64 bits, which are kept as those of 32."""
    return floats(frames).astype(np.float64) * (1 + 1e-9)


# What does not grow with the stack counts here: a search holds coefficients and tries of it. Floats
# are levels of 16 bits, too. Of a quarter of a million samples, tables and work are much.
@pytest.mark.parametrize(
    ("make", "frames", "most"),
    [(low, 40, 10), (floats, 40, 12), (doubles, 40, 16), (low, 16, 14), (floats, 16, 16)],
    ids=["integers", "floats", "doubles", "few integers", "few floats"],
)
def test_a_search_for_a_psnr_takes_few_bytes_beyond_a_small_stack(make, frames, most):
    lowrank.compress(make(2), stack=True, psnr=40).to_bytes()
    A = make(frames)
    _, taken = peak(lambda: lowrank.compress(A, stack=True, psnr=40).to_bytes())
    assert taken <= most * A.size


def test_a_search_leaves_nothing_of_its_stack_behind():
    A = floats(8)  # which are searched as levels, and these are the search's own
    lowrank.compress(A[:2], stack=True, psnr=40).to_bytes()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        data = lowrank.compress(A, stack=True, psnr=40).to_bytes()
        left = tracemalloc.get_traced_memory()[0] - len(data)
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < A.size


# Its decoded planes are not kept once it was measured, nor those that the filter is fitted to.
def test_a_picture_is_searched_in_few_bytes_for_each_sample():
    A = colours(1)[0].repeat(6, 0).repeat(6, 1)
    lowrank.compress(A[:40], psnr=35).to_bytes()
    _, taken = peak(lambda: lowrank.compress(A, psnr=35).to_bytes())
    assert taken <= 23 * A.size
