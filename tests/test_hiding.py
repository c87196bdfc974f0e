"""Signs that take no bit, as magnitudes tell them."""

from __future__ import annotations

import math
from pathlib import Path

import independent
import numpy as np
import pytest
from PIL import Image

from lowrank.layouts import turn
from lowrank.stores.packed.patches import codec, encoder, hiding
from lowrank.stores.packed.patches.models import TOTAL

PHOTO = Path(__file__).resolve().parents[1] / "sample_images" / "door.png"


def free(places, m):
    """Bits cost nothing."""
    return np.zeros((2, len(m)), np.float32)


def told(group, hit, m, target):
    """Of each group of enough non-zeros, whether the first one's sign is that of the parity."""
    found = {}
    for place, size in zip(hit, m, strict=True):
        found.setdefault(int(group[place]), []).append((place, int(size)))
    return [
        sum(size for _, size in some) % 2 == (target[some[0][0]] < 0)
        for some in found.values()
        if len(some) >= hiding.LEAST
    ]


@pytest.mark.parametrize("scale", [0.4, 1.0, 9.0])
def test_every_group_tells_the_sign_of_its_first(scale):
    rng = np.random.default_rng(4)
    target = rng.laplace(0, scale, 4000).astype(np.float32)
    zero = np.full(4000, TOTAL // 2, np.uint32)
    group = hiding.groups(zero, 5, np.arange(4000))
    x = np.abs(target)
    before = np.rint(x).astype(np.int64)
    hit = before.nonzero()[0]
    assert not all(told(group, hit, before[hit], target))
    places, m, which = hiding.suit(x, target < 0, hit, before[hit], zero, 5, free)
    assert np.all(m > 0)
    right = told(group, places, m, target)
    assert right
    assert all(right)
    assert len(which) == len(right)
    # What is told of it is what a reader finds: the first of each, and its sign.
    first, odd, _ = hiding.hidden(group[places], m)
    assert np.array_equal(first, which)
    assert np.array_equal(odd == 1, target[places[first]] < 0)
    # At most one of a group moved, by one: of all that may the one nearest to halfway.
    after = np.zeros_like(before)
    after[places] = m
    moved = (after != before).nonzero()[0]
    assert np.all(np.abs(after - before)[moved] == 1)
    assert len(np.unique(group[moved])) == len(moved)
    for at in moved[:40]:
        some = (group == group[at]).nonzero()[0]
        some = some[(some > places[group[places] == group[at]][0]) & (before[some] > 1)]
        error = (x[at] - after[at]) ** 2 - (x[at] - before[at]) ** 2
        assert np.all(error <= 1 - 2 * np.abs(x[some] - before[some]) + 1e-4)


def test_a_group_is_as_large_as_the_models_expect():
    zero = np.array([TOTAL // 2] * 8 + [TOTAL - 1] * 100 + [24] * 3, np.uint32)
    group = hiding.groups(zero, 2, np.arange(len(zero)))
    assert group[:8].tolist() == [0, 0, 0, 1, 1, 1, 1, 2]
    assert np.all(group[8:108] == 2)
    assert group[-1] == 3


@pytest.fixture(scope="module")
def source():
    with Image.open(PHOTO) as image:
        A = np.asarray(image.convert("RGB"))[100:260, 200:392]
    return A, encoder.prepare(A, 8, alpha=False, turn=turn.principal(A))


@pytest.mark.parametrize("tune", ["psnr", "eye"])
def test_a_file_is_smaller_for_its_error(source, tune, monkeypatch):
    """By more than 1% of its bytes, at the slope of error by bytes of two files."""
    A, prepared = source

    def coded(step):
        one = encoder.encode(prepared, step, again=True, tune=tune)
        payload, samples = one.payload(), one.samples()
        assert np.array_equal(codec.decode(payload, A.shape, 8).samples, samples)
        error = np.mean((A.astype(float) - samples) ** 2)
        return math.log(len(payload)), math.log(error)

    bits, error = coded(14.0)
    monkeypatch.setattr(encoder, "HIDDEN", 0)
    (b, e), (b2, e2) = coded(14.0), coded(15.5)
    assert bits < b + (error - e) / (e2 - e) * (b2 - b) - 0.01


def test_late_signs_are_those_that_are_not_hidden(source):
    A = source[0][:67, :83]
    prepared = encoder.prepare(A, 8, alpha=False, turn=turn.principal(A))
    one = encoder.encode(prepared, 15.0)
    payload = one.payload()
    found = independent.Patches(payload, *A.shape, 8)
    assert found.late
    assert found.expected == encoder.HIDDEN
    assert found.samples() == one.samples().ravel().tolist()


@pytest.mark.parametrize("every", [1, 5, 13, 100, 3999])
def test_groups_of_some_cells_are_those_among_all(every):
    rng = np.random.default_rng(every)
    zero = rng.integers(24, 65536, 4000).astype(np.uint32)
    places = np.arange(every // 2, 4000, every)
    whole = np.cumsum((65536 - zero).astype(np.int64)) // (5 * 65536)
    assert np.array_equal(hiding.groups(zero, 5, places), whole[places])
    assert not len(hiding.groups(zero, 5, places[:0]))
