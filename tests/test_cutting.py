"""The filter along edges that cuts large differences, and values that stand farther from zero."""

from __future__ import annotations

import independent
import numpy as np
import pytest

from lowrank.layouts import turn
from lowrank.layouts.lapped import grid
from lowrank.stores.packed.coding import smoothing
from lowrank.stores.packed.patches import codec, cutting, encoder
from lowrank.stores.packed.patches.header import read_header


@pytest.fixture(scope="module")
def decoded():
    """A plane with edges and detail, and what a coarse quantiser might leave of it."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:70, 0:90]
    original = (60 * (x + y // 3 > 70) + 12 * np.sin(x / 3) + 128).astype(np.float32)
    return original, original + rng.normal(0, 5, original.shape).astype(np.float32)


def test_its_strengths_are_the_best_ones(decoded):
    original, plane = decoded
    one = cutting.Cutting(plane.copy(), 30.0)
    best = one.best_strength(original)

    def error(strength):
        other = cutting.Cutting(plane.copy(), 30.0)
        other.apply(strength)
        return float(((other.plane - original) ** 2).sum(dtype=np.float64))

    # A quadratic form of two strengths: the least of all that a file may have, but for rounding.
    assert best
    assert error(best) < 0.8 * error(0)
    plain, cut = divmod(best, 16)
    for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        if 0 <= plain + a <= 15 and 0 <= cut + b <= 15:
            assert error(16 * (plain + a) + cut + b) > error(best) * (1 - 1e-6)


@pytest.mark.parametrize("strength", [16 * 7, 9, 16 * 15 + 15])
def test_it_commutes_with_the_symmetries_of_the_plane(decoded, strength):
    """Its classes and weights have no favourite direction."""
    _, plane = decoded

    def filtered(P):
        one = cutting.Cutting(np.ascontiguousarray(P), 20.0)
        one.apply(strength)
        return one.plane

    found = filtered(plane.copy())
    for turned in (np.transpose, np.flipud, np.fliplr):
        assert np.allclose(filtered(turned(plane).copy()), turned(found), atol=1e-3)


def test_chroma_has_the_classes_of_luma_as_it_was(decoded):
    original, plane = decoded
    luma = cutting.Cutting(plane.copy(), 20.0)
    early = cutting.Cutting(original[::-1].copy(), 20.0, luma)
    early.apply(0x88)
    luma.apply(0x88)
    late = cutting.Cutting(original[::-1].copy(), 20.0, luma)
    late.apply(0x88)
    assert np.array_equal(early.plane, late.plane)
    alone = cutting.Cutting(original[::-1].copy(), 20.0)
    alone.apply(0x88)
    assert not np.array_equal(alone.plane, late.plane)


def test_slabs_leave_no_seam(decoded, monkeypatch):
    _, plane = decoded
    one, other = (cutting.Cutting(plane.copy(), 20.0) for _ in range(2))
    one.apply(0x9A)
    monkeypatch.setattr(smoothing, "_SLAB", 90 * 8)
    other.apply(0x9A)
    assert np.array_equal(one.plane, other.plane)


@pytest.mark.parametrize(
    ("step", "largest", "farther"), [(9.0, 1 << 22, 0), (40.0, 1 << 22, 1), (30.0, 0, -1)]
)
def test_values_stand_where_the_header_says(step, largest, farther, monkeypatch):
    """Rare ones are farther out where the filter is, nearer where it is not."""
    for module in (codec, encoder):
        monkeypatch.setattr(module, "SMOOTHED", largest)
    y, x, c = np.mgrid[0:33, 0:35, 0:3]
    A = ((x * x * (3 + c) + 7 * y * x + 911 * ((x // 5 + y // 7) % 2)) % 4096 // 16).astype(
        np.uint8
    )
    coded = encoder.encode(encoder.prepare(A, 8, alpha=False, turn=turn.principal(A)), step)
    payload = coded.payload()
    header, _ = read_header(payload, grid(*A.shape[:2]), 3)
    assert (header.version, header.farther) == (3, farther)
    assert any(header.smooth) == (largest > 0)
    samples = codec.decode(payload, A.shape, 8).samples
    assert np.array_equal(samples, coded.samples())
    if farther < 0:  # golden files have the others
        assert independent.Patches(payload, *A.shape, 8).samples() == samples.ravel().tolist()
