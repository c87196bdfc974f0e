"""What the encoder of packed patches goes by: axes of details, and low frequencies first."""

from __future__ import annotations

import numpy as np
import pytest

from lowrank.layouts import turn
from lowrank.layouts.lapped import SIDE, SIZE
from lowrank.picture import MODES, Picture
from lowrank.stores.packed.patches.select import scales_of


def sky_over_ground():
    """One colour that becomes another, and all over it fine detail along a third axis."""
    along = np.array([2.0, 2.0, 1.0]) / 3
    share = np.linspace(0, 1, 240)[:, None, None]
    A = share * (60.0, 120.0, 200.0) + (1 - share) * (190.0, 120.0, 40.0)
    noise = np.random.default_rng(15).normal(0, 12, (240, 80, 1)) * along
    return np.clip(np.rint(A + noise), 0, 255).astype(np.uint8), along


def test_colours_are_turned_to_the_axes_of_details_whatever_the_areas_are():
    samples, along = sky_over_ground()
    first = turn.axes(turn.detailed(samples))[0]
    assert abs(first @ along) > 0.99
    assert abs(turn.axes(turn.principal(samples))[0] @ along) < 0.5


def test_only_a_packed_file_without_a_rank_has_the_axes_of_details():
    samples, _ = sky_over_ground()
    p = Picture(samples, MODES["RGB"])
    assert turn.of(p, "patches", packed=True) == turn.detailed(samples)
    assert turn.of(p, "patches", packed=True, ranked=True) == turn.principal(samples)
    assert turn.of(p, "patches") == turn.principal(samples)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (4, 9, 3), (5, 5, 3), (600, 5, 3)])
def test_every_size_has_axes(shape):
    R = turn.axes(turn.detailed(np.random.default_rng(1).integers(0, 256, shape, np.uint8)))
    assert np.allclose(R @ R.T, np.eye(3), atol=1e-12)


def test_of_components_as_large_the_lower_frequency_is_first():
    maps = np.broadcast_to(np.random.default_rng(2).normal(0, 4, (1, 8, 8)), (SIZE, 8, 8))
    scale = scales_of(maps.astype(np.float32))
    v, u = np.divmod(np.arange(SIZE), SIDE)
    by_frequency = scale[1:][np.argsort(np.hypot(v, u)[1:], kind="stable")]
    assert by_frequency.min() > 0
    assert (np.diff(by_frequency) <= 0).all()
    assert by_frequency[0] > by_frequency[-1]
