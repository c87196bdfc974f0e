"""Linear algebra against an independent path: numpy's full SVD, and matrices built to order."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lowrank import linalg
from lowrank.errors import ImageError, UsageError
from lowrank.linalg import certificate, krylov, svd, triplets
from lowrank.linalg import matrix as matrix_module
from lowrank.linalg.matrix import Matrix
from lowrank.linalg.tridiagonal import Tridiagonal


def with_spectrum(s, m, n, seed=0):
    """An m x n matrix with the singular values s, and zeros after them."""
    rng = np.random.default_rng([seed, m, n])
    U = np.linalg.qr(rng.standard_normal((m, len(s))))[0]
    V = np.linalg.qr(rng.standard_normal((n, len(s))))[0]
    return (U * s) @ V.T


def low_rank_integers(rank, m, n, dtype, top=6):
    rng = np.random.default_rng([rank, m, n])
    return (rng.integers(0, top, (m, rank)) @ rng.integers(0, top, (rank, n))).astype(dtype)


def noise(m, n, dtype=np.uint8):
    return np.random.default_rng([m, n]).integers(0, 256, (m, n)).astype(dtype)


SPECTRA = {}


def spectrum_of(A):
    """All singular values by numpy's SVD: once for each matrix, however many ranks are asked."""
    key = A.shape, hashlib.sha1(A.tobytes()).digest()
    if key not in SPECTRA:
        SPECTRA.clear()
        SPECTRA[key] = np.linalg.svd(A, compute_uv=False)
    return SPECTRA[key]


def largest(E):
    """The spectral norm, from the eigenvalues of E Eᵀ: the first one is exact to rounding."""
    scale = np.abs(E).max() or 1.0
    E = (E if E.shape[0] <= E.shape[1] else E.T) / scale
    return scale * np.sqrt(np.linalg.eigvalsh(E @ E.T)[-1])


def check_truncation(A, k):
    """Assert everything that `truncated_svd` promises, against numpy's full SVD."""
    before = np.array(A, copy=True)
    found = linalg.truncated_svd(A, k, certify=True)
    np.testing.assert_array_equal(A, before)

    A = before.astype(np.float64)
    m, n = A.shape
    sigma = spectrum_of(A)
    noise_floor = 1e-12 * sigma[0]
    k = min(k, m, n)
    U, s, Vt = found.U, found.s, found.Vt
    assert (U.shape, s.shape, Vt.shape) == ((m, k), (k,), (k, n))
    assert U.dtype == s.dtype == Vt.dtype == np.float64
    np.testing.assert_allclose(U.T @ U, np.eye(k), rtol=0, atol=1e-12)
    np.testing.assert_allclose(Vt @ Vt.T, np.eye(k), rtol=0, atol=1e-12)
    assert (U[np.abs(U).argmax(axis=0), np.arange(k)] > 0).all()

    np.testing.assert_allclose(s, sigma[:k], rtol=1e-7, atol=noise_floor)
    tail = np.linalg.norm(sigma[k:])
    sigma_next = sigma[k] if k < len(sigma) else 0.0
    assert found.sigma_next == pytest.approx(sigma_next, rel=1e-7, abs=noise_floor)
    assert found.tail == pytest.approx(tail, rel=1e-6, abs=noise_floor)
    assert found.norm == pytest.approx(np.linalg.norm(A), rel=1e-12)
    residual = A - (U * s) @ Vt
    assert np.linalg.norm(residual) <= tail * (1 + 1e-8) + noise_floor
    assert largest(residual) <= sigma_next * (1 + 1e-6) + noise_floor
    assert found.certified
    return found


CHECKERBOARD = (np.indices((512, 300)).sum(0) % 2 * 255).astype(np.uint8)
TIES = {
    "40-fold": (np.r_[np.full(40, 100.0), 99 * 0.97 ** np.arange(260)], [1, 5, 20, 39, 40, 41]),
    "pairs": (np.repeat(0.95 ** np.arange(120), 2), [1, 2, 19, 20]),
    "fives": (np.repeat(0.93 ** np.arange(60), 5), [1, 20, 21]),
    "three levels": (np.repeat([3.0, 2.0, 1.0], [100, 60, 140]), [1, 20, 49]),
    "nearly 60-fold": (
        np.r_[1 + 1e-5 * np.arange(60)[::-1], 0.5 * 0.99 ** np.arange(240)],
        [5, 20, 48],
    ),
}
GRADED = {
    "slow": 0.9 ** np.arange(200),
    "fast": 10.0 ** -np.arange(0, 16, 0.25),
    "steep": 10.0 ** -np.arange(0, 12, 0.05),
    "one above all": np.r_[1e6, 0.99 ** np.arange(300)],
}


class TestTruncatedSVD:
    @pytest.mark.parametrize("dtype", [bool, "uint8", "uint16", "float32", "float64", "int64"])
    @pytest.mark.parametrize("shape", [(70, 90), (130, 100), (90, 90)])
    def test_every_type_and_orientation(self, dtype, shape):
        A = noise(*shape, dtype="int64") * 257 // (2 if dtype == "uint16" else 257)
        check_truncation((A > 100) if dtype is bool else A.astype(dtype), 7)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 5000), (5000, 2), (3, 3)])
    @pytest.mark.parametrize("k", [1, 2, 5])
    def test_thin_shapes_and_ranks_beyond_them(self, shape, k):
        check_truncation(noise(*shape) + 1.0, k)

    @pytest.mark.parametrize("k", [99, 100, 101])
    def test_full_rank(self, k):
        found = check_truncation(noise(100, 120), k)
        assert (found.sigma_next == 0.0) == (k >= 100)
        assert (found.tail == 0.0) == (k >= 100)

    @pytest.mark.parametrize("k", [1, 20, 300])
    @pytest.mark.parametrize("m", [30, 300])
    def test_zeros(self, m, k):
        found = linalg.truncated_svd(np.zeros((m, 400), np.uint8), k, certify=True)
        count = min(k, m)
        assert found.sigma_next == found.tail == found.norm == 0.0
        assert not found.s.any()
        assert found.certified
        np.testing.assert_array_equal(found.U.T @ found.U, np.eye(count))
        np.testing.assert_array_equal(found.Vt @ found.Vt.T, np.eye(count))

    @pytest.mark.parametrize(
        ("A", "ranks"),
        [
            (np.full((300, 400), 77, np.uint8), [1, 2, 20, 300]),
            (np.full((800, 720), 200, np.uint8), [1, 30]),
            (CHECKERBOARD, [1, 2, 3, 20]),
            (CHECKERBOARD.T, [1, 2, 20]),
            (np.eye(256), [1, 20, 100, 256]),
            (np.eye(300, 420) * 255, [1, 20]),
            (low_rank_integers(7, 400, 500, "uint16"), [1, 6, 7, 8, 20, 100]),
            (low_rank_integers(7, 720, 740, "uint8"), [6, 7, 20]),
        ],
        ids=["constant", "large", "checkerboard", "tall", "identity", "wide", "rank 7", "rank 7b"],
    )
    def test_patterns_and_deficient_ranks(self, A, ranks):
        for k in ranks:
            check_truncation(A, k)

    def test_beyond_the_rank_everything_is_zero(self):
        found = linalg.truncated_svd(low_rank_integers(7, 400, 500, "uint16"), 20)
        assert (found.s[:7] > 0).all()
        assert not found.s[7:].any()
        assert found.sigma_next == found.tail == 0.0

    @pytest.mark.parametrize("name", TIES)
    def test_repeated_singular_values(self, name):
        s, ranks = TIES[name]
        A = with_spectrum(s, 300, 380)
        for k in ranks:
            check_truncation(A, k)
            # Nothing but the run of equal values says that some are missing.
            found = linalg.truncated_svd(A, k)
            np.testing.assert_allclose(found.s, s[:k], rtol=1e-7)
            assert found.sigma_next == pytest.approx(s[k], rel=1e-7)

    @pytest.mark.parametrize("name", GRADED)
    def test_spectra_over_many_orders_of_magnitude(self, name):
        A = with_spectrum(GRADED[name], 320, 350)
        for k in (1, 5, 20, 45, 60):
            check_truncation(A, k)

    @pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
    @pytest.mark.parametrize("k", [2, 5, 20])
    def test_smooth_pictures_whose_tail_is_rounding(self, monkeypatch, dtype, k):
        """Seven orders below sigma_1, but still found without a full SVD."""
        monkeypatch.setattr(triplets, "_by_gram", lambda *_: pytest.fail("the Krylov spaces"))
        y, x = np.mgrid[0:220, 0:300] / 300
        smooth = 32000 + 20000 * np.sin(4 * x + 3 * y) * np.cos(7 * y)
        A = np.rint(smooth) if dtype == "uint16" else smooth + 1e-4 * noise(220, 300)
        check_truncation(A.astype(dtype), k)

    @pytest.mark.parametrize("small", [1e-3, 1e-6, 1e-9])
    def test_a_tail_that_the_difference_of_squares_loses(self, small):
        s = np.r_[1.0, 0.8, 0.5, small * 0.9 ** np.arange(100)]
        found = linalg.truncated_svd(with_spectrum(s, 200, 300), 3)
        assert found.tail == pytest.approx(np.linalg.norm(s[3:]), rel=1e-6)
        assert found.sigma_next == pytest.approx(small, rel=1e-6)

    @pytest.mark.parametrize("exponent", [-900, -60, 60, 900])
    def test_powers_of_two_pass_through_exactly(self, exponent):
        A = with_spectrum(0.9 ** np.arange(90), 100, 150)
        one, other = linalg.truncated_svd(A, 5), linalg.truncated_svd(np.ldexp(A, exponent), 5)
        np.testing.assert_array_equal(one.U, other.U)
        np.testing.assert_array_equal(one.Vt, other.Vt)
        np.testing.assert_array_equal(np.ldexp(one.s, exponent), other.s)
        for name in ("sigma_next", "tail", "norm"):
            assert np.ldexp(getattr(one, name), exponent) == getattr(other, name)

    @given(
        m=st.integers(1, 90),
        n=st.integers(1, 90),
        k=st.integers(1, 100),
        rank=st.integers(1, 90),
        dtype=st.sampled_from(["uint8", "uint16", "float32", "float64"]),
    )
    def test_any_shape_rank_and_type(self, m, n, k, rank, dtype):
        check_truncation(low_rank_integers(rank, m, n, dtype, top=3), k)

    @pytest.mark.parametrize(
        "view",
        [
            lambda x: x[:, :, 1],
            lambda x: x[:, :, 0].T,
            lambda x: x[::-1, ::2, 2],
            lambda x: np.asfortranarray(x[:, :, 1]),
            lambda x: x[:, :, 1].astype("float64")[:, ::-1],
            lambda x: x[:, :, 1].astype("uint16")[::3],
        ],
    )
    def test_views_are_read_as_they_are(self, photo, view):
        A = view(photo.picture.samples)
        found = linalg.truncated_svd(A, 12, certify=True)
        copy = linalg.truncated_svd(np.array(A, order="C"), 12)
        assert found.certified
        np.testing.assert_allclose(found.s, copy.s, rtol=1e-9)
        np.testing.assert_allclose(found.U, copy.U, rtol=0, atol=1e-3)

    def test_a_row_and_its_column_agree(self, photo):
        A = photo.picture.samples[:, :, 1]
        one, other = linalg.truncated_svd(A, 10), linalg.truncated_svd(A.T, 10)
        np.testing.assert_allclose(one.s, other.s, rtol=1e-10)
        np.testing.assert_allclose((one.U * one.s) @ one.Vt, ((other.U * other.s) @ other.Vt).T)

    def test_equal_input_gives_equal_bits_in_any_thread(self, photo):
        A = photo.picture.samples[:, :, 0]
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: linalg.truncated_svd(A, 20, certify=True), range(6)))
        for other in results[1:]:
            for name in ("U", "s", "Vt", "sigma_next", "tail", "norm"):
                np.testing.assert_array_equal(getattr(results[0], name), getattr(other, name))

    @pytest.mark.parametrize("k", [0, -1])
    def test_a_rank_below_one_is_refused(self, k):
        with pytest.raises(UsageError, match="at least 1"):
            linalg.truncated_svd(np.ones((3, 3)), k)

    @pytest.mark.parametrize(
        "A", [np.ones(3), np.ones((2, 2, 2)), np.ones((0, 5)), 1j * np.ones((2, 2)), [["a"]]]
    )
    def test_what_is_no_real_matrix_is_refused(self, A):
        with pytest.raises(UsageError, match="a matrix needs"):
            linalg.truncated_svd(A, 1)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("function", ["svd", "spectrum", "norm", "spectral", "residual"])
    def test_nan_and_infinity_are_refused(self, value, dtype, function):
        A = np.ones((20, 30), dtype)
        A[7, 11] = value
        calls = {
            "svd": lambda: linalg.truncated_svd(A, 2),
            "spectrum": lambda: linalg.spectrum(A),
            "norm": lambda: linalg.frobenius_norm(A),
            "spectral": lambda: linalg.spectral_norm(A),
            "residual": lambda: linalg.residual_norms(
                A, np.ones((20, 1)), np.ones(1), np.ones((1, 30))
            ),
        }
        with pytest.raises(ImageError, match="NaN or infinity"):
            calls[function]()


class TestPhotographs:
    @pytest.mark.parametrize("k", [1, 5, 20, 50, 80, 200])
    def test_sample(self, photo, k):
        check_truncation(photo.picture.samples[:, :, 1], k)

    @pytest.mark.parametrize("index", [4, 7, 12, 19])
    def test_kodak(self, kodak, index):
        A = np.asarray(Image.open(kodak[index]).convert("RGB"))[:, :, index % 3]
        for k in (1, 5, 20, 50, 80, 200):
            check_truncation(A, k)

    def test_scipy_stays_unloaded_at_the_size_of_a_screen(self):
        code = """
import sys, numpy as np
from lowrank import linalg
A = np.random.default_rng(0).integers(0, 256, (512, 768)).astype(np.uint8)
x = linalg.truncated_svd(A, 20, certify=True)
linalg.residual_norms(A, x.U, x.s, x.Vt)
linalg.spectrum(A[:50])
print("scipy" in sys.modules)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "False", done.stderr


class TestFallback:
    """What goes wrong inside is caught by the residuals or the proof, and mended."""

    A = with_spectrum(0.9 ** np.arange(150), 150, 200)

    def test_a_subspace_without_the_top_vector_is_caught_by_the_proof(self, monkeypatch):
        U = np.linalg.svd(self.A)[0]
        monkeypatch.setattr(krylov, "leading_rows", lambda *_, **__: U[:, 1:8].T)
        wrong = linalg.truncated_svd(self.A, 6)
        assert wrong.s[0] == pytest.approx(0.9)  # the residuals alone cannot see it
        check_truncation(self.A, 6)

    @pytest.mark.parametrize("rows", [np.eye(150)[:7], np.ones((7, 150)) / 150])
    def test_a_wrong_subspace_is_caught_by_the_residuals(self, monkeypatch, rows):
        monkeypatch.setattr(krylov, "leading_rows", lambda *_, **__: rows)
        found = linalg.truncated_svd(self.A, 6)
        np.testing.assert_allclose(found.s, 0.9 ** np.arange(6), rtol=1e-9)

    def test_a_poor_subspace_is_polished(self, monkeypatch):
        U = np.linalg.svd(self.A)[0][:, :7].T
        rng = np.random.default_rng(0)
        poor = U + 1e-4 * rng.standard_normal(U.shape)
        monkeypatch.setattr(krylov, "leading_rows", lambda *_, **__: poor)
        monkeypatch.setattr(triplets, "_by_gram", lambda *_: pytest.fail("polishing gave up"))
        check_truncation(self.A, 6)

    def test_no_convergence_falls_through_to_the_last_driver(self, monkeypatch):
        def fail(*_, **__):
            raise np.linalg.LinAlgError("did not converge")

        expected = linalg.truncated_svd(self.A, 6)
        monkeypatch.setattr(np.linalg, "svd", fail)
        monkeypatch.setattr(np.linalg, "eigh", fail)
        found = linalg.truncated_svd(self.A, 6, certify=True)
        assert found.certified
        np.testing.assert_allclose(found.s, expected.s, rtol=1e-9)

    def test_a_proof_that_fails_everywhere_is_not_claimed(self, monkeypatch):
        monkeypatch.setattr(triplets, "proved", lambda *_: False)
        assert not linalg.truncated_svd(self.A, 6, certify=True).certified
        assert not linalg.truncated_svd(self.A, 6).certified


class TestCertify:
    @pytest.fixture(params=["wide", "tall", "ties", "deficient", "graded"])
    def exact(self, request):
        rng = np.random.default_rng(5)
        A = {
            "wide": lambda: noise(80, 130),
            "tall": lambda: noise(130, 80).astype("float32"),
            "ties": lambda: with_spectrum(np.repeat([3.0, 2.0, 1.0], 30), 100, 120),
            "deficient": lambda: low_rank_integers(9, 90, 100, "uint8", top=5),
            "graded": lambda: with_spectrum(10.0 ** -np.arange(0, 14, 0.5), 90, 100),
        }[request.param]()
        U, s, _ = np.linalg.svd(A.astype(float), full_matrices=False)
        return A, U, s, rng

    @pytest.mark.parametrize("k", [1, 5, 9, 27])
    def test_the_truth_is_proved(self, exact, k):
        A, U, s, _ = exact
        assert linalg.certify(A, U[:, :k], s[:k], s[k])

    @pytest.mark.parametrize("k", [2, 5])
    @pytest.mark.parametrize("numpy_side", [0, 700])  # Cholesky by scipy, by numpy
    def test_any_lie_is_rejected(self, exact, k, numpy_side, monkeypatch):
        monkeypatch.setattr(certificate, "NUMPY_SIDE", numpy_side)
        A, U, s, rng = exact
        assert linalg.certify(A, U[:, :k], s[:k], s[k])
        kept = [i for i in range(k + 1) if i != 1]  # triplet 1 dropped, k + 1 in its place
        lies = [
            (U[:, :k] + 1e-3 * rng.standard_normal((len(U), k)), s[:k], s[k]),
            (np.linalg.qr(U[:, :k] + 1e-3 * rng.standard_normal((len(U), k)))[0], s[:k], s[k]),
            (U[:, :k], s[:k] * 1.001, s[k]),
            (U[:, :k], s[:k], s[k] * 0.999),
            (U[:, :k], s[:k], s[k] * 1.001),
            (U[:, :k] * np.nan, s[:k], s[k]),
            (U[:, :k], s[:k], np.inf),
        ]
        if s[1] > s[k] * (1 + 1e-5):  # of equal ones any may be left out
            lies.append((U[:, kept], s[kept], s[k]))
        for lie in lies:
            assert not linalg.certify(A, *lie)

    def test_vectors_must_be_orthonormal_even_where_a_vanishes(self):
        A, U = np.diag([3.0, 0.0, 0.0]), np.diag([1.0, 5.0, 1.0])
        assert not linalg.certify(A, U[:, :2], np.array([3.0, 0.0]), 0.0)
        assert linalg.certify(A, np.eye(3)[:, :2], np.array([3.0, 0.0]), 0.0)

    def test_shapes_must_fit(self):
        with pytest.raises(UsageError, match="does not fit"):
            linalg.certify(np.eye(4), np.eye(3), np.ones(3), 1.0)


class TestSpectrum:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (60, 100), (100, 60)])
    def test_all_values_to_rounding(self, shape):
        A = noise(*shape)
        expected = np.linalg.svd(A.astype(float), compute_uv=False)
        np.testing.assert_allclose(linalg.spectrum(A), expected, rtol=0, atol=1e-13 * expected[0])

    @pytest.mark.parametrize("dtype", ["uint8", "float64"])
    def test_gram_values_to_their_stated_accuracy(self, monkeypatch, dtype):
        monkeypatch.setattr(svd, "_EXACT_SPECTRUM", 10)
        A = noise(300, 310, dtype)
        expected = np.linalg.svd(A.astype(float), compute_uv=False)
        found = linalg.spectrum(A)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * expected[0])
        clear = expected > 1e-4 * expected[0]
        np.testing.assert_allclose(found[clear], expected[clear], rtol=2e-8)

    @pytest.mark.parametrize("limit", [10, 1500])
    @pytest.mark.parametrize("shape", [(150, 210), (210, 150)])
    def test_terms_follow_from_it(self, monkeypatch, limit, shape):
        monkeypatch.setattr(svd, "_EXACT_SPECTRUM", limit)
        A = with_spectrum(0.97 ** np.arange(150), *shape)
        known = linalg.Spectrum(A)
        assert known.large == (limit == 10)
        for k in (40, 150, 7):  # the form serves the first time only
            found = known.truncate(k, certify=True)
            assert found.certified
            np.testing.assert_allclose(found.s, 0.97 ** np.arange(k), rtol=1e-9)
            best = np.linalg.norm(0.97 ** np.arange(k, 150))
            residual = np.linalg.norm(A - (found.U * found.s) @ found.Vt)
            assert residual <= best * (1 + 1e-8) + 1e-12
        assert not linalg.Spectrum(np.zeros(shape)).truncate(3).s.any()

    def test_zeros_and_scale(self):
        assert not linalg.spectrum(np.zeros((4, 6))).any()
        np.testing.assert_array_equal(linalg.spectrum(np.ldexp(np.eye(5), 800)), 2.0**800)


@cache
def full_svd(photo, tall):
    A = photo.picture.samples[:300, :400, 1].astype(float)
    return np.linalg.svd(A.T if tall else A, full_matrices=False)


class TestResidualNorms:
    @pytest.fixture(params=["exact eigenvalue", "Krylov"])
    def route(self, request, monkeypatch):
        if request.param == "Krylov":
            monkeypatch.setattr(svd, "NUMPY_SIDE", 0)
        return request.param

    @pytest.mark.parametrize("store", ["float16", "float32", "float64"])
    @pytest.mark.parametrize("k", [1, 20, 60])
    @pytest.mark.parametrize("tall", [False, True])
    def test_stored_factors_of_a_photograph(self, photo, route, store, k, tall):
        A = photo.picture.samples[:300, :400, 1]
        A = A.T if tall else A
        U, s, Vt = full_svd(photo, tall)
        U, s, Vt = U[:, :k].astype(store), s[:k].astype("float32"), Vt[:k].astype(store)
        E = A - (U.astype(float) * s) @ Vt.astype(float)
        found = linalg.residual_norms(A, U, s, Vt)
        assert found.spectral == pytest.approx(largest(E), rel=1e-6)
        assert found.frobenius == pytest.approx(np.linalg.norm(E), rel=1e-12)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 90), (90, 100)])
    def test_poor_factors_of_any_shape(self, route, shape):
        m, n = shape
        rng = np.random.default_rng(3)
        A = rng.standard_normal(shape) * 1e150  # squares overflow
        U, s, Vt = rng.standard_normal((m, 3)), rng.random(3) * 1e149, rng.standard_normal((3, n))
        E = (A - (U * s) @ Vt) / 1e150
        found = linalg.residual_norms(A, U, s, Vt)
        assert found.spectral == pytest.approx(np.linalg.norm(E, 2) * 1e150, rel=1e-6)
        assert found.frobenius == pytest.approx(np.linalg.norm(E) * 1e150, rel=1e-12)

    @pytest.mark.parametrize(
        "residual",
        [np.eye(90, 100), noise(90, 100) - 127.5, np.ones((90, 100)), np.zeros((90, 100))],
        ids=["ties", "noise", "rank 1", "zero"],
    )
    def test_residuals_that_are_hard_for_iterations(self, route, residual):
        B = with_spectrum([300.0, 200.0, 100.0], 90, 100)
        U, s, Vt = np.linalg.svd(B, full_matrices=False)
        found = linalg.residual_norms(residual + B, U[:, :3], s[:3], Vt[:3])
        expected = np.linalg.norm(residual, 2)
        assert found.spectral == pytest.approx(expected, rel=1e-6, abs=1e-10)

    def test_no_factors_leave_the_matrix(self, route):
        A = noise(70, 80)
        found = linalg.residual_norms(A, np.empty((70, 0)), np.empty(0), np.empty((0, 80)))
        assert found.spectral == pytest.approx(np.linalg.norm(A.astype(float), 2), rel=1e-9)

    def test_shapes_must_fit(self):
        with pytest.raises(UsageError, match="do not fit"):
            linalg.residual_norms(np.eye(4), np.ones((4, 2)), np.ones(1), np.ones((1, 4)))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
    def test_factors_without_meaning_are_refused(self, bad):
        with pytest.raises(ImageError, match="the factors hold"):
            linalg.residual_norms(np.eye(4), np.ones((4, 1)), np.array([bad]), np.ones((1, 4)))


class TestNorms:
    @pytest.mark.parametrize("A", [noise(90, 70), noise(30, 2000) - 100.0, np.zeros((3, 4))])
    def test_norms(self, A):
        assert linalg.frobenius_norm(A) == pytest.approx(np.linalg.norm(A.astype(float)), rel=1e-13)
        assert linalg.spectral_norm(A) == pytest.approx(
            np.linalg.norm(A.astype(float), 2), rel=1e-12
        )


class TestMatrix:
    @pytest.mark.parametrize("shape", [(300, 2500), (1300, 290), (40, 40), (1100, 1050)])
    @pytest.mark.parametrize("packed", [False, True])
    def test_the_gram_matrix_of_bytes_is_exact(self, shape, packed):
        A = noise(*shape)
        A[:9], A[9:20] = 255, 0
        matrix = Matrix(A).contiguous() if packed else Matrix(A)
        rows = (A if shape[0] <= shape[1] else A.T).astype(np.float64)  # exact: below 2^53
        np.testing.assert_array_equal(matrix.gram(), rows @ rows.T)

    @pytest.mark.parametrize("tall", [False, True])
    def test_products_by_slabs(self, monkeypatch, tall):
        monkeypatch.setattr(matrix_module, "_SLAB_ENTRIES", 1)  # the least width: 256 columns
        A = noise(30, 1000, "float64")
        matrix = Matrix(A.T if tall else A)
        rng = np.random.default_rng(1)
        W, Y = rng.standard_normal((4, 30)), rng.standard_normal((4, 1000))
        assert len(list(matrix.slabs())) == 4
        np.testing.assert_allclose(matrix.left(W), W @ A)
        np.testing.assert_allclose(matrix.right(Y), Y @ A.T)
        np.testing.assert_allclose(matrix.gram(), A @ A.T)
        E = A - W.T @ Y
        np.testing.assert_allclose(matrix.residual_gram(W.T, Y), E @ E.T)
        assert matrix.residual_frobenius(W.T, Y) == pytest.approx(np.linalg.norm(E))

    def test_only_exact_samples_are_packed(self):
        for dtype in ("uint8", "uint16", "float32"):
            packed = Matrix(np.ones((3, 4), dtype)).contiguous()
            assert np.shares_memory(packed.columns(), packed.columns())  # no copy any more
        fine = np.full((3, 4), 1 + 2.0**-40)
        np.testing.assert_array_equal(Matrix(fine).contiguous().whole(), fine)
        assert not np.array_equal(Matrix(fine).columns().T, fine)

    @pytest.mark.parametrize("shape", [(700, 1100), (1100, 700)])
    @pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
    def test_columns_lie_one_after_another(self, shape, dtype):
        picture = noise(*shape, dtype)[:, :, np.newaxis] * np.array([1, 0, 0], dtype)
        for A in (picture[:, :, 0], picture[:, :, 0].T):
            columns = Matrix(A).columns()
            assert columns.flags.c_contiguous
            short_first = A if A.shape[0] <= A.shape[1] else A.T
            np.testing.assert_array_equal(columns.T, short_first.astype(np.float32))
        scaled = Matrix(np.full((3, 4), 2.0**40))
        np.testing.assert_array_equal(np.ldexp(scaled.columns(), scaled.exponent), 2.0**40)


class TestTridiagonal:
    @pytest.mark.parametrize("n", [2, 3, 17, 120])
    def test_values_and_leading_vectors(self, n):
        H = np.cov(np.random.default_rng(n).standard_normal((n, 2 * n)))
        expected, V = np.linalg.eigh(H)
        np.testing.assert_allclose(Tridiagonal(H.copy()).values(), expected, rtol=1e-12)
        for count in {1, n // 2, n - 1, n}:
            vectors = Tridiagonal(H.copy()).take_vectors(count)
            np.testing.assert_allclose(np.abs(vectors.T @ V[:, -count:]), np.eye(count), atol=1e-10)

    def test_a_repeated_value_has_orthonormal_vectors(self):
        vectors = Tridiagonal(np.eye(40)).take_vectors(9)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(9), atol=1e-14)


class TestKrylov:
    def test_leading_vectors_are_found(self):
        A = with_spectrum(0.9 ** np.arange(120), 120, 150)
        U = np.linalg.svd(A)[0]
        rows = krylov.leading_rows(
            krylov.gram_product(A.T.astype(np.float32)), 120, 6, tolerance=1e-6, seed=1
        )
        assert rows is not None
        np.testing.assert_allclose(np.abs(rows @ U[:, :6]), np.eye(6), rtol=0, atol=1e-4)

    def test_an_exhausted_space_goes_on_with_random_directions(self):
        columns = np.ones((70, 60), np.float32)
        rows = krylov.leading_rows(krylov.gram_product(columns), 60, 5, tolerance=1e-5, seed=1)
        assert rows is not None
        np.testing.assert_allclose(rows @ rows.T, np.eye(5), rtol=0, atol=1e-5)
        np.testing.assert_allclose(np.abs(rows[0]), 60**-0.5, rtol=1e-5)

    @pytest.mark.parametrize("shape", [(1, 1), (70, 90), (97, 513), (300, 700), (1000, 520)])
    @pytest.mark.parametrize("columns", [1, 5, 16])
    def test_thin_products_are_products(self, monkeypatch, shape, columns):
        monkeypatch.setattr(krylov, "_CACHED", 200_000)  # several pieces
        A, rng = noise(*shape, "float32"), np.random.default_rng(1)
        X = rng.standard_normal((shape[1], columns)).astype(np.float32)
        expected = A.astype(np.float64).T @ (A.astype(np.float64) @ X)
        scale = np.linalg.norm(A) ** 2 * np.linalg.norm(X, axis=0)
        error = np.linalg.norm(krylov.gram_product(A)(X) - expected, axis=0)
        assert np.all(error <= 1e-6 * scale)

    def test_directions_are_spread_without_a_pattern(self):
        X = krylov.scattered(4096, 16)
        assert np.abs(X).max() < 1 < 1.01 * np.abs(X).max()
        assert np.abs(X.mean(axis=0)).max() < 0.05
        Q = X / np.linalg.norm(X, axis=0)
        assert np.abs(Q.T @ Q - np.eye(16)).max() < 0.08
        assert not np.isin(X, krylov.scattered(4096, 16, X.size)).any()

    def test_no_convergence_is_said(self):
        A = np.random.default_rng(0).standard_normal((800, 800)).astype(np.float32)
        product = krylov.gram_product(A)
        assert krylov.leading_rows(product, 800, 40, tolerance=1e-30, seed=1) is None
