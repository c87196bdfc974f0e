"""What a file says its samples are is what is read, or what the refusal says.

The files are written here, byte by byte, so that nothing expected comes from Pillow.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from image_files import box, jp2_boxes, tiff
from PIL import Image

from lowrank.errors import ImageError, LowrankError
from lowrank.io import images, pillow
from lowrank.io import tiff as tiff_tags
from lowrank.picture import Loaded

GRID = np.add.outer(np.arange(30), np.arange(40))


def grid(dtype: str, bands: int = 1) -> np.ndarray[Any, Any]:
    """Samples that differ from band to band and use more than a byte where there is one."""
    kind, size = np.dtype(dtype).kind, np.dtype(dtype).itemsize
    levels = GRID - 30 if kind in "if" else GRID
    scale = 1 if size == 1 else 1.5 if kind == "f" else 300
    planes = [np.roll(levels, 7 * i, axis=1) * scale for i in range(bands)]
    return np.stack(planes, axis=2).astype(dtype)


def read(data: bytes) -> Loaded:
    return pillow.read(data, name="a")


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        read(data)
    message = str(caught.value)
    assert message.isprintable()
    assert "damaged" not in message
    return message


# --- TIFF ------------------------------------------------------------------------

ORDERS = ("<", ">")
PACKED = (1, 8)  # stored, deflated


@pytest.mark.parametrize("compression", PACKED)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "f2", "f4", "f8"])
def test_one_channel_of_any_type_is_right_or_refused(
    dtype: str, order: str, compression: int
) -> None:
    samples = grid(dtype)
    data = tiff(samples, order=order, compression=compression)
    read_or_named = {"u8", "f2", "f8"} | ({"u4"} if order == ">" else set())
    if dtype in read_or_named:
        bits = 8 * samples.itemsize
        kind = {"u": "unsigned integers", "f": "floats"}[samples.dtype.kind]
        message = refusal(data)
        assert f"a TIFF of {bits}-bit {kind} (grey" in message
        assert ("big-endian" in message) == (order == ">")
        return
    np.testing.assert_array_equal(read(data).picture.samples, samples)


@pytest.mark.parametrize("top", [2**31 - 128, 2**31, 2**32 - 256])
def test_unsigned_integers_of_32_bits_are_never_negative(top: int) -> None:
    samples = np.array([[[0], [top]]], np.uint32)  # floats hold these exactly
    loaded = read(tiff(samples))
    assert loaded.picture.mode.name == "F"
    np.testing.assert_array_equal(loaded.picture.samples.astype(np.float64), samples)


@pytest.mark.parametrize("dtype", ["u4", "i4"])
def test_integers_that_no_mode_holds_are_refused_by_their_values(dtype: str) -> None:
    low, high = (-(2**31), 2**31 - 1) if dtype == "i4" else (2**31, 2**32 - 1)
    message = refusal(tiff(np.array([[[low], [high]]], dtype)))
    assert f"from {low} to {high}" in message


def test_signed_bytes_without_a_negative_stay_bytes() -> None:
    samples = np.arange(12, dtype=np.int8).reshape(3, 4, 1)
    loaded = read(tiff(samples))
    assert (loaded.picture.mode.name, loaded.notes) == ("L", ())
    np.testing.assert_array_equal(loaded.picture.samples, samples)


# Photometric interpretation, ExtraSamples, bands that a picture keeps, what is said.
KINDS = [
    (2, (), 3, 3, ""),
    (2, (), 4, 4, "taken for alpha"),
    (2, (2,), 4, 4, ""),
    (2, (0,), 4, 3, "1 extra channel of 4"),
    (2, (0, 0), 5, 3, "2 extra channels of 5"),
    (2, (2, 0), 5, 4, "1 extra channel of 5"),
    (1, (0,), 2, 1, "1 extra channel of 2"),
    (1, (2,), 2, 2, ""),
    (1, (0, 0, 0), 4, 1, "3 extra channels of 4"),
    (5, (), 4, 4, ""),
    (5, (0,), 5, 4, "1 extra channel of 5"),
]


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("compression", PACKED)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_bands_are_right_or_named_or_refused(
    kind: tuple[int, tuple[int, ...], int, int, str],
    dtype: str,
    order: str,
    compression: int,
    planar: int,
) -> None:
    photometric, extra, bands, kept, said = kind
    samples = grid(dtype, bands)
    data = tiff(
        samples,
        order=order,
        compression=compression,
        planar=planar,
        photometric=photometric,
        extra=extra,
    )
    try:
        loaded = read(data)
    except ImageError as error:
        message = str(error)
        assert "TIFF" in message
        assert f"{8 * samples.itemsize}" in message
        assert str(bands) in message
        assert planar == 2 or photometric == 1 or bands > 3
        assert (planar, bands, dtype) != (1, 4, "u1") or photometric == 1
        return
    expected = samples[:, :, :kept]
    if dtype == "u2" and loaded.picture.mode.bits == 8:
        assert any("reduced to 8" in note for note in loaded.notes)
        expected = expected >> 8
    np.testing.assert_array_equal(loaded.picture.samples, expected)
    assert said in " ".join(loaded.notes)
    if not said:
        assert not any("Left out" in note or "taken" in note for note in loaded.notes)


WHOLE = [(0, 1), (1, 1), (1, 2), (2, 3), (2, 4), (5, 4), (5, 5)]  # photometric, bands


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "f4"])
@pytest.mark.parametrize("kind", WHOLE, ids=str)
def test_with_the_extra_every_plain_tiff_is_read_with_its_samples(
    kind: tuple[int, int], dtype: str, order: str, big: bool
) -> None:
    pytest.importorskip("tifffile", reason="needs the extra tiff")
    photometric, bands = kind
    samples = grid(dtype, bands)
    extra = (2,) if bands > {2: 3, 5: 4}.get(photometric, 1) else ()
    data = tiff(samples, order=order, photometric=photometric, big=big, extra=extra)
    loaded = images.read(data, name="a")
    turned_over = photometric == 0 and not any("White is zero" in x for x in loaded.notes)
    expected = 255 - samples if turned_over else samples
    np.testing.assert_array_equal(loaded.picture.samples, expected)
    if (photometric, bands, dtype) == (5, 4, "u1"):
        assert loaded.picture.mode.name == "CMYK"


USUAL = [("u1", 1, 0), ("u1", 1, 1), ("u1", 3, 2), ("u1", 4, 2), ("u2", 1, 1), ("f4", 1, 1)]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", USUAL, ids=str)
def test_pillow_need_not_open_a_usual_tiff_to_say_that_it_knows_it(
    kind: tuple[str, int, int], order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are many strips that takes longer than to read their samples."""
    dtype, bands, photometric = kind
    extra = (2,) if bands == 4 else ()
    data = tiff(grid(dtype, bands), order=order, photometric=photometric, extra=extra)
    assert pillow.read(data, name="a", max_pixels=10**6).picture.samples.size
    monkeypatch.setattr(Image, "open", None)
    assert not tiff_tags.beyond_pillow(data)


@pytest.mark.parametrize("order", ORDERS)
def test_a_sample_of_no_stated_meaning_that_becomes_alpha_is_said(order: str) -> None:
    pytest.importorskip("tifffile", reason="needs the extra tiff")
    for bands, photometric in ((2, 1), (4, 2)):
        data = tiff(grid("u1", bands), order=order, photometric=photometric, extra=(0,))
        loaded = images.read(data, name="a")
        assert "alpha" in loaded.picture.mode.channels
        assert any("taken for alpha" in note for note in loaded.notes)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_of_a_tiff_of_volumes_no_slice_is_taken_for_all(dtype: str) -> None:
    slices = np.concatenate([grid(dtype), grid(dtype) + np.array(1, dtype)])
    data = tiff(slices, more={257: (4, (30,)), 32997: (4, (2,))})
    with pytest.raises(ImageError, match="volumes"):
        images.read(data, name="a")


def test_a_tiff_that_no_extra_reads_names_none() -> None:
    data = tiff(grid("u1", 3), photometric=2, more={258: (3, (4, 4, 4))})
    assert "which reads it" not in refusal(data)
    assert "which reads it" in refusal(tiff(grid("u8")))


@pytest.mark.parametrize(("photometric", "colours"), [(1, 1), (2, 3)])
def test_associated_alpha_is_divided_out_aloud(photometric: int, colours: int) -> None:
    samples = np.full((2, 3, colours + 1), 60, np.uint8)
    samples[:, :, -1] = 120
    data = tiff(samples, photometric=photometric, extra=(1,))
    try:
        loaded = read(data)
    except ImageError:  # as Pillow 11 does of grey with alpha
        assert photometric == 1
        assert "2 a pixel" in refusal(data)
        return
    expected = np.full_like(samples, 127)  # 60 / 120 of 255
    expected[:, :, -1] = 120
    np.testing.assert_allclose(loaded.picture.samples, expected, atol=1)
    assert any("rounds" in note for note in loaded.notes)
    assert "planar" in refusal(tiff(samples, photometric=photometric, extra=(1,), planar=2))


@pytest.mark.parametrize("bits", [2, 4])
def test_samples_of_few_bits_are_widened_aloud(bits: int) -> None:
    levels = np.arange(8, dtype=np.uint8) % 2**bits
    packed = 0
    for level in levels:
        packed = packed << bits | int(level)
    row = packed.to_bytes(bits, "big")
    data = tiff(np.zeros((1, 8, 1), np.uint8), raw=row, more={258: (3, (bits,))})
    loaded = read(data)
    np.testing.assert_array_equal(loaded.picture.samples[0, :, 0], levels * (255 // (2**bits - 1)))
    assert any(f"{bits} bits were widened" in note for note in loaded.notes)


def test_subsampled_colours_without_compression_are_refused() -> None:
    blocks = bytes(6 * 2 * 2)  # four Y, one Cb, one Cr for each 2 x 2 pixels
    data = tiff(np.zeros((4, 4, 3), np.uint8), raw=blocks, photometric=6, more={530: (3, (2, 2))})
    assert "YCbCr" in refusal(data)


def test_a_big_tiff_is_read_or_called_by_its_name() -> None:
    samples = grid("u2")
    loaded = read(tiff(samples, big=True, more={270: (2, tuple(b"kept\0"))}))
    np.testing.assert_array_equal(loaded.picture.samples, samples)
    assert b"kept" in (loaded.picture.metadata.exif or b"")
    assert loaded.notes == ()
    try:
        loaded = read(tiff(samples, big=True, order=">"))
    except ImageError as caught:
        message = str(caught)
    else:
        message = "BigTIFF"
        np.testing.assert_array_equal(loaded.picture.samples, samples)
    assert "BigTIFF" in message
    assert "damaged" not in message


@pytest.mark.parametrize(
    ("compression", "said"),
    [(34887, "LERC"), (50002, "JPEG XL"), (34712, "JPEG 2000"), (999, "999")],
)
def test_a_compression_without_a_decoder_is_called_by_its_name(compression: int, said: str) -> None:
    data = tiff(grid("u1"), raw=bytes(99), compression=compression)
    assert f"compressed by {said}" in refusal(data) or f"scheme {said}" in refusal(data)


def test_the_preview_of_a_raw_file_is_not_taken_for_the_image() -> None:
    preview = grid("u1", 3)
    for extra in ({330: (4, (8,))}, {50706: (1, (1, 4, 0, 0))}):
        data = tiff(preview, photometric=2, more={254: (4, (1,)), **extra})
        assert "preview" in refusal(data)
    alone = read(tiff(preview, photometric=2, more={254: (4, (1,))}))
    assert any("reduced copy" in note for note in alone.notes)


def test_a_loaded_image_is_checked_as_its_file_is() -> None:
    samples = np.array([[[-5], [9]]], np.int16)
    for order, compression in ((o, c) for o in ORDERS for c in PACKED):
        data = tiff(samples, order=order, compression=compression)
        with Image.open(io.BytesIO(data)) as image:
            opened = pillow.from_pillow(image).picture.samples
            np.testing.assert_array_equal(opened, samples)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            try:
                loaded = pillow.from_pillow(image).picture.samples
            except LowrankError:
                assert (order, compression) == (">", 8)
            else:
                np.testing.assert_array_equal(loaded, samples)


# --- PGM and PPM -----------------------------------------------------------------


def pnm(samples: np.ndarray[Any, Any], maximum: int, *, plain: bool) -> bytes:
    height, width, bands = samples.shape
    kind = {1: (b"P2", b"P5"), 3: (b"P3", b"P6")}[bands][not plain]
    head = b"%s # a comment\n%d %d\n%d\n" % (kind, width, height, maximum)
    if plain:
        return head + b" ".join(b"%d" % x for x in samples.ravel()) + b" # the end\n"
    return head + samples.astype("u1" if maximum < 256 else ">u2").tobytes()


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("maximum", [1, 3, 100, 254, 255, 256, 1023, 4095, 40000, 65534, 65535])
def test_levels_of_a_pgm_are_those_of_the_file(maximum: int, plain: bool) -> None:
    samples = (GRID * 997 % (maximum + 1))[:, :, None]
    data = pnm(samples, maximum, plain=plain)
    loaded = read(data)
    assert loaded.picture.mode.name == ("L" if maximum < 256 else "I;16")
    np.testing.assert_array_equal(loaded.picture.samples, samples)
    assert any(f"{maximum} is white" in n for n in loaded.notes) == (maximum not in (255, 65535))
    with Image.open(io.BytesIO(data)) as image:
        again = pillow.from_pillow(image)
    np.testing.assert_array_equal(again.picture.samples, samples)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("maximum", [1, 31, 255])
def test_levels_of_a_ppm_are_those_of_the_file(maximum: int, plain: bool) -> None:
    samples = np.dstack([GRID, GRID * 3, GRID * 7]) % (maximum + 1)
    loaded = read(pnm(samples, maximum, plain=plain))
    np.testing.assert_array_equal(loaded.picture.samples, samples)


def test_a_pgm_that_is_cut_or_goes_beyond_its_maximum_is_refused() -> None:
    samples = np.full((3, 4, 1), 1000)
    for plain in (False, True):
        data = pnm(samples, 1023, plain=plain)
        with pytest.raises(ImageError):
            read(data[:-20])
        with pytest.raises(ImageError, match="999 is the largest"):
            read(pnm(samples, 999, plain=plain))
    with pytest.raises(ImageError, match="not all numbers"):
        read(pnm(samples, 1023, plain=True).replace(b"1000 1000", b"1000 10x0"))


# --- JPEG 2000 -------------------------------------------------------------------


def jpeg2000(
    index: np.ndarray[Any, Any],
    palette: np.ndarray[Any, Any] | None = None,
    mapping: tuple[tuple[int, int, int], ...] = (),
) -> bytes:
    """A lossless JP2 of indices, with a palette and its mapping put into the header."""
    stream = io.BytesIO()
    Image.fromarray(index).save(stream, "JPEG2000", irreversible=False)
    out = b""
    for kind, body in jp2_boxes(stream.getvalue()):
        if kind == b"jp2h" and palette is not None:
            body = b"".join(box(k, b) for k, b in jp2_boxes(body) if k != b"colr")
            entries, columns = palette.shape
            table = struct.pack(">HB", entries, columns) + b"\7" * columns + palette.tobytes()
            body += box(b"pclr", table)
            body += box(b"cmap", b"".join(struct.pack(">HBB", *x) for x in mapping))
            body += box(b"colr", b"\1\0\0" + struct.pack(">I", 16))
        out += box(kind, body)
    return out


INDEX = (GRID // 3 % 20).astype(np.uint8)
COLOURS = np.array(
    [[0, 0, 0]] * 4 + [[9 * i, 255 - 9 * i, 37 * i % 256] for i in range(14)] + [[0, 0, 0]] * 2,
    np.uint8,
)
STRAIGHT = ((0, 1, 0), (0, 1, 1), (0, 1, 2))


def test_repeated_colours_of_a_palette_stay_in_their_places() -> None:
    loaded = read(jpeg2000(INDEX, COLOURS, STRAIGHT))
    assert loaded.picture.mode.name == "RGB"
    np.testing.assert_array_equal(loaded.picture.samples, COLOURS[INDEX])
    assert "The palette is stored as RGB samples." in loaded.notes


def test_the_mapping_of_a_palette_is_followed() -> None:
    turned = read(jpeg2000(INDEX, COLOURS, STRAIGHT[::-1]))
    np.testing.assert_array_equal(turned.picture.samples, COLOURS[INDEX][:, :, ::-1])
    with_alpha = np.dstack([INDEX, INDEX * 3])
    loaded = read(jpeg2000(with_alpha, COLOURS, (*STRAIGHT, (1, 0, 0))))
    expected = np.dstack([COLOURS[INDEX], INDEX * 3])
    np.testing.assert_array_equal(loaded.picture.samples, expected)


def test_a_palette_that_is_not_followed_is_refused() -> None:
    assert "palette" in refusal(jpeg2000(INDEX, COLOURS, ((0, 1, 9),) * 3))
    with pytest.raises(ImageError, match="beyond its palette"):
        read(jpeg2000(INDEX, COLOURS[:5], STRAIGHT))
    stream = io.BytesIO(jpeg2000(INDEX, COLOURS, STRAIGHT))
    with Image.open(stream) as image:
        image.load()
        stream.close()
        with pytest.raises(LowrankError, match="give the file itself"):
            pillow.from_pillow(image)


@pytest.mark.parametrize(("bits", "signed"), [(4, False), (7, False), (8, True), (12, False)])
def test_samples_of_other_depths_are_not_shifted(bits: int, signed: bool) -> None:
    # A flat picture codes no coefficient but its mean, which is half of any range: so the
    # depth in the header may be another than the writer's, and the level follows.
    mode = "L" if bits <= 8 else "I;16"
    middle = 128 if mode == "L" else 32768
    stream = io.BytesIO()
    flat = np.full((8, 8), middle, np.uint8 if mode == "L" else np.uint16)
    Image.fromarray(flat).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    data = bytearray(stream.getvalue())
    data[42] = bits - 1 | (0x80 if signed else 0)  # Ssiz, ITU-T T.800 A.5.1
    loaded = read(bytes(data))
    level = 0 if signed else 2 ** (bits - 1)
    assert set(loaded.picture.samples.ravel().tolist()) == {level}
    assert any(f"{2**bits - 1} is white" in n for n in loaded.notes) != signed


def test_components_beyond_those_of_a_mode_are_counted() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    data = stream.getvalue()
    more = struct.pack(">H", 47 + 6) + data[6:40] + struct.pack(">H", 5) + b"\7\1\1" * 5
    assert "5 components of 8 bits" in refusal(data[:4] + more + data[51:])


def test_associated_alpha_of_a_jpeg_2000_is_said() -> None:
    stream = io.BytesIO()
    samples = np.full((8, 8, 4), 60, np.uint8)
    Image.fromarray(samples).save(stream, "JPEG2000", irreversible=False)
    for kind, said in ((1, False), (2, True)):
        rows = [(0, 0, 1), (1, 0, 2), (2, 0, 3), (3, kind, 0)]
        body = struct.pack(">H", 4) + b"".join(struct.pack(">HHH", *row) for row in rows)
        data = b""
        for name, content in jp2_boxes(stream.getvalue()):
            if name == b"jp2h":
                kept = [box(k, b) for k, b in jp2_boxes(content) if k != b"cdef"]
                content = b"".join([*kept, box(b"cdef", body)])
            data += box(name, content)
        loaded = read(data)
        np.testing.assert_array_equal(loaded.picture.samples, samples)
        assert any("Associated" in note for note in loaded.notes) == said


def test_more_bits_than_a_mode_holds_are_refused() -> None:
    stream = io.BytesIO()
    Image.new("I;16", (8, 8)).save(stream, "JPEG2000", irreversible=False, no_jp2=True)
    data = bytearray(stream.getvalue())
    data[42] = 19
    assert "20-bit" in refusal(bytes(data))


# --- PNG -------------------------------------------------------------------------


def test_a_png_of_few_bits_says_that_they_were_widened() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    for bits, row, levels in ((2, b"\x1b", [0, 85, 170, 255]), (4, b"\x0f\x81", [0, 255, 136, 17])):
        head = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
        body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" + row))
        loaded = read(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
        assert loaded.picture.samples.ravel().tolist() == levels
        assert any(f"{bits} bits were widened" in note for note in loaded.notes)
