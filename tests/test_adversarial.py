"""Matrices made against the solver: what it starts from, repeated values, wide ranges, extremes."""

from __future__ import annotations

import numpy as np
import pytest

from lowrank import linalg, threads
from lowrank.linalg import krylov

M, N = 160, 200


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Several threads on matrices as small as these take more time than one."""
    with threads.one_blas_thread():
        yield


def orthonormal(rng, n, k, beside=None):
    """(n, k) orthonormal columns, orthogonal to those of `beside`."""
    X = rng.standard_normal((n, k))
    if beside is None:
        return np.linalg.qr(X)[0]
    for _ in range(3):
        X -= beside @ (beside.T @ X)
        X = np.linalg.qr(X)[0]
    return X


def with_spectrum(s, seed=0):
    rng = np.random.default_rng([seed, len(s)])
    return (orthonormal(rng, M, len(s)) * s) @ orthonormal(rng, N, len(s)).T


def hidden(tops, rest, seed=0):
    """Singular values `tops` whose vectors are orthogonal to what a Krylov space starts from."""
    rng = np.random.default_rng([seed, len(rest)])
    start = np.linalg.qr(krylov.scattered(M, krylov.BLOCK))[0].astype(np.float32)
    H = orthonormal(rng, M, len(tops), np.linalg.qr(start.astype(np.float64))[0])
    U = np.hstack([H, orthonormal(rng, M, len(rest), H)])
    return (U * np.r_[tops, rest]) @ orthonormal(rng, N, U.shape[1]).T


def broken(A, ranks, unit=1.0):
    """Ranks for which the docstring of `truncated_svd` is untrue of unit A, by numpy's full SVD."""
    sigma = np.linalg.svd(A, compute_uv=False)
    return [k for k in ranks if not keeps_its_promise(A, k, sigma, unit)]


def keeps_its_promise(A, k, sigma, unit):
    found = linalg.truncated_svd(A * unit, k)
    floor = 1e-13 * np.linalg.norm(A)
    tail = np.linalg.norm(sigma[k:])
    sigma_next = sigma[k] if k < len(sigma) else 0.0
    s = found.s / unit
    residual = np.linalg.norm(A - (found.U * s) @ found.Vt)
    return (
        residual <= tail * (1 + 1e-8) + floor
        and np.abs(s - sigma[:k]).max() <= 1e-7 * sigma[0]
        and abs(found.sigma_next / unit - sigma_next) <= 1e-7 * sigma_next + floor
        and abs(found.tail / unit - tail) <= 1e-6 * tail + floor
    )


RESTS = {
    # 64 more than the start: exhausted when first looked at, by all but the hidden one.
    **{f"rank {r}": np.geomspace(100, 30, r) for r in (16, 64, 80, 112, 128, 159)},
    "rank 64, to 5": np.geomspace(100, 5, 64),
    **{f"decay {d}": 100 * d ** np.arange(159.0) for d in (0.5, 0.9, 0.95)},
}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rest", RESTS)
def test_what_is_orthogonal_to_the_start_is_not_missed(rest, transposed):
    for top in (100.5, 110.0):
        A = hidden([top], RESTS[rest])
        assert broken(A.T if transposed else A, (1, 5, 20)) == [], top


@pytest.mark.parametrize("tops", [[110, 109], [110] * 5, [120] * 20, [100, 100], [50, 0.01, 1e-5]])
def test_nor_are_several_of_them_nor_small_ones_behind_large(tops):
    for rest in (np.geomspace(100, 1, 150), np.geomspace(100, 1, 20)):
        A = hidden(tops, rest)
        assert broken(A, (1, 5, 20, 23)) == [], len(rest)


def test_the_spectral_norm_of_a_residual_misses_none_either():
    A = hidden([110.0], RESTS["rank 64"])
    big = np.zeros((1001, 1100))  # beyond the side up to which all eigenvalues are taken
    big[:M, :N] = A
    found = linalg.residual_norms(big, np.zeros((1001, 1)), np.zeros(1), np.zeros((1, 1100)))
    assert found.spectral == pytest.approx(110.0, rel=1e-6)


def kinds():
    for run in (2, 3, 5, 15, 16, 17, 33, 64):
        for ranks in ((1, 20), (run - 1, run, run + 1)):
            s = np.r_[np.full(run, 100.0), 90 * 0.97 ** np.arange(M - run)]
            yield from ((f"tie of {run}, k = {k}", s, k, 1.0) for k in ranks if k and 4 * k < M)
    for e in (8, 12, 14, 16, 20, 24):
        for k in (1, 2, 3, 5, 10, 20, 30, 40):
            yield f"range of 1e-{e}, k = {k}", np.geomspace(1, 10.0**-e, M), k, 1.0
    for unit in (1e-100, 1e100, 1e-60, 1e60, 1e-20, 1e20):
        for k in (1, 2, 3, 5, 10, 20, 30, 40):
            yield f"times {unit}, k = {k}", 0.9 ** np.arange(M), k, unit
    for r in (1, 2, 3, 4, 5, 7, 8, 10, 12, 15, 16, 17, 20, 24, 30, 32, 40, 44):
        s = np.geomspace(100, 10, r) if r > 1 else np.array([7.0])
        yield from ((f"rank {r}, k = {k}", s, k, 1.0) for k in (r - 1, r, r + 1) if k)


def crowds():
    """The largest values nearly equal: more than a block, and nearer than a space can tell."""
    for run in (3, 5, 7, 15, 17, 20, 33, 64):
        for spread in (1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3):
            for rest in (0.97, 0.5):
                top = 120 * (1 + spread * np.random.default_rng(2).uniform(-1, 1, run))
                s = np.r_[np.sort(top)[::-1], 100 * rest ** np.arange(M - run)]
                yield f"{run} within {spread}, rest {rest}", s


CROWDS = dict(crowds())
KINDS = {name: case for name, *case in kinds()}


def test_there_are_two_hundred_of_the_other_kinds():
    assert len(KINDS) >= 180


@pytest.mark.parametrize("name", KINDS)
def test_ties_ranges_scales_and_exact_ranks(name):
    s, k, unit = KINDS[name]
    assert broken(with_spectrum(s), (k,), unit) == []


@pytest.mark.parametrize("name", CROWDS)
def test_crowded_values_are_told_apart(name):
    A = with_spectrum(CROWDS[name])
    assert broken(A, (1, 2, 5, 20)) == []


def test_crowds_far_below_the_largest_are_good_to_what_is_said_of_them():
    rng = np.random.default_rng(5)
    for _ in range(12):
        L = rng.normal(size=(150, 3)) @ rng.normal(size=(3, 150))
        A = (127 * L / np.abs(L).max()).astype(np.int8)  # rank 3 and what rounding leaves
        sigma = np.linalg.svd(A.astype(np.float64), compute_uv=False)
        for k in (5, 20):
            found = linalg.truncated_svd(A, k)
            assert abs(found.sigma_next - sigma[k]) <= 1e-6 * sigma[k]
            assert np.abs(found.s / sigma[:k] - 1).max() <= 1e-4


def test_a_start_known_beforehand_would_miss_them(monkeypatch):
    """The matrices above are what they say: only a start that depends on the data finds all."""
    monkeypatch.setattr(krylov, "seed_of", lambda sums: 0)
    missed = [name for name, rest in RESTS.items() if broken(hidden([110.0], rest), (5,))]
    assert "rank 64" in missed


def test_where_a_space_starts_depends_on_every_sample(monkeypatch):
    starts = []

    def leading_rows(*args, seed, **kwargs):
        starts.append(seed)

    monkeypatch.setattr(krylov, "leading_rows", leading_rows)
    rng = np.random.default_rng(3)
    for A in (
        rng.integers(0, 256, (M, N), np.uint8),
        rng.integers(0, 65536, (M, N), np.uint16),
        rng.standard_normal((M, N)),
    ):
        starts.clear()
        linalg.truncated_svd(A, 1)
        linalg.truncated_svd(A.copy(), 1)
        for i, j in ((0, 0), (M - 1, N - 1), (70, 3)):
            other = A.copy()
            other[i, j] = A[i, j] ^ 1 if A.dtype.kind == "u" else A[i, j] + 1e-3
            linalg.truncated_svd(other, 1)
        assert starts[0] == starts[1]
        assert len(set(starts)) == 4


def test_a_seed_depends_on_the_last_bit_and_on_the_order():
    sums = [3.0, 5.0, 7.0]
    seeds = {
        krylov.seed_of(x) for x in (sums, sums[::-1], [3.0, 5.0, np.nextafter(7.0, 8)], [15.0])
    }
    assert len(seeds) == 4
    assert all(0 <= seed < 2**62 for seed in seeds)


@pytest.mark.parametrize("shape", [(1, 1), (3, 255), (3, 257), (700, 901)])
def test_the_norm_of_bytes_is_exact(shape):
    for A in (
        np.full(shape, 255, np.uint8),
        np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)[..., 1].T,
    ):
        exact = int((A.astype(np.int64) ** 2).sum()) ** 0.5
        assert linalg.frobenius_norm(A) == exact
        assert linalg.truncated_svd(A, 1).norm == exact
