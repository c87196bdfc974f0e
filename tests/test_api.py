"""The library: what it takes, what it gives, and that its reports are true."""

from __future__ import annotations

import doctest
import importlib
import io
import json
import math
import os
import pkgutil
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import picture
from PIL import Image

import lowrank
from lowrank import codec
from lowrank.errors import (
    FileError,
    FormatError,
    ImageError,
    LimitError,
    LowrankError,
    TruncatedError,
    UsageError,
)
from lowrank.format.parts import Missing
from lowrank.io import pillow
from lowrank.picture import MODES
from lowrank.report import ask, measure
from lowrank.targets import Target
from lowrank.views import as_json


@pytest.fixture(scope="module")
def compressed(photo):
    return lowrank.compress(Image.fromarray(photo.picture.samples), rank=20)


def array(mode, height=30, width=40):
    A = picture(mode, height, width).samples
    return A[:, :, 0] if A.shape[2] == 1 else A


# -- in and out --------------------------------------------------------------------------------


OF_ZARR = ("lowrank.chunks.numcodecs", "lowrank.chunks.zarr")


def test_every_example_in_the_docstrings_runs():
    names = [x.name for x in pkgutil.walk_packages(lowrank.__path__, "lowrank.")]
    assert "lowrank.objects.indexing" in names
    for left_out in ("lowrank.__main__", *([] if find_spec("zarr") else OF_ZARR)):
        names.remove(left_out)
    found = [doctest.testmod(importlib.import_module(n)) for n in [*names, "lowrank"]]
    assert sum(x.failed for x in found) == 0
    assert sum(x.attempted for x in found) >= 5


def test_all_that_is_named_is_there():
    for name in lowrank.__all__:
        assert getattr(lowrank, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = lowrank.nonsense


def test_paths_bytes_images_and_arrays_are_the_same_image(samples):
    path = samples / "photographer.png"
    ways = [
        str(path),
        path,
        path.read_bytes(),
        Image.open(path),
        np.asarray(Image.open(path)),
    ]
    found = {lowrank.compress(x, rank=5).to_array().tobytes() for x in ways}
    assert len(found) == 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "F"])
def test_arrays_become_the_mode_that_holds_them_and_come_back(mode):
    A = array(mode)
    image = lowrank.compress(A, rank=30, store="float64")
    assert image.mode == mode
    assert (image.width, image.height) == (40, 30)
    assert image.ranks == (30,) * len(MODES[mode].channels)
    got = image.to_array()
    assert (got.shape, got.dtype) == (A.shape, A.dtype)
    np.testing.assert_allclose(got, A, rtol=1e-6, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(image.to_image()), got)


def test_bilevel_arrays_and_cmyk_images_are_held():
    board = np.add.outer(np.arange(16), np.arange(16)) % 2 == 0
    image = lowrank.compress(board, rank=2)
    assert image.mode == "1"
    np.testing.assert_array_equal(np.asarray(image.to_image()), board)
    cmyk = Image.frombytes("CMYK", (40, 30), picture("CMYK", 30, 40).samples.tobytes())
    back = lowrank.compress(cmyk, rank=30, store="float32").to_image()
    assert back.mode == "CMYK"
    assert back.tobytes() == cmyk.tobytes()


def test_saving_and_opening_is_the_identity(compressed, tmp_path):
    path = tmp_path / "a.lrk"
    compressed.save(path)
    assert path.read_bytes() == compressed.to_bytes()
    again = lowrank.open(path)
    assert repr(again) == repr(compressed)
    assert again.to_bytes() == compressed.to_bytes()
    np.testing.assert_array_equal(again.to_array(), compressed.to_array())
    with pytest.raises(FileError, match="exists"):
        compressed.save(path, force=False)
    compressed.truncate(3).save(path)
    assert lowrank.open(path).ranks == (3, 3, 3)
    assert os.listdir(tmp_path) == ["a.lrk"]


def test_truncating_is_decoding_fewer_terms(compressed):
    shorter = compressed.truncate(4)
    assert shorter.ranks == (4, 4, 4)
    assert compressed.ranks == (20, 20, 20)
    np.testing.assert_array_equal(shorter.to_array(), compressed.to_array(rank=4))
    assert shorter.to_image().tobytes() == compressed.to_image(rank=4).tobytes()
    assert compressed.truncate(21).to_bytes() == compressed.to_bytes()


def test_a_cut_file_opens_only_on_request(compressed, tmp_path):
    path = tmp_path / "cut.lrk"
    path.write_bytes(compressed.to_bytes()[:-40_000])
    with pytest.raises(TruncatedError, match=r"cut\.lrk"):
        lowrank.open(path)
    image = lowrank.open(path, partial=True)
    assert 0 < sum(image.ranks) < 60
    assert image.parts.missing == Missing("terms", 60 - sum(image.ranks))


def test_a_rank_beyond_the_image_keeps_all_with_a_note():
    image = lowrank.compress(array("L", 7, 9), rank=100)
    assert image.ranks == (7,)
    assert any("7" in note for note in image.notes)


def test_auto_is_a_rank():
    assert lowrank.compress(array("L"), rank="auto").ranks[0] >= 1


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"rank": -3},
        {"rank": 5, "energy": 0.9},
        {"error": 0.1, "size": 1000},
        {"energy": 2},
        {"quality": 500},
        {"rank": 5, "store": "packed", "quality": 3},
        {"rank": 5, "store": "float8"},
        {"rank": 5, "layout": "rows"},
    ],
)
def test_requests_that_make_no_sense_are_usage_errors(wrong):
    with pytest.raises(UsageError):
        lowrank.compress(array("L"), **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((3, 3, 4097), np.uint8),
        np.zeros(7, np.uint8),
        np.zeros((0, 4), np.uint8),
        np.full((4, 4), 2**40),
        np.full((4, 4), 1e39),
        np.full((4, 4), np.nan),
        np.zeros((4, 4), complex),
        b"not an image",
        b"",
        [[1, 2], [3]],
        None,
    ],
)
def test_what_is_no_image_is_an_image_error(wrong):
    with pytest.raises(ImageError):
        lowrank.compress(wrong, rank=2)


def test_files_that_cannot_be_read_are_errors_of_ours(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        lowrank.compress(tmp_path / "none.png", rank=2)
    with pytest.raises(FileError, match="no such file"):
        lowrank.open(tmp_path / "none.lrk")
    with pytest.raises(FileError):
        lowrank.open(tmp_path)
    (tmp_path / "x.lrk").write_bytes(b"junk")
    with pytest.raises(FormatError, match=r"not a \.lrk file"):
        lowrank.open(tmp_path / "x.lrk")


def test_limits_hold_for_images_and_files(compressed, samples, tmp_path):
    with pytest.raises(LimitError):
        lowrank.compress(samples / "parrots.png", rank=1, max_pixels=1000)
    path = tmp_path / "a.lrk"
    compressed.save(path)
    with pytest.raises(LimitError, match="limit of 1000"):
        lowrank.open(path, max_pixels=1000)


@pytest.mark.parametrize("rank", [0, -1])
def test_ranks_below_one_are_refused_everywhere(compressed, rank):
    for call in (compressed.to_array, compressed.to_image, compressed.truncate):
        with pytest.raises(UsageError):
            call(rank)


def test_every_error_is_a_lowrank_error_with_an_exit_code():
    for name in lowrank.__all__:
        if name.endswith("Error"):
            kind = getattr(lowrank, name)
            assert issubclass(kind, LowrankError)
            assert kind.exit_code == (2 if name == "UsageError" else 1)


# -- reports ---------------------------------------------------------------------------------------


def check(report, A, parts, file_bytes, *, source_bytes):
    """Recompute every number of a report with numpy, from the factors and the samples."""
    peak = MODES[parts.head.mode.name].peak or float(A.max() - A.min())
    for c, (channel, f) in enumerate(zip(report.channels, parts.body.factors, strict=True)):
        M = A[:, :, c].astype(np.float64)
        s = np.linalg.svd(M, compute_uv=False)
        R = M - (f.U.astype(float) * f.s) @ f.Vt.astype(float)
        k, tail = f.k, math.sqrt(float(np.sum(s[f.k :] ** 2)))
        norm = np.linalg.norm(M)
        assert (channel.m, channel.n, channel.k) == (*M.shape, k)
        assert channel.norm == pytest.approx(norm, rel=1e-9)
        assert channel.sigma_1 == pytest.approx(s[0], rel=1e-9)
        sigma_next = s[k] if k < len(s) else 0.0
        assert channel.sigma_next == channel.spectral_bound
        assert channel.spectral_bound == pytest.approx(sigma_next, rel=1e-6, abs=1e-9 * norm)
        assert channel.frobenius_bound == pytest.approx(tail, rel=1e-6, abs=1e-7 * norm)
        assert channel.spectral_error == pytest.approx(
            np.linalg.norm(R, 2), rel=1e-4, abs=1e-9 * norm
        )
        assert channel.frobenius_error == pytest.approx(
            np.linalg.norm(R), rel=1e-6, abs=1e-9 * norm
        )
        assert channel.relative_error == pytest.approx(np.linalg.norm(R) / norm, rel=1e-6, abs=1e-9)
        assert channel.energy == pytest.approx(1 - tail**2 / norm**2, abs=1e-9)
        assert channel.certified is True
    m, n = A.shape[:2]
    s = report.storage
    floats = sum(f.k for f in parts.body.factors) * (m + n + 1)
    assert (s.floats, s.original_floats) == (floats, A.size)
    assert s.float_ratio == pytest.approx(A.size / floats)
    raw = math.ceil(A.size * parts.head.mode.bits / 8)
    assert (s.bytes, s.raw_bytes) == (file_bytes, raw)
    assert s.byte_ratio == pytest.approx(raw / file_bytes)
    assert s.source_ratio == pytest.approx(source_bytes / file_bytes)
    assert s.break_even_rank == pytest.approx(m * n / (m + n + 1))
    B = np.stack(
        [(f.U.astype(float) * f.s) @ f.Vt.astype(float) for f in parts.body.factors], axis=2
    )
    B = B.astype(np.float32) if parts.head.mode.peak is None else np.clip(np.rint(B), 0, peak)
    E = A.astype(float) - B
    assert report.pixels.rmse == pytest.approx(math.sqrt(np.mean(E**2)), rel=1e-5, abs=1e-9)
    assert report.pixels.max_abs_error == pytest.approx(np.abs(E).max(), rel=1e-5)
    if report.pixels.psnr_db is not None:
        assert report.pixels.psnr_db == pytest.approx(
            10 * math.log10(peak**2 / np.mean(E**2)), rel=1e-6
        )


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("k", [1, 6, 25])
def test_what_a_report_says_is_true_in_every_mode(mode, k):
    A = picture(mode, 25, 37)
    source = pillow.Source("a", "PNG", mode, 37, 25, 4321)
    loaded = pillow.Loaded(A, source)
    image = lowrank.LowRankImage(codec.encode(loaded.picture, Target("rank", k)).parts)
    report = measure.measure(
        A, image.parts, source=source, file=None, file_bytes=len(image.to_bytes())
    )
    check(report, A.samples, image.parts, len(image.to_bytes()), source_bytes=4321)


def test_the_report_of_a_photograph_is_true(photo, samples, compressed):
    path = samples / "parrots.png"
    report = compressed.report(path)
    check(
        report,
        photo.picture.samples,
        compressed.parts,
        len(compressed.to_bytes()),
        source_bytes=path.stat().st_size,
    )
    for channel in report.channels:
        assert 1 - 1e-6 <= channel.frobenius_error / channel.frobenius_bound <= 1.0011
        assert 1 - 1e-4 <= channel.spectral_error / channel.spectral_bound <= 1.01


def test_several_ranks_are_reported_as_each_alone(samples):
    path = str(samples / "photographer.png")
    found = ask.report(path, None, ranks=[3, 40], store=None, max_pixels=10**7)
    A = pillow.read((samples / "photographer.png").read_bytes(), name="x").picture.samples
    for report, k in zip(found.reports, (3, 40), strict=True):
        image = lowrank.compress(path, rank=k)
        check(
            report,
            A,
            image.parts,
            len(image.to_bytes()),
            source_bytes=(samples / "photographer.png").stat().st_size,
        )


def test_the_ladder_predicts_what_compressing_gives(samples):
    path = samples / "photographer.png"
    found = ask.report(str(path), None, ranks=[], store="float16", max_pixels=10**7)
    assert [r.channels[0].k for r in found.reports] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 512]
    s = np.linalg.svd(np.asarray(Image.open(path)).astype(float), compute_uv=False)
    np.testing.assert_allclose(found.spectra[0], s, atol=1e-7 * s[0])
    for report in found.reports:
        (channel,) = report.channels
        tail = math.sqrt(float(np.sum(s[channel.k :] ** 2)))
        assert channel.frobenius_bound == pytest.approx(tail, rel=1e-6, abs=1e-6 * s[0])
        assert channel.frobenius_error is None
        if channel.k <= 20:
            written = lowrank.compress(path, rank=channel.k, store="float16").to_bytes()
            assert report.storage.bytes == len(written)


def test_a_file_alone_states_bounds_and_measures_nothing(compressed, tmp_path):
    path = tmp_path / "a.lrk"
    compressed.save(path)
    (report,) = ask.report(str(path), None, ranks=[], store=None, max_pixels=10**7).reports
    assert report.source is None
    assert report.pixels is None
    assert report.file.bytes == path.stat().st_size
    for channel, f in zip(report.channels, compressed.parts.body.factors, strict=True):
        assert channel.spectral_error is None
        assert channel.frobenius_error is None
        assert channel.certified is False
        assert (channel.sigma_next, channel.frobenius_bound) == (f.sigma_next, f.tail)


def test_perfect_and_empty_pictures_have_reports_that_json_can_hold():
    for value in (0, 7):
        A = np.full((9, 12, 3), value, np.uint8)
        image = lowrank.compress(A, rank=9)
        fields = json.loads(as_json.dumps(image.report(A).to_dict()))
        exact = {"psnr_db": None, "rmse": 0.0, "max_abs_error": 0.0, "peak": 255.0}
        assert fields["pixels"] == exact
        for channel in fields["channels"]:
            assert channel["certified"] is True
            assert channel["energy"] == pytest.approx(1)


def test_a_report_against_another_image_is_refused(compressed, samples):
    for other in (np.zeros((5, 5), np.uint8), samples / "photographer.png"):
        with pytest.raises(UsageError, match="give the image that the file was made from"):
            compressed.report(other)


def test_files_are_paths_bytes_and_file_objects(tmp_path, small_png):
    made = lowrank.compress(small_png, rank=2)
    assert lowrank.compress(small_png.read_bytes(), rank=2).to_bytes() == made.to_bytes()
    with small_png.open("rb") as stream:
        assert lowrank.compress(stream, rank=2).to_bytes() == made.to_bytes()
    stream = io.BytesIO()
    made.save(stream)
    assert stream.getvalue() == made.to_bytes()
    stream.seek(0)
    for source in (stream, made.to_bytes()):
        assert lowrank.open(source).to_bytes() == made.to_bytes()
    with pytest.raises(FormatError, match="in the file given as bytes"):
        lowrank.open(made.to_bytes()[:-20] + bytes(20))
    for wrong in (3, None, io.StringIO("text")):
        with pytest.raises(UsageError):
            lowrank.open(wrong)
