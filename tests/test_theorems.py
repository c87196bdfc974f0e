"""The theorems that lowrank rests on, by their numbers in the course text.

D37-P40 are the Frobenius norm, D41-P42 the spectral norm, (2.197) the truncation, T43 and
T44 the theorems of Eckart and Young, 2.8.2 and 2.8.3 its consequences, Example 61 the
gradient of least squares. Expected values and rivals come from numpy and scipy.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lowrank import compress, linalg
from lowrank.stores import packed
from lowrank.stores.packed.channels import factorise

RANKS = [1, 3, 10]


def photograph(samples):
    """One channel of the sample photograph, or smooth shapes with an edge and noise."""
    path = samples / "parrots.png"
    if path.exists():
        return np.asarray(Image.open(path).convert("RGB"))[100:260, 300:500, 1]
    y, x = np.mgrid[0:160, 0:200] / 200
    A = 128 + 60 * np.sin(9 * x + 4 * y) + 50 * (x > y)
    return np.rint(A + np.random.default_rng(0).normal(0, 4, A.shape)).astype(np.uint8)


@pytest.fixture(scope="module", params=["random", "tall", "decaying", "integers", "photograph"])
def A(request, samples):
    """An m x n matrix, of the type that an image of its kind has."""
    rng = np.random.default_rng(41)
    if request.param == "photograph":
        return photograph(samples)
    return {
        "random": lambda: rng.standard_normal((40, 60)),
        "tall": lambda: rng.standard_normal((90, 35)).astype(np.float32),
        "decaying": lambda: rng.standard_normal((80, 80)) * 0.8 ** np.arange(80),
        "integers": lambda: rng.integers(0, 256, (100, 70)).astype(np.uint8),
    }[request.param]()


@pytest.fixture(scope="module")
def svd(A):
    """U, sigma, Vt of the same matrix, by numpy."""
    return np.linalg.svd(A.astype(np.float64), full_matrices=False)


def column_selection(A, svd, k):
    """Project on the k columns of largest norm."""
    C = A[:, np.argsort(-np.linalg.norm(A, axis=0), kind="stable")[:k]]
    return C @ np.linalg.lstsq(C, A, rcond=None)[0]


def truncated_dct(A, svd, k):
    """Keep the k lowest frequencies of one direction."""
    coefficients = scipy.fft.dctn(A, norm="ortho")
    coefficients[k:] = 0
    return scipy.fft.idctn(coefficients, norm="ortho")


def random_projection(A, svd, k):
    """Project on the images of k random vectors (Halko, Martinsson and Tropp 2011)."""
    Q = np.linalg.qr(A @ np.random.default_rng(0).standard_normal((A.shape[1], k)))[0]
    return Q @ (Q.T @ A)


def perturbation(A, svd, k):
    """A_k with its factors moved a little."""
    U, s, Vt = svd
    rng = np.random.default_rng(1)
    left = U[:, :k] + 1e-3 * rng.standard_normal((A.shape[0], k))
    return (left * s[:k]) @ (Vt[:k] + 1e-3 * rng.standard_normal((k, A.shape[1])))


def half_precision(A, svd, k):
    """The factors rounded to float16, as a file stores them."""
    found = linalg.truncated_svd(A, k)
    return (found.U.astype(np.float16).astype(float) * found.s) @ found.Vt.astype(np.float16)


def coarse_factors(A, svd, k):
    """The factors rounded to a few levels, as a packed file stores them."""
    found = linalg.truncated_svd(A, k)
    step = 0.02
    return (np.round(found.U / step) * step * found.s) @ (np.round(found.Vt / step) * step)


RIVALS = [
    column_selection,
    truncated_dct,
    random_projection,
    perturbation,
    half_precision,
    coarse_factors,
]


@pytest.fixture(params=RIVALS, ids=lambda f: f.__name__)
def rival(request, A, svd):
    """Make a matrix of rank at most k that competes with A_k."""
    return lambda k: request.param(A.astype(np.float64), svd, k)


def any_matrix():
    """Small random matrices of any shape, scale and rank, for Hypothesis."""

    def build(m, n, rank, scale, seed):
        rng = np.random.default_rng(seed)
        return 10.0**scale * rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))

    side = st.integers(1, 25)
    return st.builds(build, side, side, side, st.integers(-30, 30), st.integers(0, 2**32 - 1))


def is_at_most(small, large, *, of):
    """Compare up to rounding, on the scale of the matrix."""
    scale = np.linalg.norm(of.astype(np.float64))
    return small <= large * (1 + 1e-9) + 1e-12 * scale


@given(A=any_matrix())
def test_d37_frobenius_norm_is_the_root_of_the_sum_of_squares(A):
    expected = math.sqrt(math.fsum(x * x for x in A.ravel().tolist()))
    assert linalg.frobenius_norm(A) == pytest.approx(expected, rel=1e-13)


@given(A=any_matrix())
def test_p38_frobenius_norm_squared_is_the_trace_of_the_gram_matrix(A):
    assert linalg.frobenius_norm(A) ** 2 == pytest.approx(np.trace(A.T @ A), rel=1e-12)
    assert linalg.frobenius_norm(A) ** 2 == pytest.approx(np.trace(A @ A.T), rel=1e-12)


@given(A=any_matrix(), seed=st.integers(0, 2**32 - 1))
def test_p39_frobenius_norm_is_invariant_under_orthonormal_matrices(A, seed):
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((A.shape[0], A.shape[0])))[0]
    V = np.linalg.qr(rng.standard_normal((A.shape[1], A.shape[1])))[0]
    assert linalg.frobenius_norm(U @ A @ V) == pytest.approx(linalg.frobenius_norm(A), rel=1e-12)


@given(A=any_matrix())
def test_p40_frobenius_norm_squared_is_the_sum_of_squared_singular_values(A):
    expected = np.linalg.norm(A)
    assert np.linalg.norm(linalg.spectrum(A)) == pytest.approx(expected, rel=1e-12)
    for k in {1, min(A.shape)}:
        found = linalg.truncated_svd(A, k)
        assert math.hypot(*found.s, found.tail) == pytest.approx(expected, rel=1e-12)
        assert found.norm == pytest.approx(expected, rel=1e-12)


@given(A=any_matrix(), seed=st.integers(0, 2**32 - 1))
def test_d41_spectral_norm_is_the_largest_stretch(A, seed):
    norm = linalg.spectral_norm(A)
    x = np.random.default_rng(seed).standard_normal((A.shape[1], 50))
    stretches = np.linalg.norm(A @ x, axis=0) / np.linalg.norm(x, axis=0)
    assert is_at_most(stretches.max(), norm, of=A)
    v = np.linalg.svd(A)[2][0]  # where it is attained
    assert norm == pytest.approx(np.linalg.norm(A @ v), rel=1e-12)


@given(A=any_matrix())
def test_p42_spectral_norm_is_the_largest_singular_value(A):
    sigma_1 = math.sqrt(scipy.linalg.eigvalsh(A.T @ A if A.shape[0] > A.shape[1] else A @ A.T)[-1])
    assert linalg.spectral_norm(A) == pytest.approx(sigma_1, rel=1e-11)
    assert linalg.spectrum(A)[0] == pytest.approx(sigma_1, rel=1e-11)


@pytest.mark.parametrize("k", RANKS)
def test_2_197_truncation_is_a_sum_of_k_outer_products_of_few_floats(A, svd, k):
    U, s, Vt = svd
    m, n = A.shape
    found = linalg.truncated_svd(A, k)
    terms = sum(s[i] * np.outer(U[:, i], Vt[i]) for i in range(k))
    np.testing.assert_allclose((found.U * found.s) @ found.Vt, terms, rtol=0, atol=1e-5 * s[0])
    assert found.U.size + found.s.size + found.Vt.size == k * (m + n + 1)
    assert k * (m + n + 1) < m * n
    assert np.linalg.matrix_rank(terms) == k


@pytest.mark.parametrize("k", RANKS)
def test_t43_truncation_has_the_spectral_error_sigma_next(A, svd, k):
    found = linalg.truncated_svd(A, k, certify=True)
    error = np.linalg.norm(A - (found.U * found.s) @ found.Vt, 2)
    assert error == pytest.approx(svd[1][k], rel=1e-7)
    assert found.sigma_next == pytest.approx(svd[1][k], rel=1e-7)
    assert linalg.residual_norms(A, found.U, found.s, found.Vt).spectral == pytest.approx(
        svd[1][k], rel=1e-6
    )
    assert found.certified


@pytest.mark.parametrize("k", RANKS)
def test_t43_no_rival_has_a_smaller_spectral_error(A, rival, k):
    B = rival(k)
    assert np.linalg.matrix_rank(B) <= k
    bound = linalg.truncated_svd(A, k).sigma_next
    assert is_at_most(bound, np.linalg.norm(A - B, 2), of=A)


@pytest.mark.parametrize("k", RANKS)
def test_t43_the_witness_of_the_proof_stretches_every_rival_error(A, svd, rival, k):
    """B has rank k, so that some x in the span of k + 1 right singular vectors has Bx = 0."""
    B = rival(k)
    V = svd[2][: k + 1].T
    x = V @ np.linalg.svd(B @ V)[2][-1]  # a unit vector of the span, and of null(B):
    assert np.linalg.norm(x) == pytest.approx(1, rel=1e-12)
    assert np.linalg.norm(B @ x) <= 1e-12 * np.linalg.norm(B)
    # ||(A - B) x|| = ||A x|| >= sigma_(k+1), for there A stretches by no less.
    stretch = np.linalg.norm((A - B) @ x)
    assert is_at_most(linalg.truncated_svd(A, k).sigma_next, stretch, of=A)
    assert is_at_most(stretch, np.linalg.norm(A - B, 2), of=A)


@pytest.mark.parametrize("k", RANKS)
def test_t44_truncation_has_the_frobenius_error_of_the_tail(A, svd, k):
    found = linalg.truncated_svd(A, k)
    tail = math.sqrt(math.fsum(x * x for x in svd[1][k:].tolist()))
    assert found.tail == pytest.approx(tail, rel=1e-7)
    error = np.linalg.norm(A - (found.U * found.s) @ found.Vt)
    assert error == pytest.approx(tail, rel=1e-8)
    assert linalg.residual_norms(A, found.U, found.s, found.Vt).frobenius == pytest.approx(
        tail, rel=1e-8
    )


@pytest.mark.parametrize("k", RANKS)
def test_t44_no_rival_has_a_smaller_frobenius_error(A, rival, k):
    bound = linalg.truncated_svd(A, k).tail
    assert is_at_most(bound, np.linalg.norm(A - rival(k)), of=A)


@pytest.mark.parametrize("k", RANKS)
def test_t44_every_singular_value_of_a_rival_error_is_bounded(A, rival, k):
    """gamma_i = sigma_i(A - B) >= sigma_(i+k)(A), from which the theorem follows by summing."""
    gamma = np.linalg.svd(A - rival(k), compute_uv=False)
    sigma = linalg.spectrum(A)
    for i in range(len(sigma) - k):
        assert is_at_most(sigma[i + k], gamma[i], of=A)


@pytest.mark.parametrize("k", [2, 10])
def test_2_8_2_every_prefix_of_the_terms_is_the_best_of_its_rank(A, svd, k):
    found = linalg.truncated_svd(A, k)
    assert (np.diff(found.s) <= 0).all()
    for j in range(1, k + 1):
        prefix = (found.U[:, :j] * found.s[:j]) @ found.Vt[:j]
        assert np.linalg.norm(A - prefix) == pytest.approx(np.linalg.norm(svd[1][j:]), rel=1e-8)
        assert np.linalg.norm(A - prefix, 2) == pytest.approx(svd[1][j], rel=1e-6)


@given(
    blocks=st.lists(any_matrix(), min_size=2, max_size=3),
    k=st.integers(1, 20),
)
def test_2_8_3_singular_values_of_a_block_diagonal_matrix_are_the_union(blocks, k):
    blocks = [B / np.linalg.norm(B) for B in blocks]
    D = scipy.linalg.block_diag(*blocks)
    union = np.sort(np.concatenate([np.linalg.svd(B, compute_uv=False) for B in blocks]))[::-1]
    padded = np.zeros(min(D.shape))  # blocks of unlike shape leave rows or columns of zeros
    padded[: len(union)] = union[: len(padded)]
    np.testing.assert_allclose(linalg.spectrum(D), padded, rtol=0, atol=1e-13)

    # So one list in the order of sigma is optimal over channels: its first k terms, taken
    # from the blocks' own decompositions, leave the error of the best of rank k of them all.
    k = min(k, len(union))
    found = [linalg.truncated_svd(B, min(B.shape)) for B in blocks]
    kept = [int(np.sum(x.s >= union[k - 1] * (1 - 1e-9))) for x in found]
    errors = [
        np.linalg.norm(B - (x.U[:, :j] * x.s[:j]) @ x.Vt[:j])
        for B, x, j in zip(blocks, found, kept, strict=True)
    ]
    best = np.linalg.norm(union[sum(kept) :])
    assert math.hypot(*errors) == pytest.approx(best, abs=1e-12)


@given(A=any_matrix(), k=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_example_61_gradient_of_least_squares(A, k, seed):
    """The gradient of ||A - U V^T||_F^2 is 2 U^T (U V^T - A), and where we solve it is zero."""
    A = A / np.linalg.norm(A)
    rng = np.random.default_rng(seed)
    U = rng.standard_normal((A.shape[0], k))
    solved = factorise.solve(A, U).T
    assert solved.shape == (k, A.shape[1])

    def gradient(Vt):
        # The loss is quadratic: central differences are exact but for rounding.
        found = np.empty_like(Vt)
        ones = np.ones(k)
        for at in np.ndindex(Vt.shape):
            step = np.zeros_like(Vt)
            step[at] = 1e-2
            more, less = (
                linalg.residual_norms(A, U, ones, Vt + x).frobenius for x in (step, -step)
            )
            found[at] = (more**2 - less**2) / 2e-2
        return found

    elsewhere = solved + rng.standard_normal(solved.shape)
    expected = 2 * U.T @ (U @ elsewhere - A)
    scale = np.linalg.norm(U) ** 2 * max(np.linalg.norm(elsewhere), 1)
    np.testing.assert_allclose(gradient(elsewhere), expected, rtol=0, atol=1e-9 * scale)
    # The equations are solved with a ridge of 1e-6, for columns that are zero or equal.
    ridge = 3e-6 * np.linalg.norm(U) ** 2 * np.linalg.norm(solved)
    np.testing.assert_allclose(gradient(solved), 0, atol=ridge + 1e-8)


@pytest.mark.parametrize("k", RANKS)
def test_example_61_a_factor_is_refitted_where_its_gradient_vanishes(A, k):
    """With U quantised, V solves a least squares problem, and no other V is as near to A."""
    A = A.astype(np.float64)
    found = linalg.truncated_svd(A, k)
    U = np.round(found.U * 20) / 20 + 1e-3
    refitted = factorise.solve(A, U).T
    np.testing.assert_allclose(
        U @ refitted,
        U @ np.linalg.lstsq(U, A, rcond=None)[0],
        rtol=0,
        atol=2e-6 * np.linalg.norm(A),
    )
    scale = np.linalg.norm(A)
    assert np.linalg.norm(2 * U.T @ (U @ refitted - A)) <= 1e-5 * scale

    ones = np.ones(k)
    best = linalg.residual_norms(A, U, ones, refitted).frobenius
    assert best <= linalg.residual_norms(A, U, found.s, found.Vt).frobenius
    assert is_at_most(found.tail, best, of=A)
    rng = np.random.default_rng(2)
    for size in (1e-3, 1e-1):
        step = size * scale * rng.standard_normal(refitted.shape)
        assert best < linalg.residual_norms(A, U, ones, refitted + step).frobenius


def test_example_61_the_encoder_refits_to_what_it_quantised(samples):
    """In a file, V is the best for U as it stands there, but for V's own rounding."""
    A = photograph(samples)
    image = compress(A, rank=6, store="packed")
    _, (B,) = packed.factors(image.parts)
    A = A.astype(np.float64)
    U = np.linalg.svd(B)[0][:, :6]  # the space of the columns that the file holds
    refitted = U @ np.linalg.lstsq(U, A, rcond=None)[0]
    best, held = np.linalg.norm(A - refitted), np.linalg.norm(A - B)
    assert best <= held <= 1.005 * best
    # U alone, with V as it was before, is farther away than what the file holds.
    exact = linalg.truncated_svd(A, 6)
    nearest = U @ (U.T @ exact.U)  # the exact vectors, seen in that space
    assert held < np.linalg.norm(A - (nearest * exact.s * 0.98) @ exact.Vt)
