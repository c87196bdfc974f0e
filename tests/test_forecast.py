"""A search on a large picture: guided by a forecast, it meets what the other search meets."""

from __future__ import annotations

import numpy as np
import pytest

from lowrank import api
from lowrank.picture import Picture
from lowrank.picture.distance import compare
from lowrank.stores.packed import dial, search
from lowrank.stores.packed.patches import encoder
from lowrank.stores.packed.tries import Tries


@pytest.fixture
def tries(monkeypatch):
    """Steps that were encoded with, every picture being a large one, which is not smoothed."""
    monkeypatch.setattr(dial, "_LARGE", 0)
    monkeypatch.setattr(encoder, "SMOOTHED", 0)
    found = []
    at = Tries.at

    def counted(self, step):
        if self._latest is None or self._latest[0] != step:
            found.append(step)
        return at(self, step)

    monkeypatch.setattr(Tries, "at", counted)
    return found


@pytest.fixture(scope="module")
def crop(photo):
    return Picture(
        np.ascontiguousarray(photo.picture.samples[100:260, 200:400]), photo.picture.mode
    )


@pytest.mark.parametrize("psnr", [31.0, 45.0])
def test_a_psnr_is_met_in_few_encodings(tries, crop, psnr):
    found = api.compress(crop.samples, psnr=psnr)
    decoded = Picture(found.to_array(), crop.mode)
    assert psnr <= compare(crop, decoded).psnr_db <= psnr + 0.15
    assert len(tries) <= 4


@pytest.mark.parametrize("size", [3_000, 20_000])
def test_a_size_is_met_in_few_encodings(tries, crop, size):
    length = len(api.compress(crop.samples, size=size).to_bytes())
    assert 0.96 * size <= length <= size
    assert len(tries) <= 5


def test_what_is_out_of_reach_ends(tries):
    """Noise at a PSNR near the finest, a flat picture, a size that nothing fits."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    assert api.compress(noise, psnr=51.9).store == "packed"
    flat = np.full((48, 64), 100, np.uint8)
    assert np.square(api.compress(flat, psnr=40).to_array() - 100.0).mean() <= 255**2 / 10**4
    with pytest.raises(dial.UsageError, match="do not hold"):
        api.compress(noise, size=100)
    assert len(tries) < 70


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.01), (-3.3, -3.29), (90, 91), (-99, -98)])
def test_any_falling_function_is_met_or_bracketed(low, high):
    """With a forecast that is wrong by a cliff, or always: the same promise as without one."""

    def value(x):
        return -3 * x - 5 * (x > 2) + 0.2 * np.sin(x)

    for expected in (lambda x: -3 * x, lambda x: 0.0 * x, lambda x: -x):
        calls = []

        def counted(x, calls=calls):
            calls.append(x)
            return value(x)

        finer, coarser = search.meet(counted, expected, low, high)
        assert len(calls) < 40
        if finer is not None and finer == coarser:
            assert low <= value(finer) <= high
            continue
        assert finer is None or value(finer) > high
        assert coarser is None or value(coarser) < low
        if finer is not None and coarser is not None:
            assert coarser - finer < 1.5 / search.GRID


def test_coefficients_tell_the_error_that_norms_state(crop):
    from lowrank.layouts import turn

    source = encoder.prepare(
        crop.samples, 8, alpha=False, turn=turn.of(crop, "patches", packed=True)
    )
    coded = encoder.encode(source, 20.0, again=True)
    stated = sum(x.error**2 for x in coded.norms())
    assert coded.squared_error() == pytest.approx(stated, rel=1e-4)
