"""Image files in and out: modes, metadata, limits, and everything that Pillow may raise."""

from __future__ import annotations

import io
import logging
import os
import struct
import sys
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from lowrank.errors import ImageError, LimitError, LowrankError, TruncatedError, UsageError
from lowrank.io import arrays, formats, framewriter, images, modes, pillow
from lowrank.picture import MODES, Metadata, Picture

SUITE = Path(__file__).parent / "data" / "pngsuite"
SAMPLES = Path(__file__).parents[1] / "sample_images"
SUITE_FILES = sorted(SUITE.glob("*.png"))
EXIF_ROTATED = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
EXIF_UPRIGHT = EXIF_ROTATED.replace(b"\x06", b"\x01")
ICC = b"\0\0\x02\x0cKCMS" + bytes(range(256))
XMP = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>\u00e9</x:xmpmeta>".encode()
METADATA = Metadata(exif=EXIF_UPRIGHT, icc=ICC, xmp=XMP)


def sample(mode: str, height: int = 13, width: int = 11) -> np.ndarray[Any, Any]:
    """Samples of a mode that use its whole range, each channel different."""
    rng = np.random.default_rng(len(mode))
    shape = (height, width, len(MODES[mode].channels))
    if mode == "F":
        return (rng.standard_normal(shape) * 1e6).astype(np.float32)
    top = {"1": 1, "I;16": 65535}.get(mode, 255)
    drawn = rng.integers(0, top, shape, endpoint=True).astype(MODES[mode].dtype)
    drawn[0, 0], drawn[-1, -1] = 0, top
    return drawn


def picture(mode: str, metadata: Metadata = METADATA) -> Picture:
    return Picture(sample(mode), MODES[mode], metadata)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def png(width: int, height: int, depth: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand: the independent path to what a file holds."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        parts += [struct.pack(">I", len(body)), kind, body, checksum]
    return b"".join(parts)


def idat(rows: list[bytes]) -> tuple[bytes, bytes]:
    return b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))


def refusal(call: Callable[[], object]) -> LowrankError:
    """The error of a call, which must be ours and one line."""
    with pytest.raises(LowrankError) as caught:
        call()
    check_one_line(caught.value)
    return caught.value


def check_one_line(error: LowrankError) -> None:
    assert str(error)
    assert str(error).isprintable()


# --- PngSuite --------------------------------------------------------------------


def test_the_suite_is_whole() -> None:
    assert len(SUITE_FILES) == 176


def header_of(data: bytes) -> tuple[int, int, int, int]:
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    return width, height, depth, colour


@pytest.mark.parametrize("path", SUITE_FILES, ids=lambda p: p.stem)
def test_pngsuite_reads_in_its_mode_or_is_refused(path: Path) -> None:
    data = path.read_bytes()
    if path.name.startswith("x"):
        error = refusal(lambda: pillow.read(data, name=path.name))
        assert isinstance(error, ImageError)
        assert path.name in str(error)
        return
    loaded = pillow.read(data, name=path.name)
    width, height, depth, colour = header_of(data)
    transparent = b"tRNS" in data
    expected = {
        0: "1" if depth == 1 else "I;16" if depth == 16 else "LA" if transparent else "L",
        2: "RGBA" if transparent else "RGB",
        3: "RGBA" if transparent else "RGB",
        4: "LA",
        6: "RGBA",
    }[colour]
    assert loaded.picture.mode.name == expected
    assert (loaded.picture.width, loaded.picture.height) == (width, height)
    assert loaded.picture.samples.dtype == MODES[expected].dtype
    assert loaded.source.bytes == len(data)
    reduced = any("reduced to 8" in note for note in loaded.notes)
    assert reduced == (depth == 16 and colour != 0)
    assert any("palette" in note for note in loaded.notes) == (colour == 3)


def test_pngsuite_corrupt_files_are_fourteen() -> None:
    assert sum(path.name.startswith("x") for path in SUITE_FILES) == 14


def test_pngsuite_interlaced_files_equal_their_twins() -> None:
    twins = [p for p in SUITE_FILES if p.name.startswith("basi")]
    assert len(twins) == 15
    for path in twins:
        a = pillow.read(path.read_bytes(), name="a").picture
        b = pillow.read((SUITE / f"basn{path.name[4:]}").read_bytes(), name="b").picture
        np.testing.assert_array_equal(a.samples, b.samples)


# --- samples ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_survives_pillow_and_its_default_file(mode: str) -> None:
    original = picture(mode)
    image = modes.to_image(original)
    assert image.mode == mode
    assert image.size == (11, 13)
    held = pillow.from_pillow(image)
    suffix = formats.default_suffix(original.mode)
    data = pillow.write(original, format=formats.format_for(suffix, original.mode))
    stored = pillow.read(data, name=f"a{suffix}")
    for loaded in (held, stored):
        assert loaded.picture.mode is MODES[mode]
        assert loaded.notes == ()
        assert loaded.source.mode == mode
        np.testing.assert_array_equal(loaded.picture.samples, original.samples)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *((".tif", mode) for mode in MODES),
        *((".webp", mode) for mode in ("L", "LA", "RGB", "RGBA")),
        *((".jp2", mode) for mode in ("L", "LA", "I;16", "RGB", "RGBA")),
        *((".bmp", mode) for mode in ("1", "L", "RGB")),
        *((".qoi", mode) for mode in ("RGB", "RGBA")),
        *((".pnm", mode) for mode in ("1", "L", "I;16", "RGB", "F")),
    ],
)
def test_every_lossless_format_keeps_the_samples(suffix: str, mode: str) -> None:
    original = picture(mode, Metadata())
    data = pillow.write(original, format=formats.format_for(suffix, original.mode))
    loaded = pillow.read(data, name="a")
    samples = loaded.picture.samples
    if suffix == ".webp" and mode in ("L", "LA"):  # stored as equal red, green and blue
        colour = samples[:, :, :3]
        np.testing.assert_array_equal(colour, np.broadcast_to(colour[:, :, :1], colour.shape))
        samples = samples[:, :, [0, 3] if mode == "LA" else [0]]
    np.testing.assert_array_equal(samples, original.samples)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_close(mode: str) -> None:
    ramp = np.linspace(0, 255, 64)[:, None, None] * np.ones((1, 64, len(MODES[mode].channels)))
    original = Picture(ramp.astype(np.uint8), MODES[mode])
    loaded = pillow.read(pillow.write(original, format="JPEG"), name="a.jpg")
    assert loaded.picture.mode.name == mode
    difference = loaded.picture.samples.astype(int) - original.samples
    assert np.abs(difference).max() <= 4


def test_jpeg_keeps_the_resolution_of_colour() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 200, 200
    loaded = pillow.read(pillow.write(Picture(stripes, MODES["RGB"]), format="JPEG"), name="a")
    assert np.abs(loaded.picture.samples.astype(int) - stripes).max() <= 20


@pytest.mark.parametrize("level", range(10))
def test_png_level_changes_the_bytes_only(level: int) -> None:
    original = picture("RGB")
    data = pillow.write(original, format="PNG", png_level=level)
    np.testing.assert_array_equal(pillow.read(data, name="a").picture.samples, original.samples)


def test_a_higher_png_level_is_never_larger_than_the_default() -> None:
    photograph = pillow.read((SAMPLES / "photographer.png").read_bytes(), name="a").picture
    U, s, Vt = np.linalg.svd(photograph.samples[:, :, 0].astype(float))
    A20 = np.clip(np.rint(U[:, :20] * s[:20] @ Vt[:20]), 0, 255).astype(np.uint8)
    truncated = arrays.from_array(A20).picture
    pattern = arrays.from_array(np.tile(sample("L")[:, :, 0], (12, 12))).picture
    sizes = [
        [len(pillow.write(p, format="PNG", png_level=level)) for level in (1, 6)]
        for p in (truncated, pattern)
    ]
    assert sizes[1][1] < sizes[1][0] / 2
    searched = encoded(modes.to_image(truncated), "PNG", compress_level=6)
    assert len(searched) > sizes[0][0] == sizes[0][1]  # searching alone would lose


@given(
    st.sampled_from(["L", "LA", "RGB", "RGBA", "1", "I;16", "F"]),
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    st.data(),
)
def test_arrays_survive_pillow(mode: str, shape: tuple[int, int], data: st.DataObject) -> None:
    channels = len(MODES[mode].channels)
    dtype = "bool" if mode == "1" else MODES[mode].dtype
    # Far below what would be taken for a mark of missing data, which gets a note.
    elements = {"min_value": -1e6, "max_value": 1e6} if mode == "F" else None
    array = data.draw(hnp.arrays(dtype, (*shape, channels), elements=elements))
    if channels == 1 and data.draw(st.booleans()):
        array = array[:, :, 0]
    loaded = arrays.from_array(array)
    assert loaded.picture.mode.name == mode
    assert loaded.notes == ()
    back = pillow.from_pillow(modes.to_image(loaded.picture)).picture
    assert back.mode.name == mode
    np.testing.assert_array_equal(back.samples, loaded.picture.samples)
    np.testing.assert_array_equal(back.samples.reshape(array.shape), array)


@pytest.mark.parametrize("shape", [(301, 211), (7, 40_000), (40_000, 3)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
def test_an_image_of_many_rows_is_taken_row_by_row(mode: str, shape: tuple[int, int]) -> None:
    channels = len(MODES[mode].channels)
    array = np.random.default_rng(5).integers(0, 256, (*shape, channels), dtype=np.uint8)
    image = Image.frombytes(mode, shape[::-1], array.tobytes())
    np.testing.assert_array_equal(pillow.from_pillow(image).picture.samples, array)


def test_an_array_is_copied() -> None:
    array = np.zeros((2, 3), np.uint8)
    loaded = arrays.from_array(array)
    array[:] = 9
    assert loaded.picture.samples.max() == 0


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3, np.uint8),
        np.zeros((0, 3), np.uint8),
        np.zeros((2, 2, 4097), np.uint8),
        np.zeros((2, 2, 0), np.uint8),
        np.zeros((1, 2, 2, 3), np.uint8),
        np.array([[2**32]]),
        np.zeros((2, 2, 3), bool),
        np.zeros((2, 2), "M8[s]"),
        np.zeros((2, 2), complex),
        np.array([["a", "b"]]),
        np.array([[np.nan]]),
        np.array([[np.inf]]),
        [[1, 2], [3]],
    ],
    ids=lambda a: str(np.shape(a) if isinstance(a, np.ndarray) else "ragged"),
)
def test_arrays_that_are_no_images_are_refused(array: Any) -> None:
    assert isinstance(refusal(lambda: arrays.from_array(array)), ImageError)


# --- what Pillow converts, and what is said about it -------------------------------


def test_a_palette_becomes_the_colours_it_names() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    loaded = pillow.read(encoded(image, "PNG"), name="a")
    assert loaded.source.mode == "P"
    assert loaded.notes == ("The palette is stored as RGB samples.",)
    np.testing.assert_array_equal(loaded.picture.samples, [[[10, 20, 30], [40, 50, 60]]])
    transparent = pillow.read(encoded(image, "PNG", transparency=b"\x80"), name="a")
    np.testing.assert_array_equal(
        transparent.picture.samples, [[[10, 20, 30, 128], [40, 50, 60, 255]]]
    )


@pytest.mark.parametrize(
    ("depth", "row", "levels", "scale"),
    [
        (1, b"\x40", [0, 1], 255),
        (2, b"\x18", [0, 1, 2, 0], 85),
        (4, b"\x01\xf0", [0, 1, 15, 0], 17),
        (8, b"\x00\x01\xff", [0, 1, 255], 1),
    ],
)
def test_a_transparent_grey_of_any_depth_is_found(
    depth: int, row: bytes, levels: list[int], scale: int
) -> None:
    data = png(len(levels), 1, depth, 0, (b"tRNS", b"\0\1"), idat([row]))
    loaded = pillow.read(data, name="a")
    grey = np.array(levels)
    expected = np.stack((grey * scale, np.where(grey == 1, 0, 255)), axis=1)
    np.testing.assert_array_equal(loaded.picture.samples[0], expected)
    assert any("alpha" in note for note in loaded.notes)


def test_a_transparent_colour_becomes_alpha() -> None:
    row = bytes([1, 2, 3, 1, 2, 4])
    data = png(2, 1, 8, 2, (b"tRNS", bytes([0, 1, 0, 2, 0, 3])), idat([row]))
    loaded = pillow.read(data, name="a")
    np.testing.assert_array_equal(loaded.picture.samples, [[[1, 2, 3, 0], [1, 2, 4, 255]]])


def test_a_transparent_colour_of_16_bits_is_matched_by_its_upper_byte() -> None:
    row = struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0x1334, 0x5678, 0x9ABC)
    data = png(2, 1, 16, 2, (b"tRNS", row[:6]), idat([row]))
    loaded = pillow.read(data, name="a")
    np.testing.assert_array_equal(loaded.picture.samples[:, :, 3], [[0, 255]])
    assert any("upper 8 bits only" in note for note in loaded.notes)


def test_a_transparent_level_of_16_bits_is_lost_aloud() -> None:
    row = struct.pack(">2H", 500, 1000)
    for key, lost in ((500, True), (501, False)):
        data = png(2, 1, 16, 0, (b"tRNS", struct.pack(">H", key)), idat([row]))
        loaded = pillow.read(data, name="a")
        np.testing.assert_array_equal(loaded.picture.samples[:, :, 0], [[500, 1000]])
        assert any("500" in note for note in loaded.notes) == lost


def test_16_bit_colour_keeps_the_upper_byte_and_says_so() -> None:
    row = struct.pack(">3H", 0x1234, 0x56FF, 0xFF00)
    loaded = pillow.read(png(1, 1, 16, 2, idat([row])), name="a")
    np.testing.assert_array_equal(loaded.picture.samples, [[[0x12, 0x56, 0xFF]]])
    assert "reduced to 8" in loaded.notes[0]


def test_what_the_decoder_of_16_bits_warns_of_is_a_note(capfd: Any) -> None:
    pytest.importorskip("imagecodecs", reason="needs the extra png")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wrong = (b"iCCP", b"name\0\0" + zlib.compress(profile))  # of colours, in a PNG of greys
    loaded = images.read(png(1, 1, 16, 4, wrong, idat([bytes(4)])), name="a")
    assert any("The decoder warns: PNG warning" in note for note in loaded.notes)
    assert capfd.readouterr().err == ""


def test_colour_of_16_bits_is_coded_well_at_the_default_level() -> None:
    """Whichever zlib the codec has: level 1 of some finds next to nothing."""
    pytest.importorskip("imagecodecs", reason="needs the extra png")
    eight = pillow.read((SAMPLES / "parrots.png").read_bytes(), name="a").picture.samples
    U, sigma, Vt = np.linalg.svd(257.0 * np.moveaxis(eight, 2, 0), full_matrices=False)
    A20 = np.clip(np.rint(U[..., :20] * sigma[:, None, :20] @ Vt[:, :20]), 0, 65535)
    deep = arrays.from_array(np.moveaxis(A20, 0, 2).astype(np.uint16)).picture
    quick, good = (len(images.write(deep, format="PNG", png_level=level)) for level in (1, 6))
    assert quick <= 1.1 * good


def tiff16() -> bytes:
    """A TIFF of one pixel with three 16-bit samples, which Pillow itself cannot write."""
    entries = [(256, 4, 1), (257, 4, 1), (259, 3, 1), (262, 3, 2), (277, 3, 3), (279, 4, 6)]
    entries += [(258, 3, -1), (273, 4, -2)]
    base = 8 + 2 + 12 * len(entries) + 4
    ifd = b""
    for tag, kind, value in sorted(entries):
        count, stored = (3, base) if value == -1 else (1, base + 6 if value == -2 else value)
        body = (
            struct.pack("<I", stored) if kind == 4 or count > 1 else struct.pack("<HH", stored, 0)
        )
        ifd += struct.pack("<HHI", tag, kind, count) + body
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    samples = struct.pack("<3H", 0x1234, 0x5678, 0xFFFF)
    return head + ifd + bytes(4) + struct.pack("<3H", 16, 16, 16) + samples


def test_reduction_is_said_for_other_formats_too() -> None:
    loaded = pillow.read(tiff16(), name="a.tif")
    np.testing.assert_array_equal(loaded.picture.samples, [[[0x12, 0x56, 0xFF]]])
    assert any("reduced to 8" in note for note in loaded.notes)
    ppm = b"P6 1 1 65535\n" + struct.pack(">3H", 0x1234, 0x5678, 0xFFFF)
    assert any("reduced to 8" in note for note in pillow.read(ppm, name="a").notes)
    assert pillow.read(b"P6 1 1 255\nabc", name="a").notes == ()
    assert pillow.read(b"P5 1 1 65535\n\x12\x34", name="a").notes == ()
    jpeg2000 = bytearray(encoded(Image.new("RGB", (8, 8)), "JPEG2000", no_jp2=True))
    assert pillow.read(bytes(jpeg2000), name="a").notes == ("Left out: comment.",)
    for component in range(3):  # Ssiz, ITU-T T.800 A.5.1: 12 bits instead of 8
        jpeg2000[42 + 3 * component] = 11
    assert any("reduced to 8" in note for note in pillow.read(bytes(jpeg2000), name="a").notes)


def test_deep_avif_is_told_by_its_configuration_box() -> None:
    # Pillow writes 8 bits only, and the decoder compares the box with the stream: the
    # flag high_bitdepth (AV1-ISOBMFF 2.3.3) is looked at without decoding.
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "AVIF"))
    with Image.open(io.BytesIO(bytes(data))) as image:
        assert not pillow.is_deeper(image, "", bytes(data))
        data[data.index(b"av1C") + 6] |= 0x40
        assert pillow.is_deeper(image, "", bytes(data))


def test_5_bit_colour_is_widened_without_a_note() -> None:
    head = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 0, 4, 0, 0, 0, 0)
    bmp = b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) + head + struct.pack("<I", 0b11111_00000_00001)
    loaded = pillow.read(bmp, name="a.bmp")
    np.testing.assert_array_equal(loaded.picture.samples, [[[255, 0, 8]]])
    assert loaded.notes == ()


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ([0, 65535], "I;16"),
        ([-1, 2], "F"),
        ([0, 65536], "F"),
        ([0, 2**24], "F"),
        ([0, 2**24 + 1], None),
    ],
)
def test_integers_keep_their_values_or_are_refused(values: list[int], mode: str | None) -> None:
    image = Image.fromarray(np.array([values], np.int32))
    assert image.mode == "I"
    if mode is None:
        refusal(lambda: pillow.from_pillow(image))
        return
    loaded = pillow.from_pillow(image)
    assert loaded.picture.mode.name == mode
    np.testing.assert_array_equal(loaded.picture.samples[0, :, 0], values)


@pytest.mark.parametrize("mode", ["I;16B", "I;16L", "I;16N"])
def test_16_bit_grey_in_any_byte_order(mode: str) -> None:
    native = mode == "I;16N" and sys.byteorder == "big"
    order = ">u2" if mode == "I;16B" or native else "<u2"
    image = Image.frombytes(mode, (2, 1), np.array([1, 515], order).tobytes())
    np.testing.assert_array_equal(pillow.from_pillow(image).picture.samples[0, :, 0], [1, 515])


@pytest.mark.parametrize(
    ("mode", "becomes", "said"),
    [
        ("PA", "RGBA", True),
        ("RGBX", "RGB", False),
        ("La", "LA", True),
        ("RGBa", "RGBA", True),
        ("YCbCr", "RGB", True),
        ("HSV", "RGB", True),
    ],
)
def test_rare_modes_become_common_ones(mode: str, becomes: str, said: bool) -> None:
    loaded = pillow.from_pillow(Image.new(mode, (3, 2)))
    assert loaded.picture.mode.name == becomes
    assert loaded.source.mode == mode
    assert bool(loaded.notes) == said


def test_a_mode_without_an_exact_place_is_refused() -> None:
    assert "LAB" in str(refusal(lambda: pillow.from_pillow(Image.new("LAB", (1, 1)))))


def test_floats_that_are_not_finite_are_refused() -> None:
    image = Image.fromarray(np.array([[1, np.nan]], np.float32))
    assert "NaN" in str(refusal(lambda: pillow.from_pillow(image)))


def test_the_first_of_several_frames_is_read_aloud() -> None:
    frames = [Image.new("L", (4, 4), level) for level in (0, 100, 200)]
    for format in ("PNG", "TIFF", "GIF", "WEBP"):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
        loaded = pillow.read(data, name="a")
        assert loaded.picture.samples[:, :, 0].max() == 0, format
        assert "Only the first of 3 images was read." in loaded.notes, format


@pytest.mark.parametrize(
    ("name", "mode", "size"),
    [
        ("parrots.png", "RGB", (768, 512)),
        ("door.png", "RGB", (768, 512)),
        ("photographer.png", "L", (512, 512)),
        ("cup.png", "RGBA", (600, 400)),
        ("elevation.png", "I;16", (403, 344)),
        ("galaxies.jpg", "RGB", (1000, 872)),
    ],
)
def test_the_sample_images_are_what_their_list_says(
    name: str, mode: str, size: tuple[int, int]
) -> None:
    data = (SAMPLES / name).read_bytes()
    loaded = pillow.read(data, name=name)
    assert loaded.picture.mode.name == mode
    assert (loaded.picture.width, loaded.picture.height) == size
    assert len(data) < 900_000
    assert f"`{name}`" in (SAMPLES / "SOURCES.md").read_text(encoding="utf-8")
    kept = loaded.picture.metadata
    assert (None not in (kept.exif, kept.icc, kept.xmp)) == (name == "galaxies.jpg")


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "QOI"])
def test_an_opened_image_is_taken_as_its_file_is(format: str, loaded: bool) -> None:
    data = encoded(Image.fromarray(sample("RGB")), format)
    expected = pillow.read(data, name="a").picture
    with Image.open(io.BytesIO(data)) as image:
        if loaded:
            image.load()
        taken = pillow.from_pillow(image)
        again = pillow.from_pillow(image)  # the image is not used up
    assert taken.source.format == format
    assert taken.picture.mode is expected.mode
    np.testing.assert_array_equal(taken.picture.samples, expected.samples)
    np.testing.assert_array_equal(again.picture.samples, expected.samples)


def test_the_frame_that_an_opened_image_shows_is_taken() -> None:
    frames = [Image.new("L", (4, 4), level) for level in (0, 100, 200)]
    data = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(data)) as image:
        image.seek(2)
        loaded = pillow.from_pillow(image)
    assert loaded.picture.samples.min() == 200
    assert loaded.notes == ("Only number 3 of 3 images was read.",)


def test_white_is_zero_is_said_where_pillow_does_not_turn_it() -> None:
    for mode, said in (("L", False), ("I;16", True)):
        data = bytearray(encoded(modes.to_image(picture(mode, Metadata())), "TIFF"))
        start = data.index(struct.pack("<HHIH", 262, 3, 1, 1))
        data[start + 8] = 0
        assert any("White" in n for n in pillow.read(bytes(data), name="a").notes) == said


# --- metadata --------------------------------------------------------------------


def orientation(exif: bytes | None) -> int | None:
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + exif if exif else b"")
    return tags.get(0x0112)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_metadata_travel_byte_for_byte(format: str) -> None:
    loaded = pillow.read(pillow.write(picture("RGB"), format=format), name="a")
    assert loaded.picture.metadata == METADATA
    assert loaded.notes == ()
    assert pillow.write_notes(picture("RGB"), format=format) == ()
    again = pillow.read(pillow.write(loaded.picture, format=format), name="a")
    assert again.picture.metadata == METADATA


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_what_pillow_wrote_is_found(format: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    options: dict[str, Any] = {"icc_profile": ICC}
    if format in ("JPEG", "WEBP"):
        options["xmp"] = XMP
    elif format == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    else:
        exif[700] = XMP
    options["exif"] = exif.tobytes()
    data = encoded(Image.new("RGB", (8, 8)), format, **options)
    kept = pillow.read(data, name="a").picture.metadata
    assert (kept.icc, kept.xmp) == (ICC, XMP)
    assert kept.exif is not None
    assert not kept.exif.startswith(b"Exif")
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + kept.exif)
    assert tags[0x010E] == "a description"
    assert tags.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
    assert not {256, 257, 273, 279, 700, 34675} & set(tags)


@pytest.mark.parametrize("mode", MODES)
def test_tiff_carries_metadata_in_every_mode(mode: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif[256], exif[257], exif[277] = 4000, 3000, 1  # the layout of another image
    exif.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    metadata = Metadata(exif.tobytes().removeprefix(b"Exif\0\0"), ICC, XMP)
    loaded = pillow.read(pillow.write(picture(mode, metadata), format="TIFF"), name="a.tif")
    np.testing.assert_array_equal(loaded.picture.samples, sample(mode))
    kept = loaded.picture.metadata
    assert (kept.icc, kept.xmp) == (ICC, XMP)
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + (kept.exif or b""))
    assert tags[0x010E] == "a description"
    assert tags.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_orientation_travels_and_samples_stay(format: str) -> None:
    upright = Image.new("RGB", (16, 8), (200, 0, 0))
    loaded = pillow.read(
        encoded(upright, format, exif=b"Exif\0\0" + EXIF_ROTATED, quality=95), name="a"
    )
    assert (loaded.picture.width, loaded.picture.height) == (16, 8)
    assert orientation(loaded.picture.metadata.exif) == 6
    written = pillow.read(pillow.write(loaded.picture, format=format), name="a").picture
    assert (written.width, written.height) == (16, 8)
    assert orientation(written.metadata.exif) == 6


def test_orientation_of_a_tiff_is_applied_once() -> None:
    stored = sample("L", 4, 6)[:, :, 0]
    data = encoded(Image.fromarray(stored), "TIFF", tiffinfo={0x0112: 6, 0x010E: "x"})
    loaded = pillow.read(data, name="a.tif")
    np.testing.assert_array_equal(loaded.picture.samples[:, :, 0], np.rot90(stored, -1))
    assert orientation(loaded.picture.metadata.exif) in (None, 1)
    again = pillow.read(pillow.write(loaded.picture, format="TIFF"), name="a.tif").picture
    np.testing.assert_array_equal(again.samples, loaded.picture.samples)


def test_imagemagicks_exif_in_a_png_is_found() -> None:
    text = PngImagePlugin.PngInfo()
    block = b"Exif\0\0" + EXIF_ROTATED
    text.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
    loaded = pillow.read(encoded(Image.new("L", (2, 2)), "PNG", pnginfo=text), name="a")
    assert loaded.picture.metadata.exif == EXIF_ROTATED


def test_damaged_exif_is_left_out_aloud() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n       4\nnot hex\n")
    loaded = pillow.read(encoded(Image.new("L", (2, 2)), "PNG", pnginfo=text), name="a")
    assert loaded.picture.metadata.exif is None
    assert any("EXIF" in note for note in loaded.notes)


def test_metadata_that_are_left_out_are_named() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "someone")
    image = Image.new("RGB", (2, 2))
    assert "text" in pillow.read(encoded(image, "PNG", pnginfo=text), name="a").notes[0]
    assert "comment" in pillow.read(encoded(image, "JPEG", comment="hi"), name="a").notes[0]
    gamma = png(1, 1, 8, 0, (b"gAMA", struct.pack(">I", 100000)), idat([b"\0"]))
    assert "gamma 1" in pillow.read(gamma, name="a").notes[0]
    usual = png(1, 1, 8, 0, (b"gAMA", struct.pack(">I", 45455)), idat([b"\0"]))
    assert pillow.read(usual, name="a").notes == ()
    assert len(pillow.write_notes(picture("RGB"), format="BMP")) == 3
    huge = picture("RGB", Metadata(exif=EXIF_ROTATED + bytes(70000)))
    assert len(pillow.write_notes(huge, format="JPEG")) == 1
    assert pillow.read(pillow.write(huge, format="JPEG"), name="a").picture.metadata.exif is None


# --- names of formats ------------------------------------------------------------


def test_formats_are_found_by_suffix() -> None:
    for name in ("out.png", ".png", "png", "PNG", "a.b/out.PNG"):
        assert formats.format_for(name, MODES["RGB"]) == "PNG"
    assert formats.format_for("x.jpeg", MODES["L"]) == "JPEG"
    assert formats.format_for("x.tif", MODES["F"]) == "TIFF"
    assert {mode: formats.default_suffix(MODES[mode]) for mode in MODES} == {
        **dict.fromkeys(("1", "L", "LA", "RGB", "RGBA", "I;16"), ".png"),
        **dict.fromkeys(("CMYK", "F"), ".tif"),
    }


@pytest.mark.parametrize("name", ["out.xyz", "out", "", ".", "out.eps", "a\nb.gif"])
def test_an_unknown_format_is_a_usage_error(name: str) -> None:
    assert isinstance(refusal(lambda: formats.format_for(name, MODES["L"])), UsageError)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.jpg", "RGBA"), ("a.jpg", "I;16"), ("a.png", "F"), ("a.png", "CMYK"), ("a.pgm", "RGB")],
)
def test_a_format_that_would_lose_samples_is_refused(name: str, mode: str) -> None:
    error = refusal(lambda: formats.format_for(name, MODES[mode]))
    assert isinstance(error, ImageError)
    assert formats.default_suffix(MODES[mode]) in str(error)


@pytest.mark.parametrize(("format", "most"), [("JPEG", 65_500), ("WEBP", 16_383), ("GIF", 65_535)])
def test_a_side_that_a_format_has_not_is_refused_in_one_line_of_ours(
    capfd: pytest.CaptureFixture[str], format: str, most: int
) -> None:
    """The libraries would print lines of their own, or speak of integers that are too big."""

    def written(height: int, width: int) -> bytes:
        samples = np.zeros((2, height, width, 1), np.uint8)
        samples[1] = 9
        frames = Picture(samples, MODES["L"])
        if format == "GIF":
            return framewriter.write(frames, format=format)[0]
        return images.write(framewriter.frame(frames, 0), format=format)

    for shape in ((1, most), (most, 1)):
        assert Image.open(io.BytesIO(written(*shape))).size == shape[::-1]
    for height, width in ((1, most + 1), (most + 1, 1)):
        said = f"{most:,} pixels a side, and not more, and this is {width}x{height}; write "
        with pytest.raises(ImageError, match=said):
            written(height, width)
    assert capfd.readouterr() == ("", "")


def test_write_refuses_what_it_cannot_do() -> None:
    assert isinstance(refusal(lambda: pillow.write(picture("L"), format="EPS")), UsageError)
    assert isinstance(refusal(lambda: pillow.write(picture("F"), format="PNG")), ImageError)
    bad_level = refusal(lambda: pillow.write(picture("L"), format="PNG", png_level=10))
    assert isinstance(bad_level, UsageError)
    wide = Picture(np.zeros((1, 70000, 3), np.uint8), MODES["RGB"])
    too_wide = refusal(lambda: pillow.write(wide, format="JPEG"))
    assert isinstance(too_wide, ImageError)
    assert "damaged" not in str(too_wide)


# --- the wall --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["photo.png", "-", "a\nb\x1b[31m.png"])
def test_an_error_names_its_file_on_one_line(name: str) -> None:
    message = str(refusal(lambda: pillow.read(b"not an image", name=name)))
    assert ("standard input" if name == "-" else name[:1]) in message


def test_an_empty_file_is_refused() -> None:
    assert "empty" in str(refusal(lambda: pillow.read(b"", name="a")))


@pytest.mark.parametrize("magic", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xd7\xcd\xc6\x9a", b"SIMPLE  ="])
def test_formats_off_the_list_are_refused(magic: bytes) -> None:
    refusal(lambda: pillow.read(magic + bytes(200), name="a"))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "QOI"])
def test_every_truncation_is_refused(format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8))
    data = encoded(noise, format)
    whole = pillow.read(data, name="a").picture.samples
    step = max(1, len(data) // 40)
    for length in range(0, len(data) * 9 // 10, step):
        try:
            cut = pillow.read(data[:length], name="a")
        except LowrankError as error:
            check_one_line(error)
        else:  # a cut in the trailing tables of a format may leave the pixels whole
            np.testing.assert_array_equal(cut.picture.samples, whole)


def test_a_wrong_checksum_is_refused() -> None:
    data = bytearray(pillow.write(picture("RGB", Metadata()), format="PNG"))
    start = data.index(b"IDAT")
    length = struct.unpack(">I", data[start - 4 : start])[0]
    data[start + 4 + length] ^= 1  # the first byte of the CRC: the pixels are sound
    assert "checksum" in str(refusal(lambda: pillow.read(bytes(data), name="a")))


def test_a_png_without_image_data_is_refused() -> None:
    assert "no image data" in str(refusal(lambda: pillow.read(png(1, 1, 8, 0), name="a")))


def test_an_image_of_no_pixels_is_refused() -> None:
    assert "0 x 3" in str(refusal(lambda: pillow.from_pillow(Image.new("L", (0, 3)))))


BOMB = png(60000, 60000, 8, 2, (b"IDAT", zlib.compress(bytes(100))))


def test_a_bomb_is_refused_before_memory_is_taken() -> None:
    pillow.read(png(1, 1, 8, 0, idat([b"\0"])), name="warm up")
    tracemalloc.start()
    try:
        error = refusal(lambda: pillow.read(BOMB, name="a"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(error, LimitError)
    assert peak < 1_000_000


def test_a_bomb_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    for size in (60000, 13500):  # beyond twice the limit, where Pillow raises, and below
        data = png(size, size, 8, 2, (b"IDAT", b""))
        assert isinstance(refusal(partial(pillow.read, data, name="a")), LimitError)


def claiming(format: str, side: int) -> bytes:
    """A file whose header claims side x side pixels."""
    data = bytearray(encoded(Image.new("RGB", (8, 8)), format))
    short, long = struct.pack("<H", side), struct.pack("<I", side)
    if format == "PPM":
        return b"P6 %d %d 255\n" % (side, side)
    if format == "QOI":
        data[4:12] = struct.pack(">II", side, side)
    elif format == "GIF":
        data[6:10] = short * 2
    elif format == "BMP":
        data[18:26] = long * 2
    elif format == "JPEG":  # SOF0: length, precision, height, width
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", side, side)
    elif format == "TIFF":
        for tag in (256, 257):
            start = data.index(struct.pack("<H", tag) + b"\4\0\1\0\0\0") + 8
            data[start : start + 4] = long
    elif format == "WEBP":  # VP8: 14 bits each after the start code
        start = data.index(b"\x9d\x01\x2a") + 3
        data[start : start + 4] = short * 2
    return bytes(data)


@pytest.mark.parametrize("format", ["PPM", "QOI", "GIF", "BMP", "JPEG", "TIFF", "WEBP"])
def test_a_bomb_of_any_format_is_never_decoded(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pillow.read(claiming(format, 8) if format != "PPM" else b"P6 1 1 255\nabc", name="sound")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    error = refusal(lambda: pillow.read(claiming(format, 16000), name="a"))
    assert isinstance(error, LimitError)


def test_the_limit_is_the_largest_size_that_is_read() -> None:
    data = encoded(Image.new("L", (10, 10)), "PNG")
    assert pillow.read(data, name="a", max_pixels=100).picture.width == 10
    for limit in (99, 49, 1):
        error = refusal(partial(pillow.read, data, name="a", max_pixels=limit))
        assert isinstance(error, LimitError)
    image = Image.new("L", (10, 10))
    refusal(lambda: pillow.from_pillow(image, max_pixels=99))


def test_a_raised_limit_raises_pillows_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    data = encoded(Image.new("L", (10, 10)), "PNG")
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))
    loaded = pillow.read(data, name="a", max_pixels=100)
    assert loaded.notes == ()
    assert Image.MAX_IMAGE_PIXELS == 20


def test_nothing_global_is_left_changed() -> None:
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters), warnings.showwarning)
    handlers = list(logging.getLogger("PIL").handlers)
    pillow.read(pillow.write(picture("RGB"), format="PNG"), name="a")
    refusal(lambda: pillow.read(BOMB, name="a"))
    refusal(lambda: pillow.read(b"x", name="a"))
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters), warnings.showwarning) == before
    assert logging.getLogger("PIL").handlers == handlers


def test_standard_error_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    deflated = encoded(Image.new("L", (9, 9)), "TIFF", compression="tiff_adobe_deflate")
    start = deflated.index(b"\x78\x9c")
    for data in (deflated, deflated[: start + 5] + b"\xff" + deflated[start + 6 :]):
        try:
            pillow.read(data, name="a")
        except ImageError:
            assert data is not deflated
    assert capfd.readouterr() == ("", "")
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


def test_pillows_warnings_become_notes(capfd: pytest.CaptureFixture[str]) -> None:
    data = png(1, 1, 8, 0, (b"acTL", bytes(8)), idat([b"\0"]))  # an animation of 0 frames
    loaded = pillow.read(data, name="a")
    assert loaded.notes == (
        "The decoder warns: Invalid APNG, will use default PNG image if possible.",
    )
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error",
    [
        OSError("a\nb"),
        ValueError(),
        struct.error("x"),
        SyntaxError("y"),
        RecursionError(),
        KeyError(3),
    ],
    ids=lambda e: type(e).__name__,
)
def test_whatever_pillow_raises_becomes_an_image_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ImageFile.ImageFile) -> None:
        raise error

    data = encoded(Image.new("L", (2, 2)), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    raised = refusal(lambda: pillow.read(data, name="a.png"))
    assert isinstance(raised, ImageError)
    assert raised.__cause__ is error


def test_an_error_of_ours_passes_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    error = TruncatedError("cut", terms=1, total=2)

    def fail(self: ImageFile.ImageFile) -> None:
        raise error

    data = encoded(Image.new("L", (2, 2)), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert refusal(lambda: pillow.read(data, name="a.png")) is error


def test_no_memory_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: ImageFile.ImageFile) -> None:
        raise MemoryError

    data = encoded(Image.new("L", (2, 2)), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert isinstance(refusal(lambda: pillow.read(data, name="a.png")), LimitError)


def test_an_interrupt_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: ImageFile.ImageFile) -> None:
        raise KeyboardInterrupt

    data = encoded(Image.new("L", (2, 2)), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pillow.read(data, name="a.png")
    monkeypatch.undo()
    assert pillow.read(data, name="a.png").picture.width == 2  # the lock was given back


def mutants(data: bytes, count: int, seed: int) -> list[bytes]:
    """Copies with a few bytes changed, cut or repeated."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(int(rng.integers(1, 6))):
            position = int(rng.integers(len(copy)))
            match int(rng.integers(4)):
                case 0 | 1:
                    copy[position] = int(rng.integers(256))
                case 2:
                    del copy[position : position + int(rng.integers(1, 9))]
                case _:
                    copy[position:position] = copy[position : position + int(rng.integers(1, 9))]
            if not copy:
                copy = bytearray(1)
        made.append(bytes(copy))
    return made


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {"exif": b"Exif\0\0" + EXIF_ROTATED}),
        ("JPEG", {"exif": b"Exif\0\0" + EXIF_ROTATED, "progressive": True}),
        ("TIFF", {"exif": b"Exif\0\0" + EXIF_ROTATED}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),  # libtiff prints its errors
        ("TIFF", {"compression": "jpeg"}),
        *((format, {}) for format in ("GIF", "BMP", "PPM", "WEBP", "JPEG2000", "AVIF", "QOI")),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value), ""),
)
def test_damaged_files_raise_nothing_foreign(
    format: str, options: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    image = modes.to_image(Picture(sample("RGB", 20, 20), MODES["RGB"]))
    refused = 0
    for mutant in mutants(encoded(image, format, **options), 60, seed=len(format)):
        try:
            pillow.read(mutant, name="a", max_pixels=1_000_000)
        except LowrankError as error:
            check_one_line(error)
            refused += 1
    assert refused >= (1 if format == "QOI" else 10)  # which has no checksum and hardly a structure
    assert capfd.readouterr() == ("", "")
