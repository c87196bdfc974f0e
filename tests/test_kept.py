"""What is asked for of an error is kept by the file, with its factors and samples rounded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st

import lowrank
from lowrank import codec
from lowrank.errors import UsageError
from lowrank.linalg import spans
from lowrank.picture import Picture, array_mode
from lowrank.picture.distance import compare
from lowrank.report import measure
from lowrank.stores import rounding
from lowrank.targets import Target

STORES = ("float16", "float32", "auto")


def stack(seed=0, frames=60, side=20):
    """Frames whose singular values fall slowly: a term more or less is little."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((frames, frames)))[0]
    V = np.linalg.qr(rng.standard_normal((side * side, frames)))[0]
    A = (U * 2e4 * 0.9 ** np.arange(frames)) @ V.T
    samples = np.rint(A).astype(np.int16).reshape(frames, side, side, 1)
    return Picture(samples, array_mode("int16", 1))


def lost(of, parts):
    """||A - B||_F / ||A||_F of the factors as stored."""
    turned, factors = codec.factors(parts)
    error = norm = 0.0
    for A, (U, s, Vt) in zip(measure.matrices(of, parts, turned), factors, strict=True):
        E = A.astype(np.float64) - (U.astype(np.float64) * s) @ Vt.astype(np.float64)
        error, norm = error + float(np.vdot(E, E)), norm + float(np.linalg.norm(A * 1.0)) ** 2
    return math.sqrt(error / norm)


def share(target):
    return target.value if target.kind == "error" else math.sqrt(1 - target.value)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.6, 3.0), st.sampled_from(STORES), st.sampled_from(["error", "energy"]),
    st.sampled_from(["L", "RGB", "stack", "patches"]),
)  # fmt: skip
def test_an_error_is_kept_once_factors_are_rounded(digits, store, kind, what):
    A = stack() if what == "stack" else picture("RGB" if what == "patches" else what, 60, 48)
    asked = 10**-digits
    target = Target(kind, asked if kind == "error" else 1 - asked**2)
    layout = what if what in ("stack", "patches") else "channels"
    parts = codec.encode(A, target, layout=layout, store=store).parts
    assert lost(A, parts) <= share(target) * (1 + 1e-11)


def test_the_rounding_of_factors_takes_one_term_more_where_it_must_and_no_other():
    """An error that is that of exactly k terms: rounded, they miss it by next to nothing."""
    A = stack()
    for k in (10, 25, 40):
        exact = codec.encode(A, Target("rank", k), store="float64").parts
        target = Target("error", lost(A, exact) * (1 + 1e-9))
        for store, more in (("float64", 0), ("float32", 0), ("float16", 1)):
            parts = codec.encode(A, target, store=store).parts
            assert parts.ranks == (k + more,)
            assert lost(A, parts) <= target.value
        # A little more than that rounding, and k terms do.
        rounded = lost(A, codec.encode(A, Target("rank", k), store="float16").parts)
        parts = codec.encode(A, Target("error", rounded * (1 + 1e-4)), store="float16").parts
        assert parts.ranks == (k,)


@pytest.mark.parametrize("kind", ["error", "energy", "psnr"])
def test_what_rounding_alone_misses_is_refused_or_gets_a_wider_store(kind):
    A = picture("F", 40, 50)
    target = Target(kind, {"error": 3e-5, "energy": 1 - 1e-9, "psnr": 110}[kind])
    with pytest.raises(UsageError, match="out of reach of float16 factors"):
        codec.encode(A, target, layout="channels", store="float16")
    parts = codec.encode(A, target, layout="channels", store="auto").parts
    assert parts.head.store != "float16"
    if kind == "psnr":
        assert compare(A, codec.decode(parts).picture).psnr_db >= 110
    else:
        assert lost(A, parts) <= share(target)


def test_an_error_below_that_of_float32_gets_float64():
    A = picture("L", 40, 50)
    assert lost(A, codec.encode(A, Target("error", 1e-9), store="auto").parts) <= 1e-9
    with pytest.raises(UsageError, match="give store float64, or auto"):
        codec.encode(A, Target("error", 1e-9), store="float32")
    every = codec.encode(A, Target("energy", 1.0), store="float16").parts  # no share: all terms
    assert every.ranks == (40,)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
@pytest.mark.parametrize("layout", ["channels", "patches"])
@pytest.mark.parametrize("psnr", [25, 38, 45, 50, 53, 56, 70])
def test_a_psnr_is_that_of_decoded_samples(store, mode, layout, psnr):
    """Samples are rounded, too: near one level that is half a decibel."""
    A = picture(mode, 60, 48)
    target = Target("psnr", psnr)
    parts = codec.encode(A, target, layout=layout, store=store).parts
    found = compare(A, codec.decode(parts).picture).psnr_db
    assert found is None or found >= psnr - 1e-9


@pytest.mark.parametrize("store", ["float16", "float32"])
@pytest.mark.parametrize("target", [
    Target("error", 0.2), Target("error", 0.05), Target("energy", 0.99), Target("energy", 0.9999),
    Target("psnr", 30), Target("psnr", 45),
])  # fmt: skip
def test_a_shortened_file_keeps_what_is_asked_for(store, target):
    A = picture("RGB", 60, 48)
    whole = codec.encode(A, Target("rank", 60), layout="channels", store=store).parts
    short = codec.shorten(whole, target)
    assert short.ranks < whole.ranks
    if target.kind == "psnr":
        assert compare(A, codec.decode(short).picture).psnr_db >= target.value
    else:
        assert lost(A, short) <= share(target)
    # To ask for it again changes nothing, nor does it where the file has just that error.
    assert codec.shorten(short, target).ranks == short.ranks
    made = codec.encode(A, target, layout="channels", store=store).parts
    if target.kind != "psnr":
        assert codec.shorten(made, target).ranks == made.ranks


@pytest.mark.parametrize("store", ["float16", "float32"])
@given(st.integers(0, 99), st.integers(9, 60), st.sampled_from([0.0, 1e6]))
@settings(max_examples=60, deadline=None)
def test_the_bound_of_stored_vectors_holds(store, seed, rows, level):
    """Of a level that is high, too: every entry of its vectors is rounded the same way."""
    rng = np.random.default_rng(seed)
    A = level + rng.standard_normal((rows, 30)) @ rng.standard_normal((30, rows))
    x = lowrank.linalg.truncated_svd(A, 9)
    U, Vt = x.U.astype(store), x.Vt.astype(store)
    most = rounding.of_stored(U, x.s, Vt)
    for k in range(10):
        B = (U[:, :k].astype(float) * x.s[:k]) @ Vt[:k].astype(float)
        assert np.linalg.norm(B - (x.U[:, :k] * x.s[:k]) @ x.Vt[:k]) ** 2 <= most[k] * (1 + 1e-9)


@pytest.mark.parametrize("route", ["gram", "krylov"])
@pytest.mark.parametrize("store", STORES)
def test_what_is_made_in_passes_keeps_it_too(cli, monkeypatch, tmp_path, store, route):
    if route == "krylov":
        monkeypatch.setattr(spans, "GRAM_SIDE", 30)
    A = stack()
    cube = A.samples[..., 0]
    path = tmp_path / "a.npy"
    np.save(path, cube)
    for k in (8, 20, 30):
        exact = codec.encode(A, Target("rank", k), store="float64").parts
        error = lost(A, exact) * (1 + 1e-8)
        for wish in ({"error": error}, {"energy": 1 - error**2}):
            found = lowrank.compress(path, stack=True, memory="50M", store=store, **wish)
            assert lost(A, found.parts) <= error * (1 + 1e-9)
            assert found.ranks[0] <= k + 2
    with pytest.raises(UsageError, match="out of reach of float16"):
        lowrank.compress(path, stack=True, memory="50M", store="float16", error=1e-5)
    found = lowrank.compress(path, stack=True, memory="50M", error=1e-5)
    assert lost(A, found.parts) <= 1e-5


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("what", ["I;16", "F", "stack"])
def test_the_largest_error_is_kept_by_every_store(store, what):
    A = stack() if what == "stack" else picture(what, 40, 50)
    allowed = float(np.ptp(A.samples.astype(float))) / 500
    parts = codec.encode(A, Target("max_error", allowed), store=store).parts
    assert compare(A, codec.decode(parts).picture).max_abs_error <= allowed
