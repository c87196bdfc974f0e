"""Decoding raises no warning of numpy, whatever a file's header says."""

from __future__ import annotations

import struct
import sys
import warnings
from collections import Counter

import numpy as np
import pytest
from conftest import ROOT
from goldens import SMALL, known
from handmade import DONE, chunk, head, lrk, sigm, term

from lowrank import codec, layouts
from lowrank import format as lrk_format
from lowrank.layouts.lapped import grid
from lowrank.picture import MODES, Picture
from lowrank.stores.packed.coding.wavelet import band_shapes
from lowrank.stores.packed.patches.header import Header, write_header
from lowrank.targets import Target

sys.path.insert(0, str(ROOT / "fuzz"))
import headers
import reading


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def decoded(data):
    parts = lrk_format.parse(data, name="x", max_pixels=1 << 14)
    return codec.decode(parts).picture.samples


def patches(level, code, *, smooth=0, mode=1):
    """A picture of 40 x 40 of which nothing is coded but the coarsest map."""
    low, _ = band_shapes(*grid(40, 40))
    made = Header(
        0.0, None, False, None, 1, 0, (smooth,), [np.zeros(256, np.int64)], [()],
        [np.full(low, level, np.int64)],
    )  # fmt: skip
    payload = write_header(made, code, 1) + (1 << 31).to_bytes(4, "little") + bytes(200)
    fields = struct.pack("<IIBBBBHHHHH", 40, 40, mode, 1, 3, 0, 1, 0, 0, 0, 0)
    return lrk(chunk(b"HEAD", fields), chunk(b"PACK", payload), DONE)


@pytest.mark.parametrize("mode", [1, 6])
@pytest.mark.parametrize("code", [16 * 1024, 65535])
def test_means_beyond_any_picture_are_clipped(mode, code):
    peak = 255 if mode == 1 else 65535
    for level in ((1 << 29), (1 << 30) - 1):
        for smooth in (0, 15):
            bright = decoded(patches(level, code, smooth=smooth, mode=mode))
            assert bright.max() == peak
            assert decoded(patches(-level, code, smooth=smooth, mode=mode)).min() == 0


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "F"])
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("sigma", [1e-150, 1.0, 2.0**80, 2.0**160])
def test_float_files_of_any_size_of_samples(mode, layout, sigma):
    codes = {"1": 0, "L": 1, "I;16": 6, "F": 7}
    m, n = (20, 30) if layout == 0 else (4, 256)
    for sign in (2.0, -2.0):
        data = lrk(
            head(30, 20, mode=codes[mode], layout=layout, matrices=((1, sigma, 0.0, 0.0),)),
            sigm(sigma),
            term(np.full(m, sign), np.full(n, 2.0)),
            DONE,
        )
        samples = decoded(data)
        assert np.isfinite(samples.astype(np.float64)).all()
        if layout == 0 and sigma > 2.0**20:
            peak = {"1": 1, "L": 255, "I;16": 65535, "F": np.finfo(np.float32).max}[mode]
            if mode != "F" or sigma > 2.0**130:
                low = -peak if mode == "F" else 0
                assert (samples == (peak if sign > 0 else low)).all()


def test_headers_of_any_values_raise_our_errors_alone():
    seeds = [data for name in SMALL if (data := known(name))]
    files = headers.mutants(seeds, np.random.default_rng(11), 1 << 10)
    counts = Counter()
    for number in range(300):
        counts[reading.read(next(files), partial=False, thorough=number % 4 == 0)] += 1
    assert counts["decoded patches packed"] > 3
    assert counts["decoded channels packed"] > 3


def test_header_mutants_repeat_themselves_and_keep_to_the_limit():
    seeds = [data for name in SMALL if (data := known(name))]
    one, two = (headers.mutants(seeds, np.random.default_rng(3), 1 << 12) for _ in range(2))
    found = [next(one) for _ in range(60)]
    assert found == [next(two) for _ in range(60)]
    assert all(np.prod(struct.unpack_from("<II", x, 17)) <= 1 << 16 for x in found)


@pytest.mark.parametrize("layout", ["channels", "patches"])
def test_the_matrices_of_a_cut_packed_file_are_those_of_its_picture(layout):
    y, x = np.mgrid[:96, :80]
    samples = ((np.sin(x / 5) + np.cos(x * y / 90)) * 60 + 128).astype(np.uint8)[..., None]
    picture = Picture(samples, MODES["L"])
    made = codec.encode(picture, Target("quality", 60), layout=layout, store="packed").parts
    data = lrk_format.serialize(made)
    errors = []
    for share in (0.5, 0.8, 0.95):
        parts = lrk_format.parse(
            data[: int(share * len(data))], name="x", max_pixels=1 << 14, partial=True
        )
        turn, (B,) = codec.factors(parts)
        (A,) = layouts.of_samples(samples, layout, turn)
        errors.append(np.linalg.norm(A - B))
        shown = codec.decode(parts).picture.samples.astype(np.float64)
        assert errors[-1] == pytest.approx(np.linalg.norm(samples - shown), rel=0.1)
    assert errors[0] > errors[1] >= errors[2]
