"""Factors decode to the exact rank-k image, and stores keep what they promise."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from conftest import picture
from hypothesis import given
from hypothesis import strategies as st

from lowrank import codec, stores
from lowrank import format as lrk
from lowrank.errors import ImageError, LimitError, UsageError
from lowrank.format.parts import Floats, Head, Parts
from lowrank.io import pillow
from lowrank.picture import MODES, Picture
from lowrank.stores import truncation
from lowrank.targets import Target

SAMPLES = ("parrots.png", "photographer.png", "cup.png", "elevation.png", "door.png")
EXACT = {}  # numpy's decompositions of the samples' matrices, made once


def read(path, crop=300):
    """A crop of a sample image: real samples, and quick to decompose."""
    loaded = pillow.read(path.read_bytes(), name=path.name).picture
    return Picture(np.ascontiguousarray(loaded.samples[:crop, :crop]), loaded.mode)


def exact(key, A):
    if key not in EXACT:
        matrices = (A.samples[:, :, c].astype(float) for c in range(A.samples.shape[2]))
        EXACT[key] = [np.linalg.svd(M, full_matrices=False) for M in matrices]
    return EXACT[key]


def truncated(svds, k):
    """The exact rank-k matrices of numpy, one beside the other."""
    return np.stack([(U[:, :k] * s[:k]) @ Vt[:k] for U, s, Vt in svds], axis=2)


def encoded(A, k, store="auto"):
    return codec.encode(A, Target("rank", k), layout="channels", store=store).parts


def through_file(parts):
    return lrk.parse(lrk.serialize(parts), name="x", max_pixels=1 << 24)


@pytest.mark.parametrize(
    ("store", "share"), [("float16", 0.95), ("float32", 0.999), ("float64", 0.999)]
)
@pytest.mark.parametrize("k", [1, 20, 77])
@pytest.mark.parametrize("name", ["parrots.png", "photographer.png", "cup.png", "door.png"])
def test_the_decoded_image_is_the_exact_rank_k_image_rounded(samples, name, k, store, share):
    A = read(samples / name)
    B = np.clip(np.rint(truncated(exact(name, A), k)), 0, A.mode.peak)
    got = codec.decode(through_file(encoded(A, k, store))).picture.samples
    assert got.dtype == np.uint8
    assert np.mean(got == B) >= share
    assert np.abs(got - B).max() <= 1


@pytest.mark.parametrize("k", [1, 20, 77])
def test_16_bits_keep_their_range(samples, k):
    A = read(samples / "elevation.png")
    assert A.samples.max() > 30_000
    B = np.clip(np.rint(truncated(exact("elevation", A), k)), 0, 65535)
    got = codec.decode(through_file(encoded(A, k, "float32"))).picture.samples
    assert got.dtype == np.uint16
    assert np.mean(got == B) >= 0.98  # levels are 256 times finer, and so is rounding
    assert np.abs(got - B).max() <= 1


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_float_samples_keep_their_range_and_sign(scale):
    A = picture("F", 40, 50)
    A = Picture((A.samples * np.float32(scale)).astype(np.float32), A.mode)
    svds = exact(("F", scale), A)
    for k, store, close in ((5, "float32", 1e-6), (40, "float64", 1e-7)):
        got = codec.decode(through_file(encoded(A, k, store))).picture.samples
        assert got.dtype == np.float32
        B = truncated(svds, k)
        assert np.linalg.norm(got - B) <= close * np.linalg.norm(B)
    assert got.min() < 0 < got.max()


def test_float_samples_near_the_largest_float_stay_finite():
    big = float(np.finfo(np.float32).max)
    A = np.where(np.add.outer(np.arange(9), np.arange(9)) % 3, big, -big).astype(np.float32)
    got = codec.decode(through_file(encoded(Picture(A[:, :, None], MODES["F"]), 1))).picture.samples
    assert np.isfinite(got).all()


@pytest.mark.parametrize("mode", ["1", "L", "RGBA", "I;16"])
def test_samples_are_clipped_and_never_wrap_around(mode):
    rng = np.random.default_rng(1)
    kind = MODES[mode]
    A = rng.integers(0, 2, (40, 40, len(kind.channels))) * int(kind.peak)
    A[:10, :10] = kind.peak
    A = Picture(A.astype(kind.dtype), kind)
    B = truncated(exact(("clip", mode), A), 3)
    assert B.min() < -0.05 * kind.peak
    assert B.max() > 1.05 * kind.peak
    got = codec.decode(encoded(A, 3, "float32")).picture.samples.astype(float)
    assert got.max() == kind.peak
    assert np.abs(got - np.clip(B, 0, kind.peak)).max() <= 1.01


@given(
    mode=st.sampled_from(sorted(MODES)),
    height=st.integers(1, 16),
    width=st.integers(1, 16),
    seed=st.integers(0, 1000),
)
def test_full_rank_in_float64_gives_every_sample_back(mode, height, width, seed):
    kind = MODES[mode]
    rng = np.random.default_rng(seed)
    shape = height, width, len(kind.channels)
    if kind.peak is None:
        A = rng.normal(size=shape).astype(np.float32)
    else:
        A = rng.integers(0, int(kind.peak) + 1, shape).astype(kind.dtype)
    parts = encoded(Picture(A, kind), max(height, width), "float64")
    got = codec.decode(through_file(parts)).picture
    assert [f.k for f in parts.body.factors] == [min(height, width)] * shape[2]
    if kind.peak is None:
        np.testing.assert_allclose(got.samples, A, rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(got.samples, A)


@pytest.mark.parametrize("value", [0, 1, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1), (13, 17)])
def test_constant_images_come_back_exactly_from_one_term(value, shape):
    A = Picture(np.full((*shape, 3), value, np.uint8), MODES["RGB"])
    for store in ("auto", "float32"):
        np.testing.assert_array_equal(
            codec.decode(through_file(encoded(A, 1, store))).picture.samples, A.samples
        )


def test_checkerboard_and_identity_are_held():
    board = (np.indices((24, 24)).sum(0) % 2 * 255).astype(np.uint8)
    for A, k in ((board, 2), (np.eye(24, dtype=np.uint8) * 255, 24)):
        A = Picture(A[:, :, None], MODES["L"])
        np.testing.assert_array_equal(
            codec.decode(encoded(A, k, "float32")).picture.samples, A.samples
        )


def test_decoding_fewer_terms_is_decoding_the_shorter_file(photo):
    parts = encoded(photo.picture, 30, "float16")
    for k in (1, 7, 30, 31):
        shorter = codec.shorten(parts, Target("rank", k))
        np.testing.assert_array_equal(
            codec.decode(parts, rank=k).picture.samples, codec.decode(shorter).picture.samples
        )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_samples_that_are_not_finite_are_refused(bad):
    A = picture("F", 6, 7)
    A.samples[2, 3] = bad
    for target in (Target("rank", 2), Target("error", 0.1), Target("auto")):
        with pytest.raises(ImageError):
            codec.encode(A, target, layout="channels", store="auto")


# -- store auto ------------------------------------------------------------------------------------


def frobenius(A, parts):
    """Measured Frobenius error of the stored factors, over all channels."""
    return math.hypot(
        *(
            np.linalg.norm(
                A.samples[:, :, c].astype(float) - (f.U.astype(float) * f.s) @ f.Vt.astype(float)
            )
            for c, f in enumerate(parts.body.factors)
        )
    )


def optimum(svds, k):
    return math.sqrt(sum(float(s[k:] @ s[k:]) for _, s, _ in svds))


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("k", [1, 20, 100, 200, 290])
def test_store_auto_is_the_narrowest_whose_rounding_does_not_show(samples, name, k):
    A = read(samples / name)
    svds = exact(name, A)
    best = optimum(svds, k)
    floor = truncation.AUTO_FLOOR * A.mode.peak * math.sqrt(A.samples.size)
    limit = max(best * (1 + truncation.AUTO_EXCESS), math.hypot(best, floor))
    chosen = encoded(A, k, "auto")
    assert frobenius(A, chosen) <= limit * (1 + 1e-9)
    for narrower in ("float16", "float32"):
        if narrower == chosen.head.store:
            break
        assert frobenius(A, encoded(A, k, narrower)) >= limit * (1 - 1e-6)


def test_store_auto_uses_more_than_one_width():
    A = picture("L", 60, 60)
    used = {encoded(A, k).head.store for k in (1, 59, 60)}
    assert {"float16", "float32"} <= used
    exact_rank = np.outer(np.arange(1, 30), np.arange(1, 40)).astype(np.float32)
    assert encoded(Picture(exact_rank[:, :, None], MODES["F"]), 1).head.store != "float16"


@pytest.mark.parametrize("store", ["float16", "float32", "float64"])
def test_a_store_asked_for_by_name_is_taken(store):
    parts = through_file(encoded(picture("LA", 10, 11), 4, store))
    assert parts.head.store == store
    assert all(f.U.dtype == f.Vt.dtype == np.dtype(store) for f in parts.body.factors)
    assert all(f.s.dtype == np.float64 for f in parts.body.factors)


# -- threads, memory -------------------------------------------------------------------------------


def test_the_number_of_threads_changes_no_bit(photo, monkeypatch):
    found = set()
    for cores in (1, 2, 7):
        monkeypatch.setattr("lowrank.threads.cores", lambda cores=cores: cores)
        parts = encoded(photo.picture, 12)
        found.add(
            (
                hashlib.sha256(lrk.serialize(parts)).hexdigest(),
                hashlib.sha256(codec.decode(parts).picture.samples.tobytes()).hexdigest(),
            )
        )
    assert len(found) == 1


def test_an_image_that_no_array_can_hold_is_refused():
    for side in (2**31 - 1, 2**20):
        head = Head(side, side, MODES["RGBA"], "channels", "float16")
        parts = Parts(head, Floats(()))
        with pytest.raises(LimitError, match="not enough memory"):
            codec.decode(parts)


def test_quality_needs_the_packed_store():
    for store in ("float16", "auto"):
        with pytest.raises(UsageError, match="packed"):
            stores.resolve(Target("quality", 50), None, store)


@pytest.mark.parametrize(
    ("kind", "value", "form"),
    [
        ("rank", 5, ("channels", "auto")),
        ("auto", 0, ("channels", "auto")),
        ("energy", 0.9, ("channels", "auto")),
        ("error", 0.1, ("channels", "auto")),
        ("quality", 75, ("patches", "packed")),
        ("psnr", 30, ("patches", "packed")),
        ("size", 3000, ("patches", "packed")),
    ],
)
def test_the_target_chooses_the_form_unless_it_is_named(kind, value, form):
    assert stores.resolve(Target(kind, value), None, None) == form
    if kind != "quality":
        assert stores.resolve(Target(kind, value), "channels", None) == ("channels", "auto")
        assert stores.resolve(Target(kind, value), None, "float32") == ("channels", "float32")
