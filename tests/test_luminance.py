"""Colours of a file for the eye, turned to luminance where that pays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import lowrank
from lowrank.layouts import lapped, turn
from lowrank.layouts.colour import nearest, rotation
from lowrank.stores.packed.patches import encoder, luminance

LIGHT = np.array(turn.LUMINANCE)


@pytest.fixture(scope="module")
def strong():
    """Details of red, green and blue that have nothing to do with each other, most in blue."""
    rng = np.random.default_rng(5)
    waves = [gaussian_filter(rng.normal(size=(160, 176)), 1.5) for _ in range(3)]
    sizes = np.array([15.0, 22.0, 40.0])
    A = 120 + np.stack([w / w.std() for w in waves], axis=-1) * sizes
    return np.clip(np.rint(A), 0, 255).astype(np.uint8)


def first_axis(image):
    return rotation(lowrank.codec.factors(image.parts)[0])[0]


def share(axis):
    """Of the axis in the direction of luminance."""
    return float(axis @ LIGHT) ** 2 / float(LIGHT @ LIGHT)


def test_strong_colours_are_drawn_to_luminance_for_the_eye_alone(strong):
    eye, psnr = (lowrank.compress(strong, quality=60, tune=t) for t in ("eye", "psnr"))
    assert share(first_axis(psnr)) < 0.3
    assert share(first_axis(eye)) > 0.7


def test_luminance_is_nearer_for_its_bytes(strong, monkeypatch):
    def made(quality):
        image = lowrank.compress(strong, quality=quality, tune="eye")
        error = (strong.astype(float) - image.to_array()) @ LIGHT
        return len(image.to_bytes()), float(np.mean(error**2))

    size, error = made(60)
    monkeypatch.setattr(luminance, "pays", lambda *_: False)
    larger, other = made(60)
    assert error < other * 0.8 or size < larger * 0.8
    sizes, errors = zip(*[made(q) for q in (40, 50, 60, 70, 80)], strict=True)
    assert error < np.exp(np.interp(np.log(size), np.log(sizes), np.log(errors))) * 0.8


def test_a_photograph_keeps_the_axes_of_its_details(photo):
    A = photo.picture.samples[40:200, 30:200]
    made = encoder.prepare(A, 8, alpha=False, turn=turn.detailed(A), tune="eye")
    assert made.turn == turn.detailed(A)


@pytest.mark.parametrize("tune", ["psnr", "eye"])
def test_coefficients_are_those_of_the_axes_that_are_stated(strong, tune):
    made = encoder.prepare(strong, 8, alpha=False, turn=turn.detailed(strong), tune=tune)
    assert (made.turn == turn.detailed(strong)) == (tune == "psnr")
    again = lapped.analyse(strong, turn.axes(made.turn), made.C.dtype)
    assert np.array_equal(made.C, again)


def test_the_depth_of_samples_changes_nothing(strong):
    deep = strong.astype(np.uint16) * 257
    turns = [
        encoder.prepare(A, bits, alpha=False, turn=turn.detailed(A), tune="eye").turn
        for A, bits in ((strong, 8), (deep, 16))
    ]
    assert np.allclose(*map(rotation, turns), atol=0.02)


def test_the_estimate_is_that_of_a_gaussian_channel_of_one_frequency_where_nothing_is_told():
    """Half the log2 of 1 + 3 sigma^2 / step^2 for each coefficient, of uncorrelated channels."""
    S = np.tile(np.diag([400.0, 100.0, 25.0]), (255, 1, 1))
    _, bits = luminance._estimate(S, np.eye(3), 10.0)
    v, u = np.divmod(np.arange(1, 256), 16)
    weights = [1 + 20 * (v**2 + u**2) / 256, *[1 + 20 * np.hypot(v, u) / 16] * 2]
    expected = sum(
        0.5 * np.log2(1 + 3 * s / (100 * w)).sum()
        for s, w in zip((400, 100, 25), weights, strict=True)
    )
    assert bits == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(3, 90), (90, 4), (16, 16)])
def test_small_and_flat_pictures_keep_theirs(shape):
    flat = np.full((*shape, 3), 90, np.uint8)
    made = encoder.prepare(flat, 8, alpha=False, turn=turn.detailed(flat), tune="eye")
    assert made.turn == turn.detailed(flat)


def test_the_nearest_rotation_has_the_axes_but_for_their_signs():
    rng = np.random.default_rng(3)
    for _ in range(50):
        Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        assert np.allclose(np.abs(np.sum(rotation(nearest(Q)) * Q, axis=1)), 1, atol=1e-4)
