"""Sound files that are not read are called by their names, with what to do."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from lowrank.errors import ImageError
from lowrank.io import formats, heif, jxl, pillow

STARTS = {
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "JPEG XL": b"\xff\x0a\xfa\x1f",
    "a JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n",
    "JPEG-LS": b"\xff\xd8\xff\xf7\0\x0b\x08",
    "a JPEG-LS": b"\xff\xd8\xff\xe8\0\4ab\xff\xf7\0\x0b\x08",
    "JPEG of 12 bits": b"\xff\xd8\xff\xe0\0\4ab\xff\xc1\0\x0b\x0c\0\4\0\4\1\1\x11\0",
    "JPEG XR": b"II\xbc\x01\x08\0\0\0",
    "Photoshop": b"8BPS\0\1\0\0\0\0\0\0\0\3",
    "PSB": b"8BPS\0\2\0\0\0\0\0\0\0\3",
    "OpenEXR": b"\x76\x2f\x31\x01\2\0\0\0",
    "Radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n",
    "PFM of three colours": b"PF\n4 4\n-1.0\n",
    "PAM": b"P7\nWIDTH 4\n",
    "GIMP": b"gimp xcf v011\0",
    "CR2": b"II*\0\x10\0\0\0CR\2\0",
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "RAF": b"FUJIFILMCCD-RAW 0201",
    "RW2": b"IIU\0\x18\0\0\0",
    "ORF": b"IIRO\x08\0\0\0",
    "PDF": b"%PDF-1.7\n",
    "PostScript": b"%!PS-Adobe-3.0\n",
    "SVG": b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg">',
    "an SVG": b"\xef\xbb\xbf<svg width='4'>",
    "web page": b"<!DOCTYPE html>\n<html><head><title>404</title>",
    "FITS": b"SIMPLE  =                    T",
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "DICOM": bytes(128) + b"DICM",
    "icon": b"\0\0\1\0\1\0\x10\x10",
    ".lrk": b"\x89LRK\r\n\x1a\n\1",
    "AppleDouble": b"\0\5\x16\7\0\2\0\0Mac OS X        ",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\n",
    "video": b"\0\0\0\x18ftypisom\0\0\2\0isommp42",
    "DjVu": b"AT&TFORM",
    "DDS": b"DDS |\0\0\0",
    "ZIP": b"PK\3\4\x14\0",
    "an archive of no files": b"PK\5\6" + bytes(18),
}


@pytest.mark.parametrize("name", STARTS)
def test_a_known_kind_is_called_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "register", lambda: False)
    monkeypatch.setattr(jxl, "register", lambda: False)
    with pytest.raises(ImageError) as caught:
        pillow.read(STARTS[name] + bytes(200), name="a")
    message = str(caught.value)
    assert name in message
    assert "damaged" not in message
    assert "not an image," not in message
    assert ";" in message  # and then what to do
    assert message.isprintable()


@pytest.mark.parametrize("data", [b"\1", b"hello", bytes(99), b"\x89PN", b"<p>", b"II*\0", b"ftyp"])
def test_what_nothing_is_known_of_is_no_image(data: bytes) -> None:
    with pytest.raises(ImageError, match="not an image, or damaged"):
        pillow.read(data, name="a")


def test_every_format_that_is_read_is_not_taken_for_an_unread_one() -> None:
    for format in formats.READABLE:
        image, stream = Image.new("RGB", (8, 8), (9, 90, 200)), io.BytesIO()
        image.save(stream, format)
        assert pillow.read(stream.getvalue(), name="a").picture.width == 8
    assert {".heic", ".heif", ".jfif", ".jpe", ".pfm"} <= formats.SUFFIXES


# --- HEIC, where its library is installed --------------------------------------------


def heic(samples: np.ndarray, mode: str = "RGB", **info: object) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    height, width = samples.shape[:2]
    made = pillow_heif.from_bytes(mode=mode, size=(width, height), data=samples.tobytes())
    made.info.update(info)
    stream = io.BytesIO()
    made.save(stream, quality=100, chroma=444)
    return stream.getvalue()


def ramp(dtype: str) -> np.ndarray:
    grid = np.add.outer(np.arange(48), np.arange(64))
    return np.dstack([grid, grid + 20, 255 - grid]).astype(dtype)


def test_heic_is_read() -> None:
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHII", 8, 1, 0x010E, 2, 4, 0x61626300) + bytes(4)
    loaded = pillow.read(heic(ramp("u1"), exif=exif), name="a.heic")
    assert (loaded.source.format, loaded.picture.mode.name) == ("HEIF", "RGB")
    assert np.abs(loaded.picture.samples.astype(int) - ramp("i4")).max() <= 4
    assert b"abc" in (loaded.picture.metadata.exif or b"")
    assert loaded.notes == ()


def test_deep_heic_says_that_it_was_reduced() -> None:
    loaded = pillow.read(heic(ramp("u2") * 200, "RGB;16"), name="a.heic")
    assert any("reduced to 8" in note for note in loaded.notes)


def test_damaged_heic_is_an_error_of_ours() -> None:
    data = heic(ramp("u1"))
    for cut in range(0, len(data), max(1, len(data) // 30)):
        try:
            pillow.read(data[:cut], name="a")
        except ImageError as error:
            message = str(error)
        assert message.isprintable()
