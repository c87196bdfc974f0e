"""max_error: never exceeded, and met by the smallest ranks that hold it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lowrank
from lowrank.errors import UsageError


def errors_by_rank(M):
    """The largest error at each rank of exact factors, rounded and clipped as samples are."""
    U, s, Vt = np.linalg.svd(M.astype(np.float64), full_matrices=False)
    found, B = [], np.zeros(M.shape)
    limits = np.iinfo(M.dtype) if M.dtype.kind in "iu" else None
    for k in range(len(s) + 1):
        if k:
            B = B + np.outer(U[:, k - 1] * s[k - 1], Vt[k - 1])
        decoded = B if limits is None else np.clip(np.rint(B), limits.min, limits.max)
        found.append(float(np.abs(decoded - M).max()))
    return np.array(found)


def assert_smallest(M, X, image):
    """No rank that is more than 2% smaller holds; and the rank that is kept does."""
    found = image.to_array().reshape(M.shape)
    assert float(np.abs(found.astype(np.float64) - M).max()) <= X
    planes = M if M.ndim == 3 else M[..., None]
    for c, k in enumerate(image.ranks):
        holds = np.flatnonzero(errors_by_rank(planes[..., c]) <= X * (1 - 1e-9))
        assert k <= np.ceil(1.02 * holds[0])


@given(
    dtype=st.sampled_from(["uint8", "int16", "uint16", "float32", "float64"]),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from((1, 3))),
    rank=st.integers(0, 40),
    share=st.floats(1e-3, 1.2),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_random_matrices_get_the_smallest_rank_that_holds(dtype, shape, rank, share, seed):
    rng = np.random.default_rng(seed)
    m, n, channels = shape
    M = np.stack(
        [rng.normal(size=(m, rank)) @ rng.normal(size=(rank, n)) for _ in range(channels)], axis=2
    ) + 0.01 * rng.normal(size=shape)
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        scale = min(limits.max, 4000) / (np.abs(M).max() or 1)
        M = np.clip(np.rint(scale * M), limits.min, limits.max)
    M = M.astype(dtype)
    span = float(M.max()) - float(M.min())
    X = max(share * span, 1e-3 if np.dtype(dtype).kind == "f" else 0)
    assert_smallest(M, X, lowrank.compress(M, max_error=X))


@pytest.mark.parametrize("store", [None, "float16", "float32", "float64"])
def test_a_photograph_in_every_store(photo, store):
    M = photo.picture.samples[100:164, 200:296]
    for X in (8, 40):
        image = lowrank.compress(M, max_error=X, store=store)
        assert store in (None, image.store)
        if store != "float16":  # whose rounding may take a term or two
            assert_smallest(M, X, image)
        report = image.report(M)
        assert report.pixels.max_abs_error <= X


def test_patches_hold_it_too(photo):
    M = photo.picture.samples[100:148, 200:264]
    for store in ("auto", "packed"):
        image = lowrank.compress(M, max_error=20, layout="patches", store=store)
        assert int(np.abs(image.to_array().astype(int) - M).max()) <= 20


def test_nothing_at_all_is_lost_where_nothing_may_be(photo):
    M = photo.picture.samples[:40, :50]
    np.testing.assert_array_equal(lowrank.compress(M, max_error=0).to_array(), M)
    A = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    assert lowrank.compress(A, max_error=1e9).ranks == (0,)
    with pytest.raises(UsageError, match="out of reach of float16 factors"):
        lowrank.compress(A, max_error=1e-9, store="float16")
    with pytest.raises(UsageError, match="out of reach of the packed store"):
        lowrank.compress(A, max_error=1e-9, store="packed")


def test_pixels_without_data_do_not_count():
    M = np.random.default_rng(1).normal(size=(30, 20)).astype(np.float32)
    M[4:9, 3:7] = -9999
    image = lowrank.compress(M, max_error=1.0, nodata=-9999)
    assert image.report(M).pixels.max_abs_error <= 1.0
    gap = M == -9999
    assert np.abs(image.to_array() - M)[~gap].max() <= 1.0


def test_the_rounding_of_float64_counts():
    A = 1e9 + np.random.default_rng(2).normal(size=(12, 10))
    image = lowrank.compress(A, max_error=0.5)  # float32 would be 32 off
    assert image.store == "float64"
    assert np.abs(image.to_array() - A).max() <= 0.5
    with pytest.raises(UsageError, match="to round the samples to float32 alone takes"):
        lowrank.compress(A, max_error=0.5, store="float32")


def test_the_command_line_takes_it(cli, small_png):
    run = cli("compress", "in.png", "--max-error", "9", "--certify").succeeded()
    row = next(x for x in run.text.splitlines() if x.startswith("rounded and clipped"))
    assert float(row.split()[-1]) <= 9
    assert "--max-error -1 is out of range" in cli("compress", "in.png", "--max-error=-1").failed(2)


@pytest.mark.parametrize(("store", "least"), [("float16", 1e-9), ("float64", 1e-300)])
def test_what_is_out_of_reach_says_what_all_terms_leave(store, least):
    A = np.random.default_rng(4).normal(size=(20, 30))
    A = A.astype(np.float32) if store == "float16" else A
    U, s, Vt = np.linalg.svd(A.astype(np.float64), full_matrices=False)
    B = (U.astype(store).astype(float) * s) @ Vt.astype(store).astype(float)
    left = float(np.abs(B.astype(A.dtype) - A).max())
    with pytest.raises(UsageError, match=r"with all terms \S+ is left") as told:
        lowrank.compress(A, max_error=least, store=store)
    said = float(str(told.value).split("all terms ")[1].split()[0])
    assert said == pytest.approx(left, rel=0.01, abs=1e-13)


@pytest.mark.parametrize("store", ["float16", "float32", "packed"])
def test_no_error_at_all_counts_what_rounding_to_float32_takes(store):
    A = np.full((20, 30), 0.1)  # one term is exact in float32, and 1.5e-9 off
    with pytest.raises(UsageError, match=r"to round the samples to float32 alone takes 1\.49e-09"):
        lowrank.compress(A, max_error=0, store=store)
