"""What planes are to be: a quantised basis, and planes that suit it."""

from __future__ import annotations

import numpy as np
import pytest

from lowrank.stores.packed.frames import wanted
from lowrank.stores.packed.frames.klt import Stack
from lowrank.stores.packed.frames.samples import power

FRAMES, STEP = 20, 40.0


@pytest.fixture(scope="module")
def stack():
    rng = np.random.default_rng(2)
    curves, maps = rng.normal(size=(FRAMES, 3)), rng.normal(size=(3, 32 * 48))
    A = 3000 + 400 * curves @ maps + rng.normal(0, 60, (FRAMES, 32 * 48))
    return Stack(np.rint(A).clip(0, 65535).astype(np.uint16).reshape(FRAMES, 32, 48, 1), None)


def lost(stack, kept):
    """Exponents, and the squared error of planes that suit the basis, beyond the tail's."""
    entries, columns = wanted.quantised(stack, STEP, np.arange(kept))
    B = entries * power(x.exponent for x in columns)
    A = stack.samples.reshape(FRAMES, -1).astype(np.float64)
    M = wanted.matched(stack, B)
    U = stack.spectrum[1][:, : M.shape[1]]
    error = float(np.square(A - B @ (M @ (U.T @ A))).sum())
    return [x.exponent for x in columns], error - float(np.sum(stack.spectrum[0][kept:] ** 2))


def test_planes_make_up_for_what_the_basis_is_off_within_it(stack):
    quantiser = STEP**2 / 12 * stack.pixels  # of each plane
    fine, few = lost(stack, 4)
    coarse, all_ = lost(stack, FRAMES)
    assert 0 <= few < 0.05 * 4 * quantiser
    # Of a basis of all directions nothing is lost, however coarse: two bits an entry are saved.
    assert abs(all_) < 1e-6 * quantiser
    assert all(a - b >= 2 for a, b in zip(fine[:3], coarse, strict=False))


def test_columns_are_not_so_coarse_that_they_are_none(stack):
    entries, columns = wanted.quantised(stack, STEP * 4, np.arange(FRAMES))
    B = entries * power(x.exponent for x in columns)
    assert np.linalg.cond(B) < 3
