"""What is promised of a file holds whichever way it was made: in memory, or in passes.

Made matrices of few samples, most of them of vectors that round badly; each is compressed both
ways, and what the file holds is measured here, against the samples as they were given.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lowrank
from lowrank.errors import ImageError, UsageError
from lowrank.linalg import spans
from lowrank.stores import growing, passes
from lowrank.stores.truncation import AUTO_EXCESS, AUTO_FLOOR

WAYS = {"memory": {}, "passes": {"memory": "50M"}}
TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def made(shape, kind, noise, seed):
    """(N, h, w) of a few strong terms, of unit root mean square, and noise."""
    frames, height, width = shape
    rng = np.random.default_rng(seed)
    m, n = frames, height * width
    if kind == "flat":  # every entry of a vector is rounded the same way
        A = np.ones((m, n))
    elif kind == "blocks":
        A = np.outer(np.arange(m) % 2 + 1.0, np.where(np.arange(n) < n // 2, 1.0, 3.0))
    else:
        A = rng.standard_normal((m, 2)) @ rng.standard_normal((2, n))
    A /= max(math.sqrt(np.mean(A * A)), 1e-3)
    return (A + noise * rng.standard_normal((m, n))).reshape(shape)


def held(stack):
    """A_k as the file has it, in float64."""
    (f,) = stack.parts.body.factors
    return (f.U.astype(np.float64) * f.s) @ f.Vt.astype(np.float64)


SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 30), st.integers(1, 40)).filter(
    lambda shape: min(shape[0], shape[1] * shape[2]) > 0
)
KINDS = st.sampled_from(["flat", "blocks", "random"])


@pytest.mark.parametrize("way", WAYS)
@given(SHAPES, KINDS, st.floats(-3.0, -0.5), st.integers(0, 9), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_auto_adds_a_thousandth_to_the_error_at_most(way, shape, kind, digits, seed, rank):
    A = made(shape, kind, 10**digits, seed)
    stack = lowrank.compress(A.astype(np.float32), stack=True, rank=rank, **WAYS[way])
    M = A.astype(np.float32).astype(np.float64).reshape(len(A), -1)
    k = min(rank, *M.shape)
    tail = float(np.linalg.norm(np.linalg.svd(M, compute_uv=False)[k:]))
    floor = AUTO_FLOOR * (float(np.ptp(M)) or 1.0) * math.sqrt(M.size)
    most = max(tail * (1 + AUTO_EXCESS), math.hypot(tail, floor))
    assert np.linalg.norm(M - held(stack)) <= most * (1 + 1e-6)


@pytest.mark.parametrize("way", WAYS)
@given(SHAPES, KINDS, st.floats(-9.0, -0.5), st.integers(0, 9), st.integers(300, 40_000))
@settings(max_examples=60, deadline=None)
def test_of_a_size_auto_is_as_near_as_any_store_must_be(way, shape, kind, digits, seed, size):
    """Fewer terms in a wider type, where these are nearer: not the most of the narrowest."""
    A = made(shape, kind, 10**digits, seed).astype(np.float32)
    M = A.astype(np.float64).reshape(len(A), -1)
    s = np.linalg.svd(M, compute_uv=False)
    floor = AUTO_FLOOR * (float(np.ptp(M)) or 1.0) * math.sqrt(M.size)

    def kept(store):
        stack = lowrank.compress(A, stack=True, size=size, store=store, **WAYS[way])
        assert len(stack.to_bytes()) <= size
        whole = len(stack.singular_values) == len(s)
        assert whole == any("every term fits" in note for note in stack.notes)
        return stack

    try:
        narrow = kept("float16")
    except UsageError:
        return  # not a term fits
    least = float(np.linalg.norm(M - held(narrow)))
    for store in ("float32", "float64"):
        try:
            k = len(kept(store).singular_values)
        except UsageError:
            continue
        rounding = np.finfo(store).eps * np.linalg.norm(s[:k])  # half a unit on either side
        least = min(least, math.hypot(np.linalg.norm(s[k:]), rounding))
    found = float(np.linalg.norm(M - held(kept("auto"))))
    assert found <= math.hypot(least * (1 + AUTO_EXCESS), 2 * floor) + 1e-12 * s[0]


@pytest.mark.parametrize("noise", [0, 20])
@pytest.mark.parametrize("target", [{"size": 60_000}, {"rank": 2}, {"rank": 12}, {"error": 1e-5}])
def test_integers_far_from_zero_have_the_same_store_either_way(noise, target):
    """Passes know no range of 16 bits; a constant has none."""
    A = 30_000 + noise * np.random.default_rng(0).standard_normal((12, 30, 40))
    whole, streamed = (
        lowrank.compress(np.rint(A).astype(np.uint16), stack=True, store="auto", **target, **way)
        for way in WAYS.values()
    )
    assert (whole.store, whole.ranks) == (streamed.store, streamed.ranks)
    if whole.ranks[0] == len(A):
        assert np.array_equal(whole, np.rint(A))


@pytest.mark.parametrize("size", [1_300, 3_000, 30_000])
def test_a_size_takes_one_decomposition(size, monkeypatch):
    """As many terms in another type, or fewer, are among those that were found."""
    A = made((20, 20, 20), "random", 1e-4, 0).astype(np.float32)
    found = []
    leading = passes.leading

    def counted(*args, **wishes):
        found.append(leading(*args, **wishes))
        return found[-1]

    monkeypatch.setattr(passes, "leading", counted)
    sought, of_count = [], growing.of_count
    monkeypatch.setattr(
        growing, "of_count", lambda A, n, **wishes: sought.append(n) or of_count(A, n, **wishes)
    )
    there, here = (
        lowrank.compress(A, stack=True, size=size, store="auto", **WAYS[way]) for way in WAYS
    )
    (narrow,) = found
    assert sought == [len(narrow.s)]
    (f,), (g,) = here.parts.body.factors, there.parts.body.factors
    assert here.parts.head.store == there.parts.head.store
    assert len(f.s) == len(g.s) <= len(narrow.s)
    s = np.append(np.linalg.svd(A.astype(np.float64).reshape(20, -1), compute_uv=False), 0.0)
    for x in (f, g):
        stated = s[len(x.s)], np.linalg.norm(s[len(x.s) :])
        assert (x.sigma_next, x.tail) == pytest.approx(stated, rel=1e-6)
    f, g = (narrow.truncated(k) for k in (1, len(narrow.s)))
    assert (f.sigma_next, f.tail) == pytest.approx((s[1], np.linalg.norm(s[1:])), rel=1e-6)
    assert g is narrow


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("route", ["gram", "krylov"])
def test_vectors_that_are_all_rounded_one_way_count_whole(way, route, monkeypatch):
    """Both sides of a flat picture are off by the same share: together twice it, not its root."""
    if route == "krylov":
        monkeypatch.setattr(spans, "GRAM_SIDE", 30)
    rng = np.random.default_rng(1)
    kinds = set()
    for noise in np.geomspace(3e-3, 3e-2, 12):
        M = 1.0 + noise * rng.standard_normal((56, 30 * 31))
        A = M.astype(np.float32).reshape(56, 30, 31)
        stack = lowrank.compress(A, stack=True, rank=1, **WAYS[way])
        M = A.astype(np.float64).reshape(56, -1)
        tail = float(np.linalg.norm(np.linalg.svd(M, compute_uv=False)[1:]))
        assert np.linalg.norm(M - held(stack)) <= tail * (1 + AUTO_EXCESS)
        kinds.add(stack.store)
    assert kinds == {"float16", "float32"}


def lost(A, stack):
    """||A - B||_F / ||A||_F, of the samples as they were given."""
    M = A.astype(np.float64).reshape(len(A), -1)
    norm = float(np.linalg.norm(M))
    return float(np.linalg.norm(M - held(stack))) / norm if norm else 0.0


def of_type(A, dtype, scale):
    """Samples of a type from some of unit root mean square: integers over much of their range."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (A * scale).astype(kind)
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    middle, span = (high - low) / 4 + low * (low < 0), (high - low) / 8
    return np.clip(np.rint(middle + span * A), low, high).astype(kind)


@given(
    SHAPES, KINDS, st.floats(-4.0, -0.5), st.sampled_from(TYPES),
    st.sampled_from(["auto", "float16", "float32", "float64"]),
    st.sampled_from(["error", "energy"]),
    st.floats(-7.5, -0.3), st.floats(-30.0, 30.0),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_an_error_is_kept_or_refused_both_ways(
    shape, kind, noise, dtype, store, target, digits, scale
):
    A = of_type(made(shape, kind, 10**noise, 0), dtype, 10.0**scale)
    asked = 10**digits
    wish = {target: asked if target == "error" else 1 - asked**2}
    allowed = asked if target == "error" else math.sqrt(1 - wish["energy"])
    found = {}
    for way, options in WAYS.items():
        try:
            found[way] = lowrank.compress(A, stack=True, store=store, **wish, **options)
        except UsageError as error:
            assert store in ("float16", "float32")
            found[way] = str(error)
            continue
        assert lost(A, found[way]) <= allowed * (1 + 1e-9)
    here, there = found.values()
    assert isinstance(here, str) == isinstance(there, str)
    if not isinstance(here, str):
        assert here.dtype == there.dtype
        assert there.ranks[0] <= here.ranks[0] + 1


@pytest.mark.parametrize("way", WAYS)
def test_what_float32_loses_of_float64_counts(way):
    """Samples whose rounding lies along what is left out of them, and so adds up."""
    rng = np.random.default_rng(0)
    A = 1.0 + 2.0**-24 * np.where(rng.integers(0, 2, (30, 20, 20)), 1.5, 0.49)
    for error in np.geomspace(1e-9, 1e-5, 9):
        stack = lowrank.compress(A, stack=True, error=error, **WAYS[way])
        assert lost(A, stack) <= error
        try:
            stack = lowrank.compress(A, stack=True, error=error, store="float32", **WAYS[way])
        except UsageError:
            assert error < 3e-7
        else:
            assert lost(A, stack) <= error


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("store", ["auto", "float32", "float64"])
@pytest.mark.parametrize("scale", [1e-60, 1e39, 1e45, 1e60])
def test_what_is_beyond_float32_is_in_no_file(way, store, scale):
    A = scale * np.random.default_rng(0).uniform(1, 2, (30, 20, 20))
    with pytest.raises(ImageError, match="the range of float32"):
        lowrank.compress(A, stack=True, rank=2, store=store, **WAYS[way])


class Sliced:
    """An array that is read where it is sliced, and never whole."""

    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key):
        return self._array[key]


@pytest.mark.parametrize("shape", [(90, 130), (130, 90), (24, 9, 11, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "<f4", ">f8", ">i2"])
@pytest.mark.parametrize("target", [{"rank": 4}, {"error": 0.1}])
def test_an_array_is_read_in_passes_as_its_file_is(tmp_path, shape, dtype, target):
    """A grey picture, and what four axes make a stack of: nobody needs to say that it is one."""
    rng = np.random.default_rng(len(shape))
    A = rng.standard_normal((shape[0], 3)) @ rng.standard_normal((3, math.prod(shape[1:])))
    A = (10 * A + rng.standard_normal(A.shape) + 100).clip(0, 255).astype(dtype).reshape(shape)
    np.save(tmp_path / "a.npy", A)
    of_file = lowrank.compress(tmp_path / "a.npy", memory="100M", **target)
    for array in (A, np.asfortranarray(A), A[::-1].copy()[::-1], Sliced(A)):
        found = lowrank.compress(array, memory="100M", **target)
        assert found.to_bytes() == of_file.to_bytes()
        assert not [note for note in found.notes if "did nothing" in note]
