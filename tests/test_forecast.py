"""A search on a large picture: guided by a forecast, it meets what the other search meets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from make_golden import materials

from lowrank import api
from lowrank.picture import MODES, Picture
from lowrank.picture.distance import compare
from lowrank.stores.packed import dial, search
from lowrank.stores.packed.frames import encoder as frames
from lowrank.stores.packed.frames.klt import Stack
from lowrank.stores.packed.frames.rehearsal import Rehearsal
from lowrank.stores.packed.patches import encoder
from lowrank.stores.packed.tries import Tries, rounded, unrounded


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


def test_near_to_lossless_a_picture_is_met_in_few_encodings(tries, crop):
    """Rounding takes most errors of coefficients: what is left falls by 20 dB an octave."""
    for psnr in (54.0, 60.0, 66.0, 72.0):
        for samples in (crop.samples, crop.samples[..., 1]):
            found = api.compress(samples, psnr=psnr)
            mse = np.square(found.to_array() - samples.astype(np.float64)).mean()
            assert psnr <= 10 * np.log10(255**2 / mse) <= psnr + 0.5
    assert len(tries) <= 32, "four for one, at most"


def test_what_is_exact_does_not_tell_how_far_it_is_from_what_is_not(tries, crop):
    found = api.compress(crop.samples, psnr=110)
    assert np.array_equal(found.to_array(), crop.samples)
    assert len(tries) <= 12


def test_coefficients_tell_a_high_psnr_of_16_bits(tries, crop, monkeypatch):
    """Rounding has no part in it, and decoding has only the last word."""
    measured = []
    off = Tries.off
    monkeypatch.setattr(Tries, "off", lambda self, step: measured.append(step) or off(self, step))
    deep = crop.samples[:, :192, 1].astype(np.uint16) * 200 + 2000
    for psnr in (58, 66, 74):
        found = api.compress(deep, psnr=psnr)
        mse = np.square(found.to_array() - deep.astype(np.float64)).mean()
        assert psnr <= 10 * np.log10(65535**2 / mse) <= psnr + 0.15
    assert len(measured) == 3


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
    with pytest.raises(dial.UsageError, match="cannot hold"):
        api.compress(noise, size=100)
    assert len(tries) < 70


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.01), (-3.3, -3.29), (90, 91), (-99, -98)])
def test_any_falling_function_is_met_or_bracketed(low, high):
    """With a forecast that is wrong by a cliff, or always: the same promise as without one."""

    def value(x):
        return -3 * x - 5 * (x > 2) + 0.2 * np.sin(x)

    cases = itertools.product((lambda x: -3 * x, lambda x: 0.0 * x, lambda x: -x), (False, True))
    for expected, close in cases:
        calls = []

        def counted(x, calls=calls):
            calls.append(x)
            return value(x)

        finer, coarser = search.meet(counted, expected, low, high, close=close)
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


# -- stacks ----------------------------------------------------------------------------


def waves(frames: int, height: int, width: int, noise: float) -> np.ndarray:
    """Smooth pictures with curves of their own, and noise."""
    rng = np.random.default_rng(frames)
    y, x = np.mgrid[:height, :width] / 30
    maps = np.stack([np.sin(3 * x + k * y + k) + np.cos(2 * k * x - y) for k in range(1, 7)])
    A = 9000 + 900 * np.tensordot(rng.normal(size=(frames, 6)), maps, 1)
    return np.rint(A + rng.normal(0, noise, A.shape)).astype(np.uint16)[..., None]


def apart(photo) -> np.ndarray:
    """Parts of a photograph, which have nothing to do with each other."""
    samples = photo.picture.samples
    return np.stack([samples[40 * i : 40 * i + 64, 30 * i : 30 * i + 96, :1] for i in range(6)])


@pytest.fixture(scope="module")
def stacks(photo) -> dict[str, np.ndarray]:
    return {
        "noise": waves(24, 80, 90, 300.0),
        "materials": materials(80, 90, 1, 30000).astype(np.uint16),
        "apart": apart(photo),
    }


@pytest.fixture
def count(monkeypatch):
    """Steps that stacks were encoded with."""
    found: list[float] = []
    encoded = frames._Encoding

    def counted(*args, **kwargs):
        found.append(args[1])
        return encoded(*args, **kwargs)

    monkeypatch.setattr(frames, "_Encoding", counted)
    return found


def test_a_psnr_of_a_stack_is_met_in_few_encodings(stacks, count):
    wanted = {"noise": (47,), "materials": (41, 44), "apart": (38,)}
    for name, several in wanted.items():
        stack = stacks[name]
        for psnr in several:
            back = api.compress(stack, stack=True, psnr=psnr).to_array().reshape(stack.shape)
            peak = 255.0 if stack.dtype == np.uint8 else float(np.ptp(stack))
            mse = np.square(back - stack.astype(np.float64)).mean()
            assert psnr <= 10 * np.log10(peak**2 / mse) <= psnr + 0.1
    assert len(count) <= 7, "three for two, about"


@pytest.mark.parametrize("mse", [0.06, 0.03])
def test_near_to_lossless_a_psnr_is_met_in_few_encodings(count, mse):
    """Most errors of coefficients are rounded away: what is left is not theirs and a twelfth."""
    stack = (waves(8, 40, 48, 300.0) // 80).astype(np.uint8)
    psnr = 10 * np.log10(255**2 / mse)
    back = api.compress(stack, stack=True, psnr=psnr).to_array().reshape(stack.shape)
    assert 0.94 * mse < np.square(back - stack.astype(np.float64)).mean() <= mse
    assert len(count) <= 8


@pytest.mark.parametrize("error", [0.04, 0.1, 0.3, 0.9, 1.1, 5.0])
def test_rounding_is_foretold(error):
    e = np.random.default_rng(1).normal(0, np.sqrt(error), 1_000_000)
    assert rounded(error) == pytest.approx(np.square(np.rint(e)).mean(), rel=0.03)
    assert unrounded(rounded(error)) == pytest.approx(error)


@pytest.mark.parametrize(
    ("name", "step"), [("noise", 300.0), ("noise", 1000.0), ("apart", 12.0), ("apart", 40.0)]
)
def test_a_rehearsal_tells_what_a_step_loses(stacks, name, step):
    """As near as a search needs, of planes and of frames that are coded apart."""
    stack = Stack(stacks[name], None)
    told = Rehearsal(stack).rehearsed(step)
    mode = MODES["L" if name == "apart" else "I;16"]
    coded = frames.encode(stack, step, mode)
    if name == "apart":
        assert stack.apart is not None
        assert stack.apart[1]
    assert told == pytest.approx(coded.squared_error() / stacks[name].size, rel=0.02)


def test_predicted_maps_lose_what_is_wanted(stacks):
    stack = Stack(stacks["materials"], None)
    size, mode = stacks["materials"].size, MODES["I;16"]
    usual = frames.encode(stack, 80.0, mode)
    assert stack.learnt is not None
    assert stack.learnt[1] is not None
    for share in (0.96, 1.04):
        wanted = stack.aim = share * usual.squared_error() / size
        for _ in range(2):  # the second one knows what the first one lost
            coded = frames.encode(stack, 80.0, mode)
        assert coded.squared_error() / size == pytest.approx(wanted, rel=0.02)
    stack.aim = None
    assert frames.encode(stack, 80.0, mode).payload() == usual.payload()
