"""Files tuned for the eye: another file, the same promises."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import lowrank
from lowrank.errors import UsageError
from lowrank.layouts import lapped, turn
from lowrank.stores.packed.patches import eye, header

PHOTO = "sample_images/parrots.png"


@pytest.fixture(scope="module")
def photo():
    with Image.open(PHOTO) as image:
        return np.asarray(image.convert("RGB").crop((40, 30, 200, 140)))


@pytest.fixture(scope="module")
def tuned(photo):
    return lowrank.compress(photo, quality=60, tune="eye")


def test_what_the_encoder_shows_is_what_its_file_decodes_to(tuned):
    again = lowrank.open(tuned.to_bytes())
    assert np.array_equal(again.to_array(), tuned.to_array())


def test_errors_that_are_stated_are_those_of_a_in_its_own_coordinates(photo, tuned):
    rotation = turn.axes(lowrank.codec.stores.of("packed").factors(tuned.parts)[0])
    A = lapped.matrices(photo, rotation)
    stated = lowrank.codec.stores.of("packed").stated(tuned.parts)
    _, factors = lowrank.codec.stores.of("packed").factors(tuned.parts)
    for original, found, said in zip(A, factors, stated, strict=True):
        error = np.linalg.norm(original - np.asarray(found))
        assert said.error == pytest.approx(error, rel=1e-4)
        # Eckart-Young: no matrix of that rank is nearer, weighed or not.
        s = np.linalg.svd(original, compute_uv=False)
        assert np.linalg.matrix_rank(np.asarray(found)) <= said.k
        assert error >= np.sqrt(np.sum(s[said.k :] ** 2)) * (1 - 1e-9)


def test_detail_has_a_larger_share_of_the_error_than_without_tuning(photo, tuned):
    """That is what the weights do: the share of high frequencies in ||A - B||_F^2 rises."""

    def share(image):
        E = lapped.matrices(photo.astype(float) - image.to_array().astype(float))
        power = sum((e * e).sum(0) for e in E)
        v, u = np.divmod(np.arange(256), 16)
        return power[np.hypot(u, v) > 8].sum() / power.sum()

    assert share(tuned) > share(lowrank.compress(photo, quality=60))


@pytest.mark.parametrize("target", [{"psnr": 33.0}, {"size": 5000}, {"error": 0.08}])
def test_targets_are_met_when_they_are_asked_for_the_eye(photo, target):
    image = lowrank.compress(photo, tune="eye", **target)
    error = photo.astype(float) - image.to_array()
    assert len(image.to_bytes()) <= target.get("size", np.inf)
    psnr = 20 * np.log10(255 / np.sqrt(np.mean(error**2)))
    assert psnr >= target.get("psnr", 0)
    relative = np.linalg.norm(error) / np.linalg.norm(photo.astype(float))
    assert relative <= target.get("error", 1)
    assert image.to_bytes() != lowrank.compress(photo, **target).to_bytes()


def test_psnr_is_what_is_meant_where_nothing_is_said(photo):
    plain = lowrank.compress(photo, quality=60)
    assert lowrank.compress(photo, quality=60, tune="psnr").to_bytes() == plain.to_bytes()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (19, 3, 3), (33, 50, 2), (20, 20, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_shape_and_depth(shape, dtype):
    rng = np.random.default_rng(7)
    peak = np.iinfo(dtype).max
    samples = (rng.random(shape) * peak).astype(dtype)
    image = lowrank.compress(samples, quality=90, tune="eye")
    assert np.array_equal(lowrank.open(image.to_bytes()).to_array(), image.to_array())


def test_opacity_is_as_exact_as_it_was(photo):
    alpha = np.where(np.arange(photo.shape[1]) % 3, 255, 0) * np.ones((photo.shape[0], 1), int)
    samples = np.dstack([photo, alpha.astype(np.uint8)])
    found = lowrank.compress(samples, quality=40, tune="eye").to_array()
    assert np.array_equal(found[..., 3], samples[..., 3])


def test_luma_is_weighed_by_squares_of_frequencies_and_colour_by_frequencies():
    v, u = np.divmod(np.arange(256), 16)
    F = np.hypot(v, u) / 16
    assert eye.spread(20, squared=True) == pytest.approx(np.sqrt(1 + 20 * F**2), rel=1e-14)
    assert eye.spread(20, squared=False) == pytest.approx(np.sqrt(1 + 20 * F), rel=1e-14)


def test_only_a_file_for_the_eye_has_the_version_that_fewer_readers_know(photo, tuned):
    def read(image):
        payload = image.parts.body.payload
        return header.read_header(payload, lapped.grid(*photo.shape[:2]), 3)[0]

    assert read(lowrank.compress(photo, quality=60)).version == header.HIDING
    assert read(tuned).version == header.SQUARED
    assert [header.is_squared(read(tuned).version, c) for c in range(3)] == [True, False, False]


def test_gains_are_powers_of_two_in_halves():
    gains = np.arange(-8, 9)
    assert eye.factors(gains) == pytest.approx(2.0 ** (gains / 2), rel=1e-15)


def test_fewer_terms_of_a_tuned_file_decode(tuned, photo):
    few = tuned.to_array(rank=4).astype(float)
    assert few.shape == photo.shape
    assert np.linalg.norm(few - photo) > np.linalg.norm(tuned.to_array().astype(float) - photo)


@pytest.mark.parametrize(
    "other", [{"rank": 3}, {"layout": "channels", "psnr": 30}, {"error": 0.1, "store": "float16"}]
)
def test_what_has_no_tuning_refuses_it(photo, other):
    with pytest.raises(UsageError, match="tune eye"):
        lowrank.compress(photo, tune="eye", **other)


def test_command(cli, tmp_path, photo):
    Image.fromarray(photo).save(tmp_path / "in.png")
    cli("compress", "in.png", "-q", "60", "--tune", "eye").succeeded()
    found = lowrank.open(tmp_path / "in.lrk")
    assert found.to_bytes() == lowrank.compress(photo, quality=60, tune="eye").to_bytes()
    refused = cli("compress", "in.png", "--tune", "ear", "-f")
    assert "--tune ear: unknown; give one of psnr, eye" in refused.failed(2)
