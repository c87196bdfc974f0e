"""Targets give the fewest terms that meet them, as brute force over numpy's spectra finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import picture
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lowrank import api, codec, linalg, targets
from lowrank import format as lrk
from lowrank.errors import UsageError
from lowrank.targets import Target, spectrum

SPECTRA = st.lists(
    st.integers(1, 8).flatmap(lambda n: arrays(np.float64, n, elements=st.floats(0, 1e4))),
    min_size=1,
    max_size=4,
).map(lambda found: [np.sort(s)[::-1] for s in found])


def numpy_spectra(A):
    return [
        np.linalg.svd(A.samples[:, :, c].astype(np.float64), compute_uv=False)
        for c in range(A.samples.shape[2])
    ]


def encoded(A, target, store="float32"):
    return codec.encode(A, target, layout="channels", store=store)


def discarded(spectra, ranks):
    """Frobenius error of these ranks, by definition."""
    return math.sqrt(sum(float(np.sum(s[k:] ** 2)) for s, k in zip(spectra, ranks, strict=True)))


def by_brute_force(spectra, tail):
    """Fewest terms, in sigma order over the matrices, with an error of at most `tail`."""
    for terms in range(sum(map(len, spectra)) + 1):
        ranks = leading(spectra, terms)
        if discarded(spectra, ranks) <= tail:
            return terms, ranks
    raise AssertionError("all terms leave no error")


def leading(spectra, terms):
    """Ranks when the largest sigma goes first, one after another."""
    ranks = [0] * len(spectra)
    for _ in range(terms):
        rest = [s[k] if k < len(s) else -1.0 for s, k in zip(spectra, ranks, strict=True)]
        ranks[int(np.argmax(rest))] += 1
    return tuple(ranks)


@given(SPECTRA, st.data())
def test_leading_terms_are_taken_one_by_one_in_order_of_sigma(spectra, data):
    terms = data.draw(st.integers(0, sum(map(len, spectra))))
    got = spectrum.ranks_of_leading(spectra, terms)
    assert sum(got) == terms
    assert got == leading(spectra, terms)


@given(SPECTRA, st.data())
def test_no_other_ranks_of_as_many_terms_are_nearer(spectra, data):
    terms = data.draw(st.integers(0, sum(map(len, spectra))))
    best = discarded(spectra, spectrum.ranks_of_leading(spectra, terms))
    rival = [0] * len(spectra)
    for _ in range(terms):
        free = [i for i, s in enumerate(spectra) if rival[i] < len(s)]
        rival[data.draw(st.sampled_from(free))] += 1
    assert best <= discarded(spectra, rival) * (1 + 1e-12) + 1e-9


@given(SPECTRA, st.floats(0, 1.1))
def test_a_tail_is_met_by_the_fewest_terms(spectra, share):
    tail = share * math.sqrt(sum(float(s @ s) for s in spectra))
    got = spectrum.terms_for_tail(spectra, tail)
    # Sums of squares in another order differ in their last bits: allow for these alone.
    most, _ = by_brute_force(spectra, tail * (1 - 1e-12))
    least, _ = by_brute_force(spectra, tail * (1 + 1e-12))
    assert least <= got <= most


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "I;16", "F"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.9999])
def test_energy_keeps_its_share_with_the_fewest_terms(mode, share):
    A = picture(mode, 40, 33)
    spectra = numpy_spectra(A)
    norm2 = sum(float(s @ s) for s in spectra)
    _, ranks = by_brute_force(spectra, math.sqrt(norm2 * (1 - share)))
    parts = encoded(A, Target("energy", share)).parts
    assert tuple(f.k for f in parts.body.factors) == ranks
    assert 1 - discarded(spectra, ranks) ** 2 / norm2 >= share


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "F"])
@pytest.mark.parametrize("share", [0.3, 0.05, 0.01])
def test_error_is_kept_with_the_fewest_terms(mode, share):
    A = picture(mode, 35, 44)
    spectra = numpy_spectra(A)
    norm = math.sqrt(sum(float(s @ s) for s in spectra))
    _, ranks = by_brute_force(spectra, share * norm)
    parts = encoded(A, Target("error", share)).parts
    assert tuple(f.k for f in parts.body.factors) == ranks
    errors = [
        np.linalg.norm(A.samples[:, :, c] - (f.U * f.s) @ f.Vt)
        for c, f in enumerate(parts.body.factors)
    ]
    assert math.hypot(*errors) / norm <= share * 1.001


@pytest.mark.parametrize("mode", ["L", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("wanted", [15, 25, 32.5])
def test_psnr_of_the_factors_is_reached_with_the_fewest_terms(mode, wanted):
    A = picture(mode, 41, 30)
    spectra = numpy_spectra(A)
    peak = A.mode.peak or float(A.samples.max() - A.samples.min())
    allowed = math.sqrt(peak**2 / 10 ** (wanted / 10) * A.samples.size)
    _, ranks = by_brute_force(spectra, allowed)
    parts = encoded(A, Target("psnr", wanted)).parts
    assert tuple(f.k for f in parts.body.factors) == ranks
    mse = discarded(spectra, ranks) ** 2 / A.samples.size
    assert 10 * math.log10(peak**2 / mse) >= wanted


@pytest.mark.parametrize("store", ["float16", "float32", "float64", "auto"])
@pytest.mark.parametrize("wanted", [1500, 3000, 7777])
def test_size_is_the_largest_file_that_fits_in_order_of_sigma(store, wanted):
    A = picture("RGB", 36, 52)
    parts = encoded(A, Target("size", wanted), store).parts
    data = lrk.serialize(parts)
    ranks = tuple(f.k for f in parts.body.factors)
    item = np.dtype(parts.head.store).itemsize
    assert len(data) <= wanted < len(data) + 12 + 8 + item * (36 + 52)
    assert ranks == leading(numpy_spectra(A), sum(ranks))


@pytest.mark.parametrize("certify", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB", "F"])
@pytest.mark.parametrize(
    "target",
    [
        Target("error", 0.2), Target("error", 0.14), Target("energy", 0.98), Target("psnr", 21),
        Target("energy", 0.5), Target("size", 2000), Target("size", 12_000),
    ],
    ids=lambda target: f"{target.kind} {target.value:g}",
)  # fmt: skip
def test_what_is_met_early_is_found_without_the_whole_spectrum(monkeypatch, mode, target, certify):
    A = picture(mode, 240, 210)
    spectra = numpy_spectra(A)
    monkeypatch.setattr(linalg, "spectrum", lambda A: pytest.fail("the whole spectrum"))
    found = codec.encode(A, target, layout="channels", store="float16", certify=certify)
    ranks = found.parts.ranks
    assert ranks == leading(spectra, sum(ranks))
    if target.kind != "size":
        norm = math.sqrt(sum(float(s @ s) for s in spectra))
        peak = A.mode.peak or float(A.samples.max() - A.samples.min())
        allowed = spectrum.allowed_tail(target, norm, peak, A.samples.size)
        _, fewest = by_brute_force(spectra, allowed)
        assert ranks == fewest
    for x, s, k in zip(found.exact, spectra, ranks, strict=True):
        k = max(k, 1)  # exact decompositions have a term at least
        assert x.certified == certify
        np.testing.assert_allclose(x.s, s[:k], rtol=1e-7)
        assert x.sigma_next == pytest.approx(s[k], rel=1e-7)
        assert x.tail == pytest.approx(np.linalg.norm(s[k:]), rel=1e-7)


def test_what_needs_most_of_the_terms_is_found_in_the_whole_spectrum():
    A = picture("RGB", 90, 120, seed=3)
    spectra = numpy_spectra(A)
    _, fewest = by_brute_force(spectra, 0.02 * math.sqrt(sum(float(s @ s) for s in spectra)))
    assert encoded(A, Target("error", 0.02)).parts.ranks == fewest
    assert min(fewest) > 90 // 2


def test_a_size_of_60k_of_a_photograph_is_nine_tenths_used(photo):
    encoded = codec.encode(photo.picture, Target("size", 60_000), layout="channels")
    data = lrk.serialize(encoded.parts)
    assert 54_000 <= len(data) <= 60_000


def test_a_size_counts_the_metadata_too(samples):
    image = api.load(samples / "galaxies.jpg")
    metadata = image.picture.metadata
    carried = sum(len(x) for x in (metadata.exif, metadata.icc, metadata.xmp) if x)
    assert carried > 0
    encoded = codec.encode(image.picture, Target("size", 40_000), layout="channels")
    data = lrk.serialize(encoded.parts)
    assert 36_000 <= len(data) <= 40_000


def test_a_size_for_no_term_or_for_all_is_said():
    A = picture("L", 9, 9)
    with pytest.raises(UsageError, match="cannot hold a term"):
        encoded(A, Target("size", 100))
    all_of_it = encoded(A, Target("size", 1e9))
    assert all_of_it.parts.body.factors[0].k == 9
    assert "kept all 9" in " ".join(all_of_it.notes)


def test_a_rank_beyond_the_matrix_keeps_all_with_a_note():
    for k, kept in ((9, 9), (10, 9), (10**9, 9)):
        found = encoded(picture("RGB", 9, 14), Target("rank", k))
        assert [f.k for f in found.parts.body.factors] == [kept] * 3
        assert bool(found.notes) == (k > 9)


# -- truncation of a file: the same targets from what the file states ----------------------------


@pytest.mark.parametrize(
    "target",
    [
        Target("error", 0.1),
        Target("energy", 0.98),
        Target("psnr", 22),
        Target("size", 2000),
        Target("rank", 3),
    ],
)
def test_shortening_a_file_meets_a_target_as_compressing_does(target):
    A = picture("RGB", 36, 52)
    whole = encoded(A, Target("rank", 30)).parts
    direct = encoded(A, target).parts
    assert [f.k for f in codec.shorten(whole, target).body.factors] == [
        f.k for f in direct.body.factors
    ]


def test_shortening_cannot_bring_back_what_is_lost():
    parts = encoded(picture("L", 30, 30), Target("rank", 2)).parts
    for target in (Target("error", 0.001), Target("energy", 0.99999), Target("psnr", 60)):
        with pytest.raises(UsageError, match="compress the source again"):
            codec.shorten(parts, target)
    assert codec.shorten(parts, Target("rank", 50)).ranks == (2,)


# -- ranges --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("rank", (0, -1, math.nan, 2**31)),
        ("energy", (-0.1, 1.1, 99, math.nan, math.inf)),
        ("error", (-0.1, 1.1, 5, math.nan)),
        ("psnr", (-1, 201, math.inf, math.nan)),
        ("size", (0, -5, 2**64, math.nan)),
        ("quality", (0, 101, math.nan)),
    ],
)
def test_targets_out_of_range_are_refused(kind, values):
    for value in values:
        with pytest.raises(UsageError, match=f"{kind} .* is out of range"):
            Target(kind, value)


def test_only_one_target_is_taken():
    with pytest.raises(UsageError, match="rank and psnr exclude each other"):
        targets.chosen({"rank": 3, "psnr": 30.0})


# -- Gavish and Donoho -----------------------------------------------------------------------------


def omega(beta):
    return spectrum._gavish_donoho_lambda(beta) / math.sqrt(spectrum.marchenko_pastur_median(beta))


def test_the_threshold_is_4_over_root_3_for_square_matrices_of_known_noise():
    assert spectrum._gavish_donoho_lambda(1.0) == pytest.approx(4 / math.sqrt(3), rel=1e-12)


@pytest.mark.parametrize(
    ("beta", "coefficient"),
    # omega(beta) as Gavish and Donoho (2014) tabulate it, by quadrature good to 1e-3.
    [
        (0.05, 1.5194), (0.10, 1.6089), (0.15, 1.6896), (0.20, 1.7650), (0.25, 1.8371),
        (0.30, 1.9061), (0.35, 1.9741), (0.40, 2.0403), (0.45, 2.106), (0.50, 2.1711),
        (0.55, 2.2365), (0.60, 2.3021), (0.65, 2.3679), (0.70, 2.4339), (0.75, 2.5011),
        (0.80, 2.5697), (0.85, 2.6399), (0.90, 2.7099), (0.95, 2.7832), (1.00, 2.8582),
    ],
)  # fmt: skip
def test_the_coefficient_of_the_median_is_that_of_the_papers_table(beta, coefficient):
    assert omega(beta) == pytest.approx(coefficient, abs=1e-3)


@pytest.mark.parametrize("beta", [0.1, 0.5, 1.0])
def test_the_median_halves_the_marchenko_pastur_density(beta):
    low, high = (1 - math.sqrt(beta)) ** 2, (1 + math.sqrt(beta)) ** 2
    median = spectrum.marchenko_pastur_median(beta)
    t = np.linspace(low, high, 2_000_001)[1:-1]
    density = np.sqrt((high - t) * (t - low)) / (2 * math.pi * beta * t)
    mass = density.sum() * (t[1] - t[0])
    assert mass == pytest.approx(1, abs=2e-3)
    assert density[t <= median].sum() * (t[1] - t[0]) == pytest.approx(mass / 2, abs=1e-3)


@pytest.mark.parametrize(("m", "n"), [(120, 120), (90, 200), (200, 90)])
def test_auto_finds_the_rank_under_white_noise(m, n):
    rng = np.random.default_rng(5)
    signal = rng.normal(size=(m, 6)) @ rng.normal(size=(6, n)) * 3
    s = np.linalg.svd(signal + rng.normal(size=(m, n)), compute_uv=False)
    assert spectrum.gavish_donoho_rank(s, m, n) == 6
    beta = min(m, n) / max(m, n)
    assert spectrum.gavish_donoho_rank(s, m, n) == np.sum(s > omega(beta) * np.median(s))


def test_auto_keeps_at_least_one_term():
    assert spectrum.gavish_donoho_rank(np.ones(5), 5, 9) == 1
    assert spectrum.gavish_donoho_rank(np.zeros(5), 5, 9) == 1
    A = picture("L", 20, 30)
    s = numpy_spectra(A)[0]
    parts = encoded(A, Target("auto")).parts
    assert parts.body.factors[0].k == spectrum.gavish_donoho_rank(s, 20, 30)


@pytest.mark.parametrize(("kind", "value"), [("error", 1.0), ("energy", 0.0)])
def test_where_all_may_be_lost_no_term_is_kept(kind, value):
    """Whatever ||A||_F and the singular values are rounded to."""
    for seed in range(8):
        A = picture("L", 31 + seed, 40, seed=seed)
        parts = codec.encode(A, Target(kind, value), store="float32").parts
        assert [f.k for f in parts.body.factors] == [0]
