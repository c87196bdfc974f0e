"""A stack is never above 1.05 times its frames, each packed alone at the same error."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lowrank
from lowrank import codec
from lowrank import format as lrk
from lowrank.picture import MODES, Picture
from lowrank.targets import Target


def frames_of(kind):
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:40, :52]
    if kind == "noise":
        return rng.integers(0, 256, (3, 40, 52)).astype(np.uint8)
    if kind == "strangers":  # gratings that share nothing
        return np.array(
            [127 + 120 * np.sin(x * (0.2 + 0.17 * i) + y * (0.5 - 0.1 * i)) for i in range(4)]
        ).astype(np.uint8)
    if kind == "moving":
        return np.array(
            [40 + 200 * np.exp(-((x - 8 * i - 9) ** 2 + (y - 20) ** 2) / 40) for i in range(5)]
        ).astype(np.uint8)
    blobs = rng.normal(size=(3, 40, 52)).cumsum(1).cumsum(2)  # deep, and unlike each other
    return ((blobs - blobs.min()) / np.ptp(blobs) * 60000).astype(np.uint16)


@pytest.mark.parametrize("kind", ["noise", "strangers", "moving", "deep"])
def test_a_stack_is_hardly_ever_larger_than_its_frames(kind):
    A = frames_of(kind)
    stack = lowrank.compress(A, stack=True, quality=80)
    mse = float(np.mean((A.astype(float) - np.asarray(stack)) ** 2))
    mode = MODES["L" if A.dtype == np.uint8 else "I;16"]
    target = Target("psnr", 10 * math.log10(mode.peak**2 / mse))
    apart = sum(
        len(lrk.serialize(codec.encode(Picture(f[:, :, None], mode), target, store="packed").parts))
        for f in A
    )
    assert len(stack.to_bytes()) <= 1.05 * apart
