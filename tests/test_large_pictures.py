"""One picture that is larger than memory: in tiles, in strips, in colours; checked and listed.

Everything here is small; `memory` asks for passes all the same.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from conftest import Held

import lowrank
from lowrank.errors import FormatError, ImageError, LimitError
from lowrank.io import lazy, sources
from lowrank.io.matrices import InFile, OfBands, OfChannel
from lowrank.io.taking import Taking
from lowrank.linalg import space, spans, streamed
from lowrank.linalg.passes import Passes
from lowrank.objects import loading
from lowrank.runs import large, manifest, proof, tasks
from lowrank.runs.plan import Job
from lowrank.targets import Target

tifffile = pytest.importorskip("tifffile", reason="the extra tiff is not installed")

RNG = np.random.default_rng(11)
Y, X = np.mgrid[:190, :230]
GREY = np.clip(
    110 + 60 * np.sin(X / 30 + Y / 50) + 40 * np.cos(Y / 17) + 5 * RNG.random(X.shape), 0, 255
)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1] / 2], 2)
ZLIB = {"compression": "zlib"}
TIFFS = {
    "tiles": (GREY.astype(np.uint8), {"tile": (64, 80)}),
    "packed tiles": (GREY.astype(np.uint8), {"tile": (64, 80), "predictor": True, **ZLIB}),
    "strips": (GREY.astype(np.uint16) * 200, {"rowsperstrip": 32, **ZLIB}),
    "one strip": (GREY.astype(np.float32), {}),
    "big end first": (GREY.astype(np.uint16) * 200, {"byteorder": ">"}),
    "colour": (COLOUR.astype(np.uint8), {"photometric": "rgb"}),
    "colour in tiles": (
        COLOUR.astype(np.uint16) * 9, {"photometric": "rgb", "tile": (48, 48), **ZLIB},
    ),
    "planes": (
        np.moveaxis(COLOUR, 2, 0).astype(np.uint8),
        {"photometric": "rgb", "tile": (64, 64), "planarconfig": "separate", **ZLIB},
    ),
}  # fmt: skip


def written(folder, name):
    samples, options = TIFFS[name]
    path = folder / "a.tif"
    tifffile.imwrite(path, samples, metadata=None, **options)
    return path, np.moveaxis(samples, 0, 2) if name == "planes" else samples


@pytest.mark.parametrize("name", TIFFS)
def test_any_part_of_a_tiff_is_read_as_it_is(name, tmp_path):
    path, samples = written(tmp_path, name)
    assert lazy.of_path(str(path), Taking(), least=1 << 20) is None
    found = lazy.of_path(str(path), Taking(), least=0).picture
    assert found.samples_shape == (190, 230, 3 if samples.ndim == 3 else 1)
    planes = samples.reshape(190, 230, -1)
    assert len(found.matrices) == planes.shape[2]
    for c, matrix in enumerate(found.matrices):
        inside = getattr(matrix, "_whole", matrix)
        assert isinstance(inside, InFile if name in ("one strip", "colour") else OfBands)
        assert isinstance(matrix, OfChannel) == (name in ("colour", "colour in tiles"))
        for a, b in ((0, 190), (63, 65), (100, 190)):
            assert np.array_equal(matrix.rows(slice(a, b)), planes[a:b, :, c])
        for a, b in ((0, 230), (79, 82), (200, 230)):
            assert np.array_equal(matrix.columns(slice(a, b)), planes[:, a:b, c])


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"imagej": True},
        {"metadata": None, "description": "of a leaf", "resolution": (300, 300)},
        {"bigtiff": True, "extratags": [(34675, "B", 8, bytes(8), True)]},
        {"byteorder": ">", "tile": (64, 64), "extratags": [(700, "B", 5, b"<xmp>", True)]},
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_what_a_tiff_says_beside_its_samples_is_the_same_in_passes(dtype, said, tmp_path):
    """Whichever library reads it whole: its description, resolution, profile and notes."""
    if said.get("imagej") and dtype == "i2":
        pytest.skip("ImageJ has no such samples")
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype), **said)
    whole = loading.load(tmp_path / "a.tif")
    later = lazy.of_path(str(tmp_path / "a.tif"), Taking(), least=0)
    assert later.picture.metadata == whole.picture.metadata
    assert later.notes == whole.notes


def compress(path, out, kind="rank", value=4.0, **options):
    settings = tasks.Compressing(target=Target(kind, value), memory=1 << 27, **options)
    return large.compress(Job(str(path), str(out)), settings)


@pytest.mark.parametrize("name", ["packed tiles", "colour in tiles"])
def test_each_channel_has_its_leading_triplets(name, tmp_path):
    path, samples = written(tmp_path, name)
    outcome = compress(path, tmp_path / "a.lrk", measure=True)
    planes = samples.reshape(190, 230, -1).astype(np.float64)
    channels = outcome.report.to_dict()["channels"]
    image = lowrank.open(tmp_path / "a.lrk")
    assert image.ranks == (4,) * planes.shape[2]
    for c, ((U, s, Vt), told) in enumerate(zip(image.factors, channels, strict=True)):
        A = planes[:, :, c]
        exact = np.linalg.svd(A, compute_uv=False)
        assert s == pytest.approx(exact[:4], rel=1e-7)
        E = A - (U * s) @ Vt
        assert told["frobenius_error"] == pytest.approx(np.linalg.norm(E), rel=1e-9)
        assert told["spectral_error"] == pytest.approx(np.linalg.norm(E, 2), rel=1e-6)
        assert told["frobenius_bound"] == pytest.approx(np.linalg.norm(exact[4:]), rel=1e-6)
    decoded = np.asarray(image).reshape(planes.shape)
    rmse = np.sqrt(np.mean((decoded - planes) ** 2))
    assert outcome.report.pixels.rmse == pytest.approx(rmse)


def test_an_array_of_colours_is_the_picture_that_it_is_in_memory(tmp_path):
    np.save(tmp_path / "a.npy", COLOUR.astype(np.uint8))
    compress(tmp_path / "a.npy", tmp_path / "a.lrk")
    there = lowrank.compress(tmp_path / "a.npy", rank=4)
    here = lowrank.open(tmp_path / "a.lrk")
    assert here.parts.head == there.parts.head
    for (_, s, _), (_, t, _) in zip(here.factors, there.factors, strict=True):
        assert s == pytest.approx(t, rel=1e-6)
    # An error of all channels together is shared out among them in memory only.
    outcome = compress(tmp_path / "a.npy", tmp_path / "b.lrk", "error", 0.05)
    assert "not in passes" in outcome.notes[-1]
    assert (
        lowrank.open(tmp_path / "b.lrk").ranks
        == lowrank.compress(tmp_path / "a.npy", error=0.05).ranks
    )


def test_a_tiff_that_ends_early_is_refused(tmp_path):
    for name in ("packed tiles", "one strip"):
        path, _ = written(tmp_path, name)
        data = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            size = page.databytecounts[-1]
            at = page.dataoffsets[-1]
        if at + size == len(data):  # samples stand last
            path.write_bytes(data[:-40])
            with pytest.raises(ImageError, match=r"ends before|truncated"):
                compress(path, tmp_path / "a.lrk")
            assert not (tmp_path / "a.lrk").exists()


# -- checked and listed --------------------------------------------------------------------


def test_a_file_is_read_back_and_listed_in_passes(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    np.save(path, COLOUR.astype(np.uint8))
    outcome = compress(path, tmp_path / "a.lrk", check=True, manifest="m.csv")
    entry, data = outcome.entry, (tmp_path / "a.lrk").read_bytes()
    assert (entry.input_bytes, entry.output_bytes) == (path.stat().st_size, len(data))
    assert entry.input_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry.output_sha256 == hashlib.sha256(data).hexdigest()
    error = np.asarray(lowrank.open(data)) - COLOUR.astype(np.uint8).astype(float)
    assert entry.max_abs_error == np.abs(error).max()
    whole = np.linalg.norm(COLOUR.astype(np.uint8).astype(float))
    assert entry.relative_error == pytest.approx(np.linalg.norm(error) / whole)
    again = compress(path, tmp_path / "a.lrk", manifest="m.csv", skip_existing=True)
    assert again.skipped
    assert again.entry.output_sha256 == entry.output_sha256
    assert isinstance(again.entry, manifest.Entry)
    # What does not decode to what it was made from never takes its name.
    monkeypatch.setattr(proof.compared, "allowed", lambda parts: (0.0,))
    with pytest.raises(FormatError, match="another picture"):
        compress(path, tmp_path / "b.lrk", check=True)
    assert sorted(x.name for x in tmp_path.iterdir()) == ["a.lrk", "a.npy"]


def test_what_passes_do_not_do_is_said(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", GREY.astype(np.uint8))
    outcome = compress(tmp_path / "a.npy", tmp_path / "a.lrk", nodata=0.0)
    assert "--memory did nothing" in outcome.notes[-1]
    monkeypatch.setattr(large.limits, "LARGE", 1)
    monkeypatch.setattr(large.limits, "fits", lambda needed: False)
    for wish in ({"nodata": 0.0}, {"kind": "max_error", "value": 9.0}):
        with pytest.raises(LimitError, match="not done in passes"):
            compress(tmp_path / "a.npy", tmp_path / "b.lrk", **wish)
    assert not (tmp_path / "b.lrk").exists()


# -- flat spectra --------------------------------------------------------------------------


@pytest.fixture
def noise(monkeypatch):
    """Noise of as many rows as have no Gram matrix; and its singular values."""
    monkeypatch.setattr(spans, "GRAM_SIDE", 50)
    monkeypatch.setattr(spans, "LARGEST_GRAM", 60)
    A = np.random.default_rng(3).integers(0, 256, (300, 380), dtype=np.uint8)
    return A, np.linalg.svd(A.astype(np.float64), compute_uv=False)


def solved(A, rank=None, share=None):
    P = Passes(Held(A), memory=1 << 30)
    found = streamed.leading(P, streamed.Wish(rank=rank, share=share))
    return found, P.number


def test_the_edge_of_noise_settles(noise, monkeypatch):
    A, exact = noise
    found, once = solved(A, 8)
    assert found.within == 0
    assert found.s == pytest.approx(exact[:8], rel=1e-7)
    monkeypatch.setattr(space, "_DEEP", 4)
    monkeypatch.setattr(space, "_ALWAYS", 64)  # and is looked at seldom
    again, passes = solved(A, 8)
    assert passes > 10  # the space began again
    assert again.s == pytest.approx(exact[:8], rel=1e-7)
    assert passes < 2 * once


def test_what_is_not_known_to_1e7_is_said(noise, monkeypatch, tmp_path):
    A, exact = noise
    monkeypatch.setattr(space, "_PASSES", 8)
    monkeypatch.setattr(streamed, "POLISHING", 1)
    found, _ = solved(A, 8)
    assert 0 < found.within < space.ROUGH
    nearest = np.abs(exact[:, np.newaxis] - found.s).min(axis=0)
    assert (nearest <= found.within * found.s).all()
    np.save(tmp_path / "a.npy", A)
    monkeypatch.setattr(space, "_PASSES", 9)  # by its rows, which are longer
    assert (
        "spectrum is flat" in compress(tmp_path / "a.npy", tmp_path / "a.lrk", value=8.0).notes[-1]
    )
    monkeypatch.setattr(space, "_PASSES", 4)
    with pytest.raises(LimitError, match="do not settle"):
        solved(A, 8)


def test_more_terms_than_there_is_room_for_are_refused_early(noise, monkeypatch):
    A = np.random.default_rng(3).integers(0, 256, (500, 640), dtype=np.uint8)
    exact = np.linalg.svd(A.astype(np.float64), compute_uv=False)
    monkeypatch.setattr(space, "_ALWAYS", 64)
    monkeypatch.setattr(space.Space, "_room", lambda self: 224)
    tails = np.sqrt(np.cumsum(exact[::-1] ** 2)[::-1])
    with pytest.raises(LimitError, match="terms at least") as refused:
        solved(A, share=0.1)
    least = int(str(refused.value).split()[0])
    assert 0.6 * 224 < least <= np.count_nonzero(tails > 0.1 * np.linalg.norm(exact))


PAGES = np.stack([np.rot90(COLOUR, 2 * i)[:60, :70] for i in range(3)]).astype(np.uint8)
OPAQUE = np.full((3, 60, 70, 1), 200, np.uint8)
STACKS = {
    "grey": (PAGES[..., 0] * np.uint16(200), {}),
    "big end first": (PAGES[..., 0].astype(np.float32), {"byteorder": ">", **ZLIB}),
    "signed bytes": ((PAGES[..., 0] // 2).astype(np.int8) - np.int8(60), {}),
    "turned": (PAGES[..., 0] * np.uint16(200), {"extratags": [(274, 3, 1, 6, False)]}),
    "turned bytes": (PAGES[..., 0], {"extratags": [(274, 3, 1, 8, False)], **ZLIB}),
    "alpha": (np.concatenate([PAGES, OPAQUE], 3), {"extrasamples": ["unassalpha"]}),
    "multiplied": (np.concatenate([PAGES, OPAQUE], 3), {"extrasamples": ["assocalpha"]}),
    "four channels": (np.concatenate([PAGES, OPAQUE], 3), {"extrasamples": ["unspecified"]}),
    "planes": (np.moveaxis(PAGES, 3, 1), {"planarconfig": "separate"}),
    "described": (
        PAGES,
        {"iccprofile": b"a profile", "resolution": (300, 300), "software": "by hand"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STACKS)
def test_pages_are_the_same_one_at_a_time_and_read_whole(name, tmp_path):
    samples, options = STACKS[name]
    path = tmp_path / "a.tif"
    colour = "rgb" if samples.ndim == 4 else "minisblack"
    tifffile.imwrite(path, samples, metadata=None, photometric=colour, **options)
    whole = sources.read(path.read_bytes(), name="a", taking=Taking(), max_pixels=10**6)
    later = lazy.of_path(str(path), Taking(), least=0)
    if later is None:  # it is read whole
        assert name in ("signed bytes", "four channels")
        return
    rows = later.picture.matrix.rows(slice(0, 3))
    assert np.array_equal(rows.reshape(later.picture.samples_shape), whole.picture.samples)
    assert later.picture.mode == whole.picture.mode
    assert later.picture.metadata == whole.picture.metadata
    assert later.notes == whole.notes


@pytest.mark.parametrize("count", [1, 3])
def test_a_value_that_stands_for_no_data_is_said_of_pages_and_of_a_picture(tmp_path, count):
    path = tmp_path / "a.tif"
    samples = np.resize(PAGES[..., 0].astype(np.float32), (count, 900, 400))
    tags = [(42113, 2, 0, "-9999", True)]
    tifffile.imwrite(path, samples, metadata=None, extratags=tags, photometric="minisblack")
    assert "no-data value (-9999)" in " ".join(lazy.of_path(str(path), Taking(), least=0).notes)
