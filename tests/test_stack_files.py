"""Stacks from and to files, and on the command line: what is taken for one, and what is not."""

from __future__ import annotations

import json
import os
from io import BytesIO

import numpy as np
import pytest
from conftest import on_a_terminal
from PIL import Image

import lowrank
from lowrank.errors import ImageError, LowrankError, UsageError
from lowrank.io import framewriter, sources
from lowrank.io.dtypes import typed
from lowrank.io.taking import Taking
from lowrank.picture import MODES, Metadata, Picture


def frames(shape=(6, 10, 12), dtype="uint8", seed=0):
    rng = np.random.default_rng(seed)
    A = rng.random((shape[0], 2)) @ rng.random((2, int(np.prod(shape[1:])))) * 100
    return A.reshape(shape).astype(dtype)


def read(data, name="x", **taking):
    return sources.read(data, name=name, max_pixels=10**6, taking=Taking(**taking))


def saved(images, format, **options):
    stream = BytesIO()
    images[0].save(stream, format, save_all=True, append_images=images[1:], **options)
    return stream.getvalue()


def npy(A):
    stream = BytesIO()
    np.save(stream, A)
    return stream.getvalue()


# -- what is a stack --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "dtype", "taking", "found"),
    [
        ((8, 9), "uint8", {}, (8, 9, 1)),
        ((8, 9, 3), "uint8", {}, (8, 9, 3)),
        ((8, 9, 4), "uint16", {}, (8, 9, 4)),
        ((8, 9, 3), "float32", {}, (8, 9, 3, 1)),
        ((8, 9, 3), "uint8", {"stack": True}, (8, 9, 3, 1)),
        ((8, 9, 3), "uint8", {"axis": -1}, (3, 8, 9, 1)),
        ((8, 9, 7), "uint8", {}, (8, 9, 7, 1)),
        ((8, 9, 7), "uint8", {"axis": 1}, (9, 8, 7, 1)),
        ((8, 9, 7, 3), "int16", {}, (8, 9, 7, 3)),
        ((9, 7, 3, 8), "int16", {"axis": -1}, (8, 9, 7, 3)),
        ((8, 9, 7), "uint8", {"frames": 3}, (9, 7, 1)),
        ((8, 9, 7), "uint8", {"frames": slice(None, None, -3)}, (3, 9, 7, 1)),
    ],
)
def test_what_an_array_is_taken_for(shape, dtype, taking, found):
    A = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    loaded = read(npy(A), **taking)
    assert loaded.picture.samples.shape == found
    assert loaded.picture.samples.dtype == dtype
    expected = np.moveaxis(A, taking.get("axis", 0) or 0, 0)
    if "frames" in taking:
        expected = expected[taking["frames"]]
    np.testing.assert_array_equal(loaded.picture.samples.reshape(expected.shape), expected)
    kind = "a stack" if len(found) == 4 else "one picture"
    assert any(note.startswith(f"Taken for {kind} of ") for note in loaded.notes)


@pytest.mark.parametrize(
    "taking", [{"frames": 8}, {"frames": slice(9, None)}, {"axis": 3}, {"axis": -4}]
)
def test_what_is_not_there_cannot_be_taken(taking):
    with pytest.raises(UsageError):
        read(npy(np.zeros((8, 9, 7), np.uint8)), **taking)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5, 6), (0, 3, 4)])
def test_other_arrays_are_no_stack(shape):
    with pytest.raises(ImageError):
        read(npy(np.zeros(shape, np.uint8)), stack=True)


class Lazy:
    """An array as zarr, h5py and dask have them, which notes what is read of it."""

    def __init__(self, A):
        self.A, self.shape, self.dtype = A, A.shape, A.dtype
        self.taken = 0

    def __getitem__(self, key):
        found = self.A[key]
        self.taken += found.size
        return found


@pytest.mark.parametrize("way", [(), ("--memory", "50M")])
def test_where_bands_may_be_last_a_note_says_how_to_say_so(cli, tmp_path, way):
    for name, shape in {"last.npy": (9, 8, 5), "first.npy": (5, 9, 8)}.items():
        np.save(tmp_path / name, np.arange(360.0, dtype=np.float32).reshape(shape))
    said = "--axis -1 takes its last"
    assert said in cli("compress", "last.npy", "-k", "2", *way).succeeded().err
    assert said not in cli("compress", "first.npy", "-k", "2", *way).succeeded().err
    asked = ("--axis", "0", "-f", *way)
    assert said not in cli("compress", "last.npy", "-k", "2", *asked).succeeded().err


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_lazy_arrays_are_read_once_and_only_what_is_taken(axis):
    A = np.arange(9 * 10 * 11).reshape(9, 10, 11).astype(np.int16)
    lazy = Lazy(A)
    stack = lowrank.compress(lazy, stack=True, axis=axis, rank=99, store="float64")
    np.testing.assert_array_equal(np.asarray(stack), np.moveaxis(A, axis, 0))
    assert lazy.taken == A.size
    lazy = Lazy(A)
    found = sources.of_array(lazy, max_pixels=999, taking=Taking(True, axis, slice(6, 1, -2)))
    np.testing.assert_array_equal(found.picture.samples[..., 0], np.moveaxis(A, axis, 0)[6:1:-2])
    assert lazy.taken < A.size


def test_python_takes_three_axes_for_a_picture_and_says_so():
    A = frames((6, 10, 12), "int16")
    image = lowrank.compress(A, rank=2)
    assert isinstance(image, lowrank.LowRankImage)
    assert any("stack=True" in note for note in image.notes)
    assert isinstance(lowrank.compress(A, rank=2, stack=True), lowrank.LowRankStack)
    assert isinstance(lowrank.compress(A[..., None], rank=2), lowrank.LowRankStack)
    assert lowrank.compress(A, rank=2, axis=-1).shape == (12, 6, 10)


def test_a_mask_of_a_stack_is_kept():
    A = np.ma.masked_array(frames((6, 10, 12), "int16"), fill_value=-5)
    A[2, 3:5, 4] = np.ma.masked
    found = np.asarray(lowrank.compress(A, stack=True, rank=2))
    np.testing.assert_array_equal(found == -5, np.ma.getmaskarray(A))


# -- files of several images --------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("GIF", {"duration": [50, 80, 50, 50, 50, 50], "disposal": 1}),
        ("PNG", {"duration": 100}),
        ("WEBP", {"lossless": True, "duration": 40}),
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_files_of_equal_images_are_stacks(format, options, mode):
    A = frames((6, 10, 12) if mode == "L" else (6, 10, 12, 3)) // 16 * 16
    data = saved([Image.fromarray(a) for a in A], format, **options)
    found = read(data)
    samples = found.picture.samples
    if format == "WEBP" and mode == "L":
        samples = samples[..., :1]  # which knows no grey
    np.testing.assert_array_equal(samples.reshape(A.shape), A)
    assert any("stack of 6 frames of 12x10" in note for note in found.notes)
    np.testing.assert_array_equal(
        read(data, frames=slice(4, 1, -1)).picture.samples, found.picture.samples[4:1:-1]
    )
    one = read(data, frames=2).picture
    np.testing.assert_array_equal(one.samples, found.picture.samples[2])
    assert one.metadata.axis is None
    if format == "GIF":
        axis = lowrank.compress(data, rank=1).axis
        assert (axis.values, axis.unit) == ((0.0, 50.0, 130.0, 180.0, 230.0, 280.0), "ms")


def test_avif_sequences_are_stacks():
    A = np.repeat(frames((6, 10, 12, 1)), 3, axis=-1)
    try:
        data = saved([Image.fromarray(a) for a in A], "AVIF", quality=100, subsampling="4:4:4")
    except (KeyError, OSError):
        pytest.skip("this Pillow writes no AVIF")
    found = read(data)
    assert found.picture.samples.shape == (6, 10, 12, 3)
    assert np.abs(found.picture.samples.astype(int) - A).max() < 12


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "uint32", "int32", "int8", "float32"]
)
def test_grey_tiffs_of_every_type_come_back(dtype):
    A = frames((4, 7, 9), dtype)
    if np.dtype(dtype).kind == "i":
        A[1, 2:4] *= -1
    samples, mode = typed(A[..., np.newaxis], [])
    data, notes = framewriter.write(Picture(samples, mode), format="TIFF")
    assert notes == ()
    found = read(data).picture
    assert (found.samples.dtype, found.mode) == (A.dtype, mode)
    np.testing.assert_array_equal(found.samples[..., 0], A)


@pytest.mark.parametrize(
    ("dtype", "channels"), [("uint16", 3), ("float32", 3), ("float64", 1), ("int16", 5)]
)
def test_other_tiffs_come_back_through_tifffile(dtype, channels):
    tifffile = pytest.importorskip("tifffile")
    A = frames((4, 7, 9, channels), dtype)
    samples, mode = typed(A, [])
    data, _ = framewriter.write(Picture(samples, mode), format="TIFF")
    np.testing.assert_array_equal(tifffile.imread(BytesIO(data)).reshape(A.shape), A)
    np.testing.assert_array_equal(read(data).picture.samples, A)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_comes_back_from_both_kinds_of_tiff(mode, monkeypatch):
    kind = MODES[mode]
    A = np.random.default_rng(0).integers(0, 200, (3, 7, 9, len(kind.channels)))
    A = (A % 2 if mode == "1" else A).astype(kind.dtype)
    picture = Picture(A, kind, Metadata(icc=b"a profile"))
    for classic in (1 << 30, 0):  # beyond it the offsets have 64 bits
        monkeypatch.setattr(framewriter, "_CLASSIC", classic)
        data, _ = framewriter.write(picture, format="TIFF")
        assert data[2] == (42 if classic else 43)
        found = read(data).picture
        assert found.mode == kind
        np.testing.assert_array_equal(found.samples, A)
        assert found.metadata.icc == b"a profile"


def exif_of(**tags):
    """An EXIF block with a maker, a time in the directory within, and more."""
    exif = Image.Exif()
    exif[271] = "Maker"
    exif.get_ifd(0x8769)[36867] = "2020:01:02 03:04:05"
    exif.update({int(key[1:]): value for key, value in tags.items()})
    return exif.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("classic", [1 << 30, 0])
@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_every_page_has_the_metadata(mode, classic, monkeypatch):
    monkeypatch.setattr(framewriter, "_CLASSIC", classic)
    kind = MODES[mode]
    A = np.random.default_rng(0).integers(0, 200, (3, 7, 9, 1)).astype(kind.dtype)
    said = Metadata(exif_of(_282=300.0, _283=200.0, _296=2), b"a profile", b"<x>a packet</x>")
    data, _ = framewriter.write(Picture(A, kind, said), format="TIFF")
    with Image.open(BytesIO(data)) as image:
        for page in range(3):
            image.seek(page)
            tags = image.getexif()
            assert (tags[271], tags[282], tags[283], tags[296]) == ("Maker", 300, 200, 2)
            assert tags.get_ifd(0x8769) == {36867: "2020:01:02 03:04:05"}
            assert (image.info["icc_profile"], image.info["xmp"]) == (said.icc, said.xmp)
            np.testing.assert_array_equal(np.asarray(image), A[page, ..., 0])
    found = read(data).picture.metadata
    assert (found.icc, found.xmp) == (said.icc, said.xmp)
    again, _ = framewriter.write(Picture(A, kind, found), format="TIFF")
    assert again == data


@pytest.mark.parametrize("frames", [1, 3])
def test_pages_that_are_turned_when_they_are_read_are_not_to_be_turned_again(frames):
    A = np.arange(frames * 6 * 10, dtype=np.uint8).reshape(frames, 6, 10)
    data = saved([Image.fromarray(a) for a in A], "TIFF", exif=exif_of(_274=6))
    picture = read(data).picture
    turned = np.rot90(A, -1, axes=(1, 2))[..., np.newaxis]
    np.testing.assert_array_equal(picture.samples.reshape(turned.shape), turned)
    exif = Image.Exif()
    exif.load(picture.metadata.exif)
    assert (exif[271], exif.get(274, 1)) == ("Maker", 1)


def test_unequal_images_are_no_stack_and_that_is_said():
    data = saved([Image.new("L", (9, 8)), Image.new("L", (9, 8)), Image.new("L", (5, 8))], "TIFF")
    found = read(data)
    assert found.picture.frames is None
    assert any("image 2 is 5x8 L" in note for note in found.notes)
    for taking in ({"stack": True}, {"frames": slice(0, 3)}):
        with pytest.raises(ImageError, match="image 2 is 5x8 L, image 0 9x8 L"):
            read(data, **taking)
    assert read(data, frames=slice(0, 2)).picture.frames == 2
    assert read(data, frames=2).picture.width == 5


def test_frames_with_and_without_alpha_are_of_one_mode():
    images = [Image.new("RGB", (6, 5), (9, 8, 7)) for _ in range(3)]
    images[1] = Image.new("RGBA", (6, 5), (1, 2, 3, 100))
    samples = read(saved(images, "WEBP", lossless=True, exact=True)).picture.samples
    assert samples.shape == (3, 5, 6, 4)
    np.testing.assert_array_equal(samples[1, 0, 0], (1, 2, 3, 100))
    np.testing.assert_array_equal(samples[2, 0, 0], (9, 8, 7, 255))


def test_what_gif_cannot_hold_is_said():
    rng = np.random.default_rng(0)
    A = rng.integers(0, 256, (2, 20, 20, 3), np.uint8)
    samples, mode = typed(A, [])
    assert "256 colours" in framewriter.write(Picture(samples, mode), format="GIF")[1][0]


# -- the command line -----------------------------------------------------------------------


def report_of(out):
    return json.loads(out)


def test_a_stack_through_the_command_line(cli, tmp_path):
    A = frames((12, 10, 12), "int16") * 30
    np.save(tmp_path / "s.npy", A)
    done = cli("compress", "s.npy", "-k", "2", "--json")
    said = report_of(done.out)
    assert [c["name"] for c in said["channels"]] == ["stack"]
    assert said["channels"][0]["certified"]
    assert said["stack"]["frames"] == 12
    assert "Taken for a stack of 12 frames of 12x10 int16" in done.err
    whole = np.asarray(lowrank.open(tmp_path / "s.lrk"))
    assert cli("decompress", "s.lrk").code == 0
    np.testing.assert_array_equal(read((tmp_path / "s.tif").read_bytes()).picture.samples[..., 0],
                                  whole)  # fmt: skip
    assert cli("decompress", "s.lrk", "-o", "t.npy", "--frames", "8:2:-2").code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "t.npy"), whole[8:2:-2])
    assert cli("decompress", "s.lrk", "-o", "k.npy", "-k", "1").code == 0
    np.testing.assert_array_equal(
        np.load(tmp_path / "k.npy"), lowrank.open(tmp_path / "s.lrk").to_array(1)
    )
    trace = cli("decompress", "s.lrk", "--pixel", "3,4").out.decode().splitlines()
    assert trace[0] == "frame,value"
    assert trace[1:] == [f"{i},{v}" for i, v in enumerate(whole[:, 3, 4])]
    cli("decompress", "s.lrk", "--pixel", "3,4", "--frames", "5:7", "-o", "t.csv")
    assert (tmp_path / "t.csv").read_text() == "frame,value\n" + "".join(
        f"{i},{whole[i, 3, 4]}\n" for i in (5, 6)
    )
    said = json.loads(cli("decompress", "s.lrk", "--pixel=-1,4", "--frames", "2:9", "--json").out)
    assert said["trace"] == [{"frame": i, "value": whole[i, -1, 4]} for i in range(2, 9)]
    said = report_of(cli("report", "s.npy", "s.lrk", "--json").out)
    assert said["channels"][0]["certified"]
    assert said["stack"]["frame_psnr_db"]["worst_frame"] in range(12)
    shown = cli("report", "s.npy", "s.lrk").out.decode()
    assert "12 frames of 12x10 int16" in shown
    assert "The worst frame is" in shown
    assert "Gavish-Donoho" in cli("report", "s.npy").out.decode()
    assert report_of(cli("report", "s.lrk", "--json").out)["stack"]["height"] == 10


def test_a_stack_of_black_and_white_is_bool_again(cli, tmp_path):
    A = np.eye(12, 16, dtype=bool) ^ (np.arange(5) % 2 == 1)[:, None, None]
    stack = lowrank.compress(A, stack=True, rank=2, store="float32")
    assert stack.dtype == stack[1].dtype == stack[1:3, 2].dtype == stack.to_array().dtype == bool
    np.testing.assert_array_equal(stack, A)
    stack.save(tmp_path / "a.lrk")
    zarr = pytest.importorskip("zarr")
    for name, read in [("a.npy", np.load), ("a.zarr", lambda path: zarr.open_array(path)[:])]:
        cli("decompress", tmp_path / "a.lrk", "-o", tmp_path / name)
        again = read(tmp_path / name)
        assert again.dtype == bool
        np.testing.assert_array_equal(again, A)


def test_bands_that_are_last(cli, tmp_path):
    A = frames((8, 9, 30), "uint16")
    np.save(tmp_path / "cube.npy", A)
    cli("compress", "cube.npy", "--axis", "-1", "-k", "2")
    assert lowrank.open(tmp_path / "cube.lrk").shape == (30, 8, 9)
    assert cli("report", "cube.npy", "cube.lrk").code == 0


def test_a_folder_is_a_stack_in_the_natural_order_of_its_names(cli, tmp_path):
    A = frames((11, 10, 12))
    (tmp_path / "f").mkdir()
    for i, a in enumerate(A):
        Image.fromarray(a).save(tmp_path / "f" / f"f{i}.png")
    done = cli("compress", "f", "--stack", "-k", "11", "--store", "float64")
    assert done.code == 0, done.err
    stack = lowrank.open(tmp_path / "f.lrk")
    np.testing.assert_array_equal(np.asarray(stack), A)
    assert stack.axis.labels[:3] == ("f0.png", "f1.png", "f2.png")
    assert stack.axis.labels[10] == "f10.png"
    cli("compress", "f/f10.png", "f/f2.png", "--stack", "-k", "2", "-o", "two.lrk")
    assert lowrank.open(tmp_path / "two.lrk").axis.labels == ("f2.png", "f10.png")
    assert cli("report", "f", "f.lrk", "--stack").text.startswith("f  11 frames of 12x10 L")
    one = cli("compress", "f", "--stack", "--frames", "10", "-k", "2", "-o", "one.lrk")
    assert f"Taken for one picture of 12x10 L: {os.path.join('f', 'f10.png')}." in one.err
    assert stack.report(tmp_path / "f").source.path == str(tmp_path / "f")
    assert cli("decompress", "f.lrk", "-o", "out/").code == 0
    for i, a in enumerate(A):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / f"{i:03d}.png")), a)
    assert cli("decompress", "f.lrk", "-o", "out/").code == 1  # they exist
    Image.new("L", (7, 7)).save(tmp_path / "f" / "f3.png")
    wrong = cli("compress", "f", "--stack", "-k", "2", "-o", "w.lrk")
    assert wrong.code == 1
    assert "f3.png is 7x7 L" in wrong.err
    assert not (tmp_path / "w.lrk").exists()


def test_one_frame_is_a_picture(cli, tmp_path):
    A = frames((6, 10, 12)) // 16 * 16
    (tmp_path / "a.gif").write_bytes(saved([Image.fromarray(a) for a in A], "GIF", disposal=1))
    cli("compress", "a.gif", "--frames", "0", "-k", "9", "--store", "float64", "-o", "one.lrk")
    assert isinstance(lowrank.open(tmp_path / "one.lrk"), lowrank.LowRankImage)
    cli("compress", "a.gif", "-k", "6", "--store", "float64")
    cli("decompress", "a.lrk", "--frames", "-2", "-o", "f.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "f.png")), A[4])
    cli("decompress", "a.lrk", "-o", "b.gif")
    np.testing.assert_array_equal(
        read((tmp_path / "b.gif").read_bytes()).picture.samples[..., 0], A
    )


def test_a_folder_of_frames_that_is_there_is_passed_over(cli, tmp_path):
    lowrank.compress(frames((3, 9, 8), "uint8"), stack=True, rank=2).save(tmp_path / "s.lrk")
    (tmp_path / "out").mkdir()
    asked = ("decompress", "s.lrk", "-o", "out", "--skip-existing")
    assert "3 frames" in cli(*asked).succeeded().text
    assert "exists, skipped" in cli(*asked).succeeded().text
    (tmp_path / "out" / "001.png").unlink()
    assert "3 frames" in cli(*asked).succeeded().text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("decompress", "s.lrk", "-o", "x.png"), 2, "holds no stack of 6 frames"),
        (("decompress", "s.lrk", "-o", "x.gif"), 1, ".gif cannot hold int16"),
        (("decompress", "s.lrk", "--frames", "6"), 2, "frame 6 does not exist"),
        (("decompress", "s.lrk", "--frames", "x"), 2, "not understood"),
        (("decompress", "s.lrk", "--frames", "0", "-o", "x.png"), 1, "cannot hold int16"),
        (("decompress", "s.lrk", "--pixel", "10,0"), 2, "outside the frames"),
        (("decompress", "s.lrk", "--pixel", "1"), 2, "not understood"),
        (("decompress", "p.lrk", "--pixel", "1,1"), 2, "one picture"),
        (("decompress", "s.lrk", "--pixel", "1,1", "-o", "x.tif"), 2, "-o x.csv"),
        (("decompress", "s.lrk", "--pixel", "1,1", "--format", "png"), 2, "--format png"),
        (("decompress", "s.lrk", "s.lrk", "p.lrk", "--pixel", "1,1"), 2, "several traces"),
        (("decompress", "p.lrk", "--frames", "1"), 2, "one picture"),
        (("compress", "q.png", "--axis", "1"), 2, "--axis"),
        (("compress", "t.npy", "--axis", "x"), 2, "no axis"),
        (("compress", "p.png", "q.png", "--stack"), 2, "-o"),
        (("compress", "t.npy", "--frames", "1:1", "-k", "1"), 2, "none of 6 frames"),
        (("compress", "t.npy", "-k", "1", "--layout", "channels"), 2, "layout stack"),
        (("compress", "t.npy", "-k", "1", "--resume", ""), 2, "--resume is empty"),
        (
            ("compress", "t.npy", "u.npy", "-k", "1", "--resume", "j", "-j", "2"),
            2,
            "one source at a time",
        ),
        (("verify", "s.lrk", "--against", ""), 2, "--against is empty"),
        (("report", "s.npy", "p.lrk"), 2, "6 frames of 12x10"),
    ],
)
def test_what_cannot_be_is_one_line(cli, tmp_path, arguments, code, says):
    A = frames((6, 10, 12), "int16")
    np.save(tmp_path / "s.npy", A)
    lowrank.compress(A, stack=True, rank=2).save(tmp_path / "s.lrk")
    for name in ("p", "q"):
        Image.fromarray(A[0].astype(np.uint8)).save(tmp_path / f"{name}.png")
    lowrank.compress(tmp_path / "p.png", rank=2).save(tmp_path / "p.lrk")
    np.save(tmp_path / "t.npy", A)
    before = sorted(p.name for p in tmp_path.iterdir())
    done = cli(*arguments)
    assert done.code == code, done.err
    assert done.err.count("lowrank: error:") == 1
    assert says in done.err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_stack_through_standard_streams(cli, tmp_path):
    A = frames((6, 10, 12), "uint16")
    made = cli("compress", "-", "-k", "2", stdin=npy(A))
    stack = lowrank.open(made.out)
    assert stack.shape == A.shape
    out = cli("decompress", "-", "--format", "npy", stdin=made.out).out
    np.testing.assert_array_equal(np.load(BytesIO(out)), np.asarray(stack))


def test_a_label_steers_no_terminal(cli, tmp_path):
    A = frames((4, 10, 12), "uint8", seed=2)
    lowrank.compress(A, stack=True, rank=1, labels=["\x1b[31mred", "\u202eb", "c\nd", "e"]).save(
        tmp_path / "s.lrk"
    )
    np.save(tmp_path / "s.npy", A)
    shown = cli("report", "s.npy", "s.lrk", "--axis", "0").out.decode()
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown
    with pytest.raises(LowrankError):
        lowrank.open(tmp_path / "nothing.lrk")


def test_pillow_goes_through_the_frames(tmp_path):
    lowrank.register_lrk_opener()
    A = frames((6, 10, 12, 3))
    stack = lowrank.compress(A, stack=True, rank=3, labels="abcdef")
    stack.save(tmp_path / "s.lrk")
    with Image.open(tmp_path / "s.lrk") as image:
        assert (image.n_frames, image.is_animated, image.size) == (6, True, (12, 10))
        for i in (0, 4, 4, 1):
            image.seek(i)
            assert image.tell() == i
            np.testing.assert_array_equal(np.asarray(image), stack[i])
        with pytest.raises(EOFError):
            image.seek(6)
    with Image.open(tmp_path / "s.lrk") as image:
        image.verify()


def test_a_terminal_shows_the_middle_frame(tmp_path):
    A = frames((6, 10, 12), "uint16")
    np.save(tmp_path / "s.npy", A)
    lowrank.compress(A, stack=True, rank=2).save(tmp_path / "s.lrk")
    drawn = on_a_terminal(("report", "s.npy", "s.lrk"), tmp_path)
    assert "original" in drawn
    assert "The worst frame is" in drawn


def test_what_a_stack_leaves_out_is_said(cli, tmp_path):
    pages = [Image.fromarray(a) for a in frames((3, 6, 5), "uint8")]
    data = saved(pages, "TIFF", exif=exif_of(), icc_profile=b"a profile")
    (tmp_path / "a.tif").write_bytes(data)
    cli("compress", "a.tif", "-k", "3").succeeded()
    for name, kinds in (("a.npy", 2), ("a.gif", 2), ("b.tif", 0)):
        run = cli("decompress", "a.lrk", "-o", name, "-f").succeeded()
        assert run.err.count("data: they were left out.") == kinds, run.err


def test_a_gif_has_the_times_of_its_frames_and_says_what_it_has_not(cli, tmp_path):
    pages = [Image.fromarray(a) for a in frames((3, 6, 5), "uint8")]
    (tmp_path / "a.gif").write_bytes(saved(pages, "GIF", duration=[30, 50, 90]))
    cli("compress", "a.gif", "-k", "3").succeeded()
    for taken, pauses in (("0:3", [30, 50, 50]), ("::-1", [50, 30, 30])):
        run = cli("decompress", "a.lrk", "-o", "b.gif", "-f", "--frames", taken).succeeded()
        assert "How long the last frame is to stand is not kept" in run.err
        assert "labels" not in run.err
        with Image.open(tmp_path / "b.gif") as image:
            found = []
            for page in range(3):
                image.seek(page)
                found.append(image.info["duration"])
        assert found == pauses


@pytest.mark.parametrize("named", [{"labels": "abcd"}, {"values": [1, 2, 4, 8], "unit": "s"}, {}])
def test_whatever_leaves_the_labels_of_frames_out_says_so(cli, tmp_path, named):
    A = np.random.default_rng(0).integers(0, 255, (4, 9, 8)).astype(np.uint8)
    lowrank.compress(A, stack=True, rank=2, **named).save(tmp_path / "a.lrk")
    for output in ("a.tif", "a.npy", "folder/"):
        run = cli("decompress", "a.lrk", "-o", output).succeeded()
        assert ("labels of the frames stay" in run.err) == bool(named), output


def test_a_gif_says_which_frames_it_has_not_as_frames_of_their_own(cli, tmp_path):
    first, second = (np.full((12, 16), x, np.uint8) for x in (20, 220))
    first[2:5, 3:9] = 90
    np.save(tmp_path / "still.npy", np.stack([first, first, second, second, second, first]))
    cli("compress", "still.npy", "-k", 2, "--store", "float64").succeeded()
    err = cli("decompress", "still.lrk", "-o", "still.gif").succeeded().err
    with Image.open(tmp_path / "still.gif") as image:
        assert image.n_frames == 3
    assert "3 frames are the same as the one before" in err
    np.save(tmp_path / "moving.npy", np.stack([first, second, first]))
    cli("compress", "moving.npy", "-k", 2, "--store", "float64").succeeded()
    assert "the same" not in cli("decompress", "moving.lrk", "-o", "m.gif").succeeded().err
