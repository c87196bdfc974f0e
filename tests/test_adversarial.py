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
    for _ in range(3):
        if beside is not None:
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


def keeps_its_promise(A, k, unit=1.0, *, certify=False):
    """Whether the docstring of `truncated_svd` is true of unit A, against numpy's full SVD of A."""
    found = linalg.truncated_svd(A * unit, k, certify=certify)
    sigma = np.linalg.svd(A, compute_uv=False)
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
        for k in (1, 5, 20):
            assert keeps_its_promise(A.T if transposed else A, k), (top, k)


@pytest.mark.parametrize("tops", [[110, 109], [110] * 5, [120] * 20, [100, 100], [50, 0.01, 1e-5]])
def test_nor_are_several_of_them_nor_small_ones_behind_large(tops):
    for rest in (np.geomspace(100, 1, 150), np.geomspace(100, 1, 20)):
        A = hidden(tops, rest)
        for k in (1, 5, 20, 23):
            assert keeps_its_promise(A, k), (len(rest), k)


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


KINDS = {name: case for name, *case in kinds()}


def test_there_are_two_hundred_of_the_other_kinds():
    assert len(KINDS) >= 180


@pytest.mark.parametrize("name", KINDS)
def test_ties_ranges_scales_and_exact_ranks(name):
    s, k, unit = KINDS[name]
    assert keeps_its_promise(with_spectrum(s), k, unit)


class TestProbe:
    """What the probe says, on spectra where the answer is known."""

    def hides(self, inside, beside, room):
        n = inside.size + beside.size
        H = np.diag(np.r_[inside, beside]).astype(np.float32)
        known = np.eye(n, dtype=np.float32)[: inside.size]
        return krylov._hides(lambda X: H @ X, np.ascontiguousarray(known), room, 7)

    def test_one_larger_value_beside_the_space_is_seen_and_smaller_ones_pass(self):
        inside, small = np.linspace(9, 5, 32), np.full(300, 1.0)
        assert not self.hides(inside, small, 4.0)
        assert self.hides(inside, np.r_[4.0, small], 4.0)
        assert self.hides(inside, np.r_[small, 400.0], 4.0)
        assert self.hides(inside, small, 0.0)

    def test_room_is_what_keeps_the_whole_below(self):
        others, coupling = np.array([3.0, 2.0]), np.array([[0.5, 0.2], [0.1, 0.4]])
        room = krylov._room(4.0, others, coupling)

        def largest(c):
            return np.linalg.eigvalsh(
                np.block([[np.diag(others), coupling.T], [coupling, c * np.eye(2)]])
            )[-1]

        assert largest(room) == pytest.approx(4.0, rel=1e-5)
        assert largest(room * 1.01) > 4.0 > largest(room * 0.99)
        assert krylov._room(4.0, others, np.zeros((2, 2))) == pytest.approx(4.0, rel=1e-5)

    def test_where_the_probe_starts_depends_on_the_last_bit(self):
        Z = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
        other = Z.copy()
        other[49, 15] = np.nextafter(other[49, 15], np.float32(9))
        assert krylov._seed(Z) != krylov._seed(other)


@pytest.mark.parametrize("shape", [(1, 1), (3, 255), (3, 257), (700, 901)])
def test_the_norm_of_bytes_is_exact(shape):
    for A in (
        np.full(shape, 255, np.uint8),
        np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)[..., 1].T,
    ):
        exact = int((A.astype(np.int64) ** 2).sum()) ** 0.5
        assert linalg.frobenius_norm(A) == exact
        assert linalg.truncated_svd(A, 1).norm == exact
