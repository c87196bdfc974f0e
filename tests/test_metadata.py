"""What travels beside the samples: resolution, EXIF in a TIFF, and what is said to be lost."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from image_files import png, tiff
from PIL import Image, TiffImagePlugin

import lowrank
from lowrank import format as lrk
from lowrank.io import pillow, resolution
from lowrank.io.resolution import Resolution
from lowrank.picture import MODES, Loaded, Metadata, Picture

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)


def read(data: bytes) -> Loaded:
    return pillow.read(data, name="a")


def through_lrk(data: bytes, format: str) -> bytes:
    """An image file from another, by way of a `.lrk` file."""
    image = lowrank.compress(data, rank=3)
    parts = lrk.parse(image.to_bytes(), name="a", max_pixels=100)
    decoded = lowrank.codec.decode(parts).picture
    return pillow.write(decoded, format=format)


def chunks(data: bytes) -> dict[bytes, bytes]:
    found, at = {}, 8
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found[kind] = data[at + 8 : at + 8 + size]
        at += 12 + size
    return found


def directory(block: bytes, at: int | None = None) -> dict[int, tuple[int, int, bytes]]:
    """Type, count and bytes of each tag of a directory, read by hand."""
    order = "<" if block[:2] == b"II" else ">"
    if at is None:
        (at,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, n = struct.unpack_from(f"{order}HHI", block, entry)
        size = n * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}[kind]
        start = entry + 8 if size <= 4 else struct.unpack_from(f"{order}I", block, entry + 8)[0]
        tags[tag] = (kind, n, block[start : start + size])
    return tags


def block(order: str, *entries: tuple[int, int, int, bytes], following: int = 0) -> bytes:
    """An EXIF block of one directory; values longer than four bytes stand behind it."""
    at = 8 + 2 + 12 * len(entries) + 4
    body, heap = b"", b""
    for tag, kind, count, value in entries:
        if len(value) > 4:
            place = at + len(heap)
            heap += value + bytes(len(value) % 2)
            value = struct.pack(f"{order}I", place)
        body += struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    tail = struct.pack(f"{order}I", following) + heap
    return head + struct.pack(f"{order}H", len(entries)) + body + tail


def encoded(format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(GREY[:, :, 0]).save(stream, format, **options)
    return stream.getvalue()


# --- resolution ------------------------------------------------------------------


@pytest.mark.parametrize("y", [2835, 11811])
@pytest.mark.parametrize("x", [1, 2834, 2835, 3779, 3780, 5000, 11811, 23622, 39370, 123_456])
def test_dots_a_metre_of_a_png_are_the_same_after_the_way(x: int, y: int) -> None:
    data = png(GREY, (b"pHYs", struct.pack(">IIB", x, y, 1)))
    loaded = read(data)
    back = chunks(through_lrk(data, "PNG"))
    if x == 1:  # no scanner has one dot a metre
        return
    assert loaded.notes == ()
    assert struct.unpack(">IIB", back[b"pHYs"]) == (x, y, 1)
    assert b"eXIf" not in back  # it would say the same again


def test_whole_dots_an_inch_are_carried_as_such() -> None:
    for dpi in (72, 96, 150, 300, 600, 1200, 2400):
        metre = round(dpi / 0.0254)
        loaded = read(png(GREY, (b"pHYs", struct.pack(">IIB", metre, metre, 1))))
        tags = directory(loaded.picture.metadata.exif or b"")
        assert struct.unpack("<II", tags[282][2]) == (dpi, 1)
        assert struct.unpack("<II", tags[283][2]) == (dpi, 1)
        assert struct.unpack("<H", tags[296][2]) == (2,)


@pytest.mark.parametrize(("unit", "x", "y"), [(1, 300, 300), (1, 72, 144), (2, 118, 118)])
def test_the_density_of_a_jpeg_is_carried(unit: int, x: int, y: int) -> None:
    data = bytearray(encoded("JPEG"))
    at = data.index(b"JFIF\0") + 7
    data[at : at + 5] = struct.pack(">BHH", unit, x, y)
    scale = 2.54 if unit == 2 else 1
    assert read(bytes(data)).notes == ()
    back = through_lrk(bytes(data), "JPEG")
    at = back.index(b"JFIF\0") + 7
    assert struct.unpack_from(">BHH", back, at) == (1, round(x * scale), round(y * scale))
    metres = struct.unpack(">IIB", chunks(through_lrk(bytes(data), "PNG"))[b"pHYs"])
    assert metres == (round(x * scale / 0.0254), round(y * scale / 0.0254), 1)


def test_the_dots_a_metre_of_a_bmp_are_carried() -> None:
    data = bytearray(encoded("BMP"))
    data[38:46] = struct.pack("<ii", 11811, 5000)
    back = through_lrk(bytes(data), "BMP")
    assert struct.unpack_from("<ii", back, 38) == (11811, 5000)
    data[38:46] = bytes(8)  # nothing is stated, and nothing is made up
    assert struct.unpack_from("<ii", through_lrk(bytes(data), "BMP"), 38) == (0, 0)


def test_the_resolution_of_a_tiff_goes_everywhere() -> None:
    more = {282: (5, (240, 1)), 283: (5, (120, 1)), 296: (3, (2,))}
    data = tiff(GREY, more=more)
    back = directory(through_lrk(data, "TIFF"))
    assert struct.unpack("<II", back[282][2]) == (240, 1)
    assert struct.unpack("<II", back[283][2]) == (120, 1)
    metres = struct.unpack(">IIB", chunks(through_lrk(data, "PNG"))[b"pHYs"])
    assert metres == (9449, 4724, 1)


def test_a_format_without_a_resolution_says_so() -> None:
    data = png(GREY, (b"pHYs", struct.pack(">IIB", 11811, 11811, 1)))
    picture = read(data).picture
    assert pillow.write_notes(picture, format="BMP") == ()
    for format in ("QOI", "PPM", "JPEG2000"):
        (note,) = pillow.write_notes(picture, format=format)
        assert "resolution" in note


def test_pixels_that_are_not_square_stay_so() -> None:
    data = png(GREY, (b"pHYs", struct.pack(">IIB", 4, 3, 0)))
    tags = directory(read(data).picture.metadata.exif or b"")
    assert struct.unpack("<II", tags[282][2]) == (4, 1)
    assert struct.unpack("<II", tags[283][2]) == (3, 1)
    assert struct.unpack("<H", tags[296][2]) == (1,)
    assert read(through_lrk(data, "PNG")).picture.metadata.exif == read(data).picture.metadata.exif


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_resolution_joins_a_block_without_moving_what_is_there(order: str) -> None:
    description, note = b"a description\0", b"an opaque value with offsets of its own"
    old = block(
        order,
        (270, 2, len(description), description),
        (274, 3, 1, struct.pack(f"{order}H", 6)),
        (0xC000, 7, len(note), note),
        following=4711,
    )
    notes: list[str] = []
    new = resolution.put(old, Resolution(300, 300), notes)
    assert new is not None
    assert notes == []
    assert new[8 : len(old)] == old[8:]  # every offset means what it meant
    tags, before = directory(new), directory(old)
    assert list(tags) == sorted(tags) == [270, 274, 282, 283, 296, 0xC000]
    assert {tag: tags[tag] for tag in before} == before
    assert resolution.has_thumbnail(new)
    assert resolution.of_exif(new) == Resolution(300, 300)
    assert resolution.put(new, Resolution(300, 300), notes) == new
    assert notes == []


def test_a_block_that_states_another_resolution_gives_way_aloud() -> None:
    old = resolution.put(None, Resolution(72, 72), [])
    assert old is not None
    exif = b"Exif\0\0" + old
    data = bytearray(encoded("JPEG", exif=exif))
    assert read(bytes(data)).notes == ()  # unit 0: the density states none
    at = data.index(b"JFIF\0") + 7
    data[at : at + 5] = struct.pack(">BHH", 1, 72, 72)
    same = read(bytes(data))
    assert (same.notes, same.picture.metadata.exif) == ((), old)
    data[at : at + 5] = struct.pack(">BHH", 1, 300, 300)
    other = read(bytes(data))
    assert resolution.of_exif(other.picture.metadata.exif) == Resolution(300, 300)
    assert any("72 dpi" in note and "300 dpi" in note for note in other.notes)


@pytest.mark.parametrize(
    "broken", [b"", b"II", b"no TIFF at all", b"II*\0\xff\0\0\0", b"II*\0\x08\0\0\0\xff\xff"]
)
def test_a_damaged_block_is_left_as_it_is_aloud(broken: bytes) -> None:
    notes: list[str] = []
    assert resolution.put(broken, Resolution(300, 300), notes) == broken
    assert "resolution" in notes[0]
    assert resolution.of_exif(broken) is None


# --- EXIF in a TIFF --------------------------------------------------------------


def camera_block(order: str) -> bytes:
    """IFD0 with a description, an EXIF directory, and the interoperability index below it."""

    def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
        return struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")

    def at(place: int) -> bytes:
        return struct.pack(f"{order}I", place)

    def one(*entries: bytes) -> bytes:
        return struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)

    outer = 8 + 2 + 24 + 4
    inner = outer + 2 + 24 + 4
    head = (b"II*\0" if order == "<" else b"MM\0*") + at(8)
    return (
        head
        + one(entry(270, 2, 4, b"abc\0"), entry(0x8769, 4, 1, at(outer)))
        + one(entry(0x9000, 7, 4, b"0232"), entry(0xA005, 4, 1, at(inner)))
        + one(entry(1, 2, 4, b"R03\0"), entry(2, 7, 4, b"0100"))
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "F", "I;16"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_interoperability_index_is_found_in_a_tiff(order: str, mode: str) -> None:
    samples = np.zeros((2, 2, len(MODES[mode].channels)), MODES[mode].dtype)
    picture = Picture(samples, MODES[mode], Metadata(exif=camera_block(order)))
    data = pillow.write(picture, format="TIFF")
    for _ in range(2):  # and again after it was read
        number = "<I" if data[:2] == b"II" else ">I"
        outer = directory(data, *struct.unpack(number, directory(data)[0x8769][2]))
        assert outer[0x9000][2] == b"0232"
        inner = directory(data, *struct.unpack(number, outer[0xA005][2]))
        assert inner[1][2] == b"R03\0"
        assert inner[2][2] == b"0100"
        data = pillow.write(read(data).picture, format="TIFF")


def test_an_interoperability_index_that_leads_nowhere_is_not_written() -> None:
    exif = camera_block("<")[:-34]
    picture = Picture(GREY, MODES["L"], Metadata(exif=exif))
    tags = directory(pillow.write(picture, format="TIFF"))
    if 0x8769 in tags:
        data = pillow.write(picture, format="TIFF")
        assert 0xA005 not in directory(data, *struct.unpack("<I", tags[0x8769][2]))


def test_a_tiff_says_what_it_leaves_of_the_exif_data() -> None:
    thumbnail = block("<", (270, 2, 4, b"abc\0"), following=8)
    (note,) = pillow.write_notes(Picture(GREY, MODES["L"], Metadata(exif=thumbnail)), format="TIFF")
    assert "thumbnail" in note
    damaged = Picture(GREY, MODES["L"], Metadata(exif=b"no TIFF at all"))
    (note,) = pillow.write_notes(damaged, format="TIFF")
    assert "damaged" in note
    assert read(pillow.write(damaged, format="TIFF")).picture.metadata.exif is None


# --- what is left out ------------------------------------------------------------


def test_colours_of_a_png_that_are_left_out_are_named() -> None:
    usual = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    wide = (31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600)
    assert read(png(GREY, (b"cHRM", struct.pack(">8I", *usual)))).notes == ()
    assert "cHRM" in read(png(GREY, (b"cHRM", struct.pack(">8I", *wide)))).notes[0]
    srgb = png(GREY, (b"sRGB", b"\0"), (b"cHRM", struct.pack(">8I", *wide)))
    assert read(srgb).notes == ()
    assert "cICP" in read(png(GREY, (b"cICP", bytes([9, 16, 0, 1])))).notes[0]
    assert "content credentials" in read(png(GREY, (b"caBX", b"x"))).notes[0]
    texts = [(b"tEXt", b"Title\0a"), (b"zTXt", b"Author\0\0" + zlib.compress(b"b"))]
    texts.append((b"iTXt", b"Copyright\0\0\0\0\0c"))
    (note,) = read(png(GREY, *texts)).notes
    assert all(key in note for key in ("Title", "Author", "Copyright"))


def test_segments_of_a_jpeg_that_are_left_out_are_named() -> None:
    data = encoded("JPEG")
    for marker, body, said in (
        (0xEB, b"JP\0\1" + bytes(9), "content credentials"),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40), "extended XMP"),
    ):
        segment = struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
        assert said in read(data[:2] + segment + data[2:]).notes[0]


def test_a_resolution_may_be_a_fraction_that_is_not_in_its_lowest_terms():
    """As Pillow has it of a TIFF, and of what was cropped from one."""
    image = Image.new("RGB", (4, 4))
    image.info["dpi"] = (TiffImagePlugin.IFDRational(1207959552, 16777216),) * 2
    assert resolution.of_image(image) == Resolution(Fraction(72), Fraction(72))
