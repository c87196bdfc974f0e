"""The packed store and the layout of patches: their promises, seen from outside."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import lowrank
from lowrank import format as lrk
from lowrank import layouts
from lowrank.errors import FormatError, LimitError, TruncatedError, UsageError
from lowrank.io import modes, pillow
from lowrank.layouts import turn
from lowrank.picture import MODES, Picture
from lowrank.stores import packed as store
from lowrank.stores.packed import dial

SIZES = [(1, 1), (1, 40), (40, 1), (16, 16), (17, 33), (34, 35)]
MODES_8 = ["L", "LA", "RGB", "RGBA", "CMYK"]


def picture(mode: str, height: int, width: int, seed: int = 0) -> Picture:
    """Smooth waves with some noise: neither flat nor white."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    channels = len(MODES[mode].channels)
    waves = [np.sin(x / (5 + c) + c) + np.cos(y / (7 - c)) for c in range(channels)]
    A = np.stack(waves, axis=2) / 4 + 0.5 + rng.normal(0, 0.02, (height, width, channels))
    peak = MODES[mode].peak or 1
    return Picture(np.clip(np.rint(A * peak), 0, peak).astype(MODES[mode].dtype), MODES[mode])


def psnr(a: Picture, b: np.ndarray) -> float:
    error = a.samples.astype(float) - b.reshape(a.samples.shape)
    return 10 * math.log10((a.mode.peak or 1) ** 2 / np.mean(error**2))


def image_of(p: Picture):
    return modes.to_image(p)


@pytest.fixture(scope="module")
def photo(request):
    """A part of a photograph: large enough for statistics, small enough to be quick."""
    path = request.config.rootpath / "sample_images" / "parrots.png"
    whole = pillow.read(path.read_bytes(), name=str(path)).picture
    return Picture(np.ascontiguousarray(whole.samples[100:292, 300:540]), whole.mode)


CODED = {}


def at_quality(photo, quality):
    """The photograph, packed once for all tests."""
    if quality not in CODED:
        CODED[quality] = lowrank.compress(image_of(photo), quality=quality)
    return CODED[quality]


# -- layout ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_patches_keep_the_frobenius_norm_of_the_padded_picture(mode, height, width):
    p = picture(mode, height, width)
    A = layouts.of_samples(p.samples, "patches", turn.of(p, "patches"))
    pad = ((0, -height % 16), (0, -width % 16), (0, 0))
    padded = np.pad(p.samples.astype(float), pad, mode="edge")
    assert math.hypot(*(np.linalg.norm(a) for a in A)) == pytest.approx(
        np.linalg.norm(padded), rel=1e-12
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_patches_turn_back_into_the_picture(mode, height, width):
    p = picture(mode, height, width)
    turned = turn.of(p, "patches")
    A = layouts.of_samples(p.samples, "patches", turned)
    back = layouts.samples_of_patches(A, height, width, turned)
    assert np.allclose(back, p.samples, atol=1e-9 * (p.mode.peak or 1))


def test_the_map_to_patches_is_orthogonal_on_differences(photo):
    """Inner products survive, not norms alone: the map is linear and orthogonal."""
    other = Picture(photo.samples[::-1, ::-1].copy(), photo.mode)
    turned = turn.of(photo, "patches")
    A, B = (layouts.of_samples(p.samples, "patches", turned) for p in (photo, other))
    inner = sum(float(np.vdot(a, b)) for a, b in zip(A, B, strict=True))
    assert inner == pytest.approx(
        float(np.vdot(photo.samples.astype(float), other.samples.astype(float))), rel=1e-12
    )


def test_a_float_store_of_patches_holds_the_exact_truncation(photo):
    image = lowrank.compress(image_of(photo), rank=7, layout="patches", store="float64")
    A = layouts.of_samples(photo.samples, "patches", image.parts.body.turn)
    for a, f in zip(A, image.parts.body.factors, strict=True):
        s = np.linalg.svd(a, compute_uv=False)
        B = (f.U * f.s) @ f.Vt
        assert np.linalg.norm(a - B) == pytest.approx(np.linalg.norm(s[7:]), rel=1e-9)
    report = image.report(image_of(photo))
    assert all(c.certified for c in report.channels)
    assert [c.name for c in report.channels] == ["luma", "chroma 1", "chroma 2"]


# -- packed ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [*MODES_8, "1", "I;16"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_fine_packing_is_close_in_every_mode_and_size(mode, height, width):
    p = picture(mode, height, width)
    image = lowrank.compress(image_of(p), quality=100)
    back = lrk.parse(image.to_bytes(), name="x", max_pixels=10**6)
    decoded = store.decode(back).picture
    assert decoded.mode.name == mode
    assert psnr_or_inf(p, decoded.samples) > (45 if mode != "1" else 30)


def psnr_or_inf(p: Picture, samples: np.ndarray) -> float:
    return math.inf if np.array_equal(p.samples, samples) else psnr(p, samples)


def test_quality_is_monotone_in_bytes_and_in_psnr(photo):
    files = [at_quality(photo, q) for q in (1, 20, 50, 75, 90, 100)]
    assert np.all(np.diff([len(f.to_bytes()) for f in files]) > 0)
    assert np.all(np.diff([psnr(photo, f.to_array()) for f in files]) > 0)
    steps = [dial.step_of_quality(q) for q in range(1, 101)]
    assert np.all(np.diff(steps) <= 0)


def test_no_target_means_quality_75(photo):
    assert lowrank.compress(image_of(photo)).to_bytes() == at_quality(photo, 75).to_bytes()


@pytest.mark.parametrize("target", [28.0, 35.5, 42.0])
def test_a_psnr_is_met_within_a_tenth_of_a_decibel(photo, target):
    image = lowrank.compress(image_of(photo), psnr=target)
    assert target <= psnr(photo, image.to_array()) <= target + 0.1


@pytest.mark.parametrize("target", [1_200, 3_500, 12_000])
def test_a_size_is_never_exceeded_and_nearly_used(photo, target):
    size = len(lowrank.compress(image_of(photo), size=target).to_bytes())
    assert 0.97 * target <= size <= target


def test_a_size_that_nothing_fits_is_refused_with_the_least_that_does(photo):
    with pytest.raises(UsageError, match="cannot hold this image"):
        lowrank.compress(image_of(photo), size=60)


def test_an_error_and_an_energy_can_be_asked_of_the_packed_store(photo):
    A = photo.samples.astype(float)
    by_error = lowrank.compress(image_of(photo), error=0.05, store="packed").to_array()
    by_energy = lowrank.compress(image_of(photo), energy=0.9975, store="packed").to_array()
    for B in (by_error, by_energy):  # 1 - 0.05^2 = 0.9975
        assert 0.049 < np.linalg.norm(A - B) / np.linalg.norm(A) <= 0.05


def test_a_packed_file_is_an_order_smaller_than_the_floats(photo):
    packed = lowrank.compress(image_of(photo), psnr=30)
    floats = lowrank.compress(image_of(photo), psnr=30, layout="channels")
    assert len(packed.to_bytes()) * 10 < len(floats.to_bytes())


def test_a_flat_picture_takes_next_to_nothing():
    flat = lowrank.compress(np.full((200, 300), 77, np.uint8))
    assert len(flat.to_bytes()) < 130
    assert np.all(flat.to_array() == 77)


def test_the_report_of_a_packed_file_is_true(photo):
    image = lowrank.compress(image_of(photo), quality=60)
    report = image.report(image_of(photo))
    turned, factors = store.factors(image.parts)
    A = layouts.of_samples(photo.samples, "patches", turned)
    for c, a, B, stated in zip(report.channels, A, factors, image.parts.body.stated, strict=True):
        s = np.linalg.svd(a, compute_uv=False)
        assert np.linalg.matrix_rank(B) <= c.k == stated.k
        assert c.frobenius_error == pytest.approx(np.linalg.norm(a - B), rel=1e-9)
        assert c.spectral_error == pytest.approx(np.linalg.norm(a - B, 2), rel=1e-6)
        assert c.frobenius_bound == pytest.approx(np.linalg.norm(s[c.k :]), rel=1e-6, abs=1e-6)
        assert c.frobenius_error >= c.frobenius_bound
        # What the file states alone is the same, rounded up by at most 2^(1/1024).
        for said, true in (
            (stated.norm, np.linalg.norm(a)),
            (stated.error, np.linalg.norm(a - B)),
            (stated.tail, np.linalg.norm(s[c.k :])),
        ):
            assert true * (1 - 1e-5) <= said <= true * 1.0008 + 1e-6
    assert report.pixels is not None
    assert report.pixels.psnr_db == pytest.approx(psnr(photo, image.to_array()), abs=1e-9)


def test_a_higher_rank_is_a_nearer_picture_and_the_files_own_rank_the_whole(photo):
    """Each term counts; test_faults.py holds which terms a rank keeps."""
    image = at_quality(photo, 75)
    most = max(image.ranks)
    assert min(image.ranks) < most < min(image.parts.head.shape)
    errors = [-psnr(photo, image.to_array(rank=k)) for k in (1, 5, 20, most - 1, most)]
    assert np.all(np.diff(errors) < 0)
    for k in (most, most + 1, 10_000):
        np.testing.assert_array_equal(image.to_array(rank=k), image.to_array())
    assert not np.array_equal(image.to_array(rank=most - 1), image.to_array())


def test_a_cut_packed_file_decodes_on_request_to_what_is_there(photo, tmp_path):
    data = at_quality(photo, 75).to_bytes()
    qualities = []
    for share in (0.3, 0.6, 0.9):
        path = tmp_path / "cut.lrk"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(TruncatedError):
            lowrank.open(path)
        qualities.append(psnr(photo, lowrank.open(path, partial=True).to_array()))
    assert np.all(np.diff(qualities) > 0)
    assert qualities[0] > 15


def test_a_rank_of_what_is_counted_from_its_lowest_is_refused():
    for samples in (np.ones((8, 8)), np.full((8, 8), -3, np.int16)):
        with pytest.raises(UsageError, match="a rank of packed floats or negative samples"):
            lowrank.compress(samples, rank=2, store="packed")


def test_integers_of_32_bits_have_no_packed_store():
    with pytest.raises(UsageError, match="integers of 32 bits have no packed store"):
        lowrank.compress(np.ones((8, 8), np.int32), quality=50)


def test_damage_that_checksums_cannot_see_is_still_refused(photo):
    """The payload of a well-formed file, replaced by noise: our error, or a picture."""
    parts = lowrank.compress(image_of(photo), quality=40).parts
    rng = np.random.default_rng(3)
    refused = 0
    for length in (0, 1, 5, 40, len(parts.body.payload)):
        for _ in range(20):
            noise = rng.bytes(length)
            broken = lrk.parse(
                lrk.serialize(lowrank.LowRankImage(_with(parts, noise)).parts),
                name="noise",
                max_pixels=10**6,
            )
            try:
                assert store.decode(broken).picture.samples.shape == photo.samples.shape
            except (FormatError, LimitError):
                refused += 1
    assert refused >= 60  # of what is too short for a header, all


def _with(parts, payload):
    return replace(parts, body=replace(parts.body, payload=payload))
