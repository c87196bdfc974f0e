"""The packed store of the layout of channels: textbook factors, and what is promised of them."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, picture

import lowrank
from lowrank import format as lrk
from lowrank import layouts, stores
from lowrank.errors import FormatError, LowrankError, TruncatedError, UsageError
from lowrank.io import modes, pillow
from lowrank.picture import Picture
from lowrank.stores import packed as store
from lowrank.stores.packed.channels import blocks, codec, mixture, sums, vectors
from lowrank.stores.packed.channels.header import read_header
from lowrank.targets import Target

SIZES = [(1, 1), (1, 40), (40, 1), (16, 16), (17, 33), (33, 34)]


def compress(p, **wishes):
    return lowrank.compress(modes.to_image(p), layout="channels", store="packed", **wishes)


def psnr(p, samples):
    error = p.samples.astype(float) - samples.reshape(p.samples.shape)
    mse = float(np.mean(error**2))
    return 10 * math.log10(p.mode.peak**2 / mse) if mse else math.inf


@pytest.fixture(scope="module")
def part():
    """A part of a photograph, small enough to be quick."""
    path = ROOT / "sample_images" / "parrots.png"
    whole = pillow.read(path.read_bytes(), name=str(path)).picture
    return Picture(np.ascontiguousarray(whole.samples[100:244, 300:480]), whole.mode)


@pytest.fixture(scope="module")
def crop(part):
    """A smaller part, for what encodes often."""
    return Picture(np.ascontiguousarray(part.samples[:96, :112]), part.mode)


@pytest.fixture(scope="module")
def packed(crop):
    """The corner, packed at quality 60, and its payload."""
    return compress(crop, quality=60)


def decode(parts, **wishes):
    head = parts.head
    size = head.height, head.width, len(head.mode.channels)
    return codec.decode(parts.body.payload, size, head.mode.bits, **wishes)


def with_payload(parts, payload):
    return replace(parts, body=replace(parts.body, payload=payload))


# -- round trips -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "LA", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_fine_packing_is_close_in_every_mode_and_size(mode, height, width):
    p = picture(mode, height, width)
    file = compress(p, quality=100).to_bytes()
    parts = lrk.parse(file, name="x", max_pixels=10**6)
    assert (parts.head.layout, parts.head.store) == ("channels", "packed")
    assert psnr(p, store.decode(parts).picture.samples) > (45 if mode != "1" else 30)


def test_alpha_of_two_values_keeps_them_and_of_one_value_costs_nothing():
    p = picture("RGBA", 40, 56)
    p.samples[..., 3] = np.where(np.add.outer(np.arange(40), np.arange(56)) > 50, 255, 3)
    assert set(np.unique(compress(p, quality=20).to_array()[..., 3])) == {3, 255}
    p.samples[..., 3] = 255
    image = compress(p, quality=20)
    assert image.ranks[3] == 0
    assert np.all(image.to_array()[..., 3] == 255)


def test_a_black_picture_has_no_components():
    image = compress(Picture(np.zeros((30, 50, 3), np.uint8), picture("RGB", 1, 1).mode))
    assert image.ranks == (0, 0, 0)
    assert not image.to_array().any()


# -- rank ------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 6, 20])
def test_a_rank_is_kept_and_adds_at_most_one_per_cent_to_the_squared_error(crop, k):
    image = compress(crop, rank=k)
    assert image.ranks == (k, k, k)
    turn, B = store.factors(image.parts)
    assert not turn
    best = error = 0.0
    for c in range(3):
        A = crop.samples[..., c].astype(float)
        best += float(np.sum(np.linalg.svd(A, compute_uv=False)[k:] ** 2))
        error += float(np.sum((A - B[c]) ** 2))
        assert np.linalg.matrix_rank(B[c]) == k
    assert best < error <= 1.01 * best
    floats = lowrank.compress(modes.to_image(crop), rank=k, store="float32")
    assert len(image.to_bytes()) * 5 < len(floats.to_bytes())


def test_a_rank_of_the_packed_store_means_channels():
    assert stores.resolve(Target("rank", 3), None, "packed") == ("channels", "packed")
    assert stores.resolve(Target("rank", 3), "patches", "packed") == ("patches", "packed")
    assert stores.resolve(Target("error", 0.1), None, "packed") == ("patches", "packed")


def test_a_rank_beyond_the_matrix_is_all_of_it_with_a_note():
    image = compress(picture("L", 9, 12), rank=50)
    assert image.ranks == (9,)
    assert any("a rank above 9: kept 9" in note for note in image.notes)


def test_a_rank_that_leaves_nothing_out_is_packed_as_finely_as_can_be():
    flat = Picture(np.full((20, 30, 1), 77, np.uint8), picture("L", 1, 1).mode)
    image = compress(flat, rank=1)
    assert np.array_equal(image.to_array(), flat.samples[..., 0])
    assert any("as finely as can be" in note for note in image.notes)


def test_the_automatic_rank_and_a_rank_of_patches_are_refused(crop):
    with pytest.raises(UsageError, match="rank auto is of float stores"):
        compress(crop, rank="auto")
    with pytest.raises(UsageError, match="--layout channels"):
        lowrank.compress(modes.to_image(crop), rank=3, layout="patches", store="packed")


# -- targets ---------------------------------------------------------------------------


@pytest.mark.parametrize("target", [24.0, 30.0])
def test_a_psnr_is_met_within_a_tenth_of_a_decibel(part, target):
    assert target <= psnr(part, compress(part, psnr=target).to_array()) <= target + 0.1


@pytest.mark.parametrize("target", [1_000, 3_000])
def test_a_size_is_never_exceeded_and_nearly_used(crop, target):
    assert 0.97 * target <= len(compress(crop, size=target).to_bytes()) <= target


def test_an_error_and_an_energy_can_be_asked_for(crop):
    A = crop.samples.astype(float)
    for wish in ({"error": 0.1}, {"energy": 0.99}):
        B = compress(crop, **wish).to_array()
        assert 0.098 < np.linalg.norm(A - B) / np.linalg.norm(A) <= 0.1


def test_quality_is_monotone_in_bytes_and_in_psnr(crop):
    files = [compress(crop, quality=q) for q in (1, 30, 75, 95)]
    assert np.all(np.diff([len(f.to_bytes()) for f in files]) > 0)
    assert np.all(np.diff([psnr(crop, f.to_array()) for f in files]) > 0)


# -- truth -----------------------------------------------------------------------------


@pytest.mark.parametrize("wish", [{"quality": 60}, {"rank": 5}])
def test_the_report_is_of_the_matrices_that_were_factorised(crop, wish):
    image = compress(crop, **wish)
    report = image.report(modes.to_image(crop))
    turn, factors = store.factors(image.parts)
    rotated = ["luma", "chroma 1", "chroma 2"]
    assert [c.name for c in report.channels] == (
        ["red", "green", "blue"] if "rank" in wish else rotated
    )
    A = layouts.of_samples(crop.samples, "channels", turn)
    assert math.hypot(*(np.linalg.norm(a.astype(float)) for a in A)) == pytest.approx(
        np.linalg.norm(crop.samples.astype(float))
    )
    for c, a, B, stated in zip(report.channels, A, factors, image.parts.body.stated, strict=True):
        s = np.linalg.svd(a.astype(float), compute_uv=False)
        assert np.linalg.matrix_rank(B) <= c.k == stated.k
        assert c.frobenius_error == pytest.approx(np.linalg.norm(a - B), rel=1e-9)
        assert c.spectral_error == pytest.approx(np.linalg.norm(a - B, 2), rel=1e-6)
        assert c.frobenius_bound == pytest.approx(np.linalg.norm(s[c.k :]), rel=1e-6)
        assert c.frobenius_error >= c.frobenius_bound
        for said, true in ((stated.error, c.frobenius_error), (stated.tail, c.frobenius_bound)):
            assert true * (1 - 1e-5) <= said <= true * 1.0008


# -- prefixes --------------------------------------------------------------------------


def test_a_cut_payload_is_its_first_components(packed):
    parts, whole = packed.parts, decode(packed.parts)
    payload = parts.body.payload
    assert whole.decoded == whole.total > 12
    counts, size = [], (parts.head.height, parts.head.width, 3)
    for share in (0.1, 0.3, 0.6, 0.9, 0.999):
        cut = with_payload(parts, payload[: int(len(payload) * share)])
        with pytest.raises(TruncatedError) as caught:
            decode(cut)
        if not caught.value.terms:  # nothing of the picture: no grey one either
            with pytest.raises(TruncatedError):
                decode(cut, partial=True)
            continue
        some = decode(cut, partial=True)
        assert some.decoded == caught.value.terms < whole.total == caught.value.total
        B = codec.factors(cut.body.payload, size, 8, partial=True)
        assert sum(np.linalg.matrix_rank(b) for b in B) == some.decoded
        counts.append(some.decoded)
    assert counts == sorted(set(counts))
    assert len(counts) >= 3


def test_a_rank_keeps_so_many_terms_of_each_matrix(crop):
    """A_k as stored: the sum of the first k terms of every channel, and no other."""
    image = compress(crop, rank=6)
    _, B = store.factors(image.parts)
    for k in (1, 3, 5):
        some = image.to_array(rank=k)
        for c in range(3):
            # The terms are not orthogonal, but nearly: B_k is near the best of its rank.
            U, s, Vt = np.linalg.svd(B[c])
            best = np.clip(np.rint((U[:, :k] * s[:k]) @ Vt[:k]), 0, 255)
            off = np.linalg.norm(best - some[..., c]) / np.linalg.norm(best - crop.samples[..., c])
            assert off < 0.35
        assert psnr(crop, some) < psnr(crop, image.to_array(rank=k + 1))
    assert np.array_equal(image.to_array(rank=6), image.to_array())
    assert np.array_equal(image.to_array(rank=10_000), image.to_array())


# -- the same on every machine ---------------------------------------------------------


def test_encoding_is_repeatable(crop, packed):
    assert compress(crop, quality=60).to_bytes() == packed.to_bytes()


@pytest.mark.parametrize("core", ["Nehalem", "Haswell"])
def test_decoding_is_the_same_on_another_processor(packed, tmp_path, core):
    path = tmp_path / "x.lrk"
    path.write_bytes(packed.to_bytes())
    code = (
        "import hashlib, lowrank, sys; "
        "print(hashlib.sha256(lowrank.open(sys.argv[1]).to_array().tobytes()).hexdigest())"
    )
    threads = "1" if core == "Nehalem" else "2"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_CORETYPE": core,
             "OPENBLAS_NUM_THREADS": threads, "OPENBLAS_THREAD_TIMEOUT": "4"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    here = hashlib.sha256(packed.to_array().tobytes()).hexdigest()
    assert done.stdout.strip() == here


def test_sums_of_outer_products_are_exact_in_any_order():
    rng = np.random.default_rng(5)
    U, V = rng.normal(size=(30, 12)) * 1e3, rng.normal(size=(40, 12))
    order = rng.permutation(12)
    parts = [sums.Outer(X, Y) for X, Y in ((U, V), (U[:, order], V[:, order]))]
    one, other = (np.concatenate([rows for _, rows in x.slabs()]) for x in parts)
    assert np.array_equal(one, other)
    assert np.allclose(one, U @ V.T, rtol=0, atol=2e-3)


def test_no_logarithm_of_the_tables_is_near_a_half():
    """They are rounded: a last bit of a machine's logarithm must not show."""
    odds = [256 * math.log((i + 0.5) / (4095.5 - i)) for i in range(4096)]
    shares = [65536 / (1 + math.exp(-x / 256)) for x in range(-2047, 2048)]
    for values in (odds, shares):
        assert min(abs(v % 1 - 0.5) for v in values) > 1e-6


@pytest.mark.parametrize("switch", [0, 2, 5])
@pytest.mark.parametrize("length", [1, 16, 23, 100, 768])
def test_both_transforms_turn_back(length, switch):
    X = np.random.default_rng(1).normal(size=(length, 5))
    Y = np.rint(vectors.forward(X, switch) * 2**20)
    assert np.allclose(vectors.inverse(Y, length, switch) / 2**20, X, atol=1e-4)


def test_lapped_blocks_are_orthonormal():
    Q = blocks.forward(np.eye(64))
    assert np.allclose(Q.T @ Q, np.eye(64), atol=1e-5)


# -- damage ----------------------------------------------------------------------------


def test_random_changes_of_a_payload_raise_our_errors_or_decode():
    p = picture("LA", 15, 20)
    parts = compress(p, quality=10).parts
    rng = np.random.default_rng(11)
    decoded = 0
    for _ in range(250):
        data = bytearray(parts.body.payload)
        for _ in range(int(rng.integers(1, 4))):
            # The header is where a change does most.
            reach = len(data) if rng.random() < 0.5 else 30
            data[int(rng.integers(min(reach, len(data))))] = int(rng.integers(256))
        if rng.random() < 0.2:
            del data[int(rng.integers(len(data))) :]
        with contextlib.suppress(LowrankError):
            assert decode(with_payload(parts, bytes(data))).samples.shape == p.samples.shape
            decoded += 1
    assert 10 < decoded < 240  # both happen


def test_noise_for_a_payload_raises_our_errors_or_decodes():
    parts = compress(picture("RGB", 18, 20), quality=20).parts
    header = parts.body.payload[: read_header(parts.body.payload, 18, 20, 3)[1]]
    rng = np.random.default_rng(12)
    decoded = []
    for start in (b"", header):
        for length in (0, 1, 2, 3, 20, 200):
            for _ in range(20):
                noise = with_payload(parts, start + rng.bytes(length))
                with contextlib.suppress(FormatError):
                    assert decode(noise, partial=True).samples.shape == (18, 20, 3)
                    decoded.append(start)
    assert set(decoded) == {header}


def test_flags_and_counts_that_do_not_fit_are_refused_by_name():
    parts = compress(picture("L", 24, 36), quality=30).parts
    header = bytearray(parts.body.payload)
    header[4] ^= 0x80  # turned, of one channel
    with pytest.raises(FormatError, match="flag does not fit"):
        decode(with_payload(parts, bytes(header)))


def test_probabilities_leave_room_for_every_symbol():
    ones = mixture._squash()
    assert np.all(np.diff(ones.astype(int)) >= 0)
    assert mixture.LEAST <= ones[0] < ones[-1] <= mixture.TOTAL - mixture.LEAST
