"""The `.lrk` format keeps its specification, which stands in the docstring of `lowrank.format`."""

from __future__ import annotations

import importlib.util
import math
import re
import struct

import handmade
import numpy as np
import pytest
from conftest import ROOT, picture
from handmade import DONE, chunk, head, join, lrk, one_pixel, sigm, split, term
from hypothesis import given
from hypothesis import strategies as st

from lowrank import codec
from lowrank import format as lrk_format
from lowrank.errors import FormatError, LimitError, TruncatedError, number_of
from lowrank.format.parts import Missing, term_order
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.picture import MODES, Metadata, Picture
from lowrank.targets import Target

STORES = ("float16", "float32", "float64")


def parse(data, *, partial=False, max_pixels=DEFAULT_MAX_PIXELS):
    return lrk_format.parse(data, name="test.lrk", max_pixels=max_pixels, partial=partial)


def encoded(mode, height, width, rank, store="float16"):
    return codec.encode(
        picture(mode, height, width), Target("rank", rank), layout="channels", store=store
    ).parts


def file_of(*arguments, **options):
    return lrk_format.serialize(encoded(*arguments, **options))


# -- what stands in the file -------------------------------------------------------------


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("height", "width", "k"), [(1, 1, 1), (1, 9, 1), (30, 17, 5), (8, 8, 8)])
def test_a_file_holds_k_times_m_plus_n_plus_1_floats_and_little_else(mode, store, height, width, k):
    data = file_of(mode, height, width, k, store=store)
    channels, item = len(MODES[mode].channels), np.dtype(store).itemsize
    chunks = split(data)
    terms = [x for kind, x in chunks if kind == b"TERM"]
    (sigma,) = (x for kind, x in chunks if kind == b"SIGM")
    floats = len(sigma) // 8 + sum(len(x) // item for x in terms)
    assert floats == channels * k * (height + width + 1)
    assert len(data) - floats * item <= 400 + 24 * channels * k


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("mode", MODES)
def test_the_header_is_laid_out_as_the_table_says(mode, store):
    parts = encoded(mode, 12, 7, 3, store=store)
    data = lrk_format.serialize(parts)
    assert data[:9] == handmade.SIGNATURE + b"\x01"
    kind, fields = split(data)[0]
    matrices = [(f.k, f.norm, f.sigma_next, f.tail) for f in parts.body.factors]
    assert kind == b"HEAD"
    assert len(fields) == 12 + 28 * len(MODES[mode].channels)
    assert data[9:].startswith(
        head(7, 12, handmade.MODES[mode], 0, handmade.STORES[store], 0, matrices)
    )


def test_what_the_header_states_of_a_matrix_is_true():
    A = picture("RGB", 30, 20)
    parts = codec.encode(A, Target("rank", 4), layout="channels", store="float16").parts
    for c, f in enumerate(parts.body.factors):
        s = np.linalg.svd(A.samples[:, :, c].astype(float), compute_uv=False)
        assert f.norm == pytest.approx(math.sqrt(s @ s), rel=1e-9)
        assert f.sigma_next == pytest.approx(s[4], rel=1e-6)
        assert f.tail == pytest.approx(math.sqrt(s[4:] @ s[4:]), rel=1e-6)
        np.testing.assert_allclose(f.s, s[:4], rtol=1e-9)


def test_chunks_stand_in_order_with_metadata_after_the_header():
    metadata = Metadata(exif=b"exif", icc=b"icc profile", xmp=b"<xmp/>")
    A = picture("L", 5, 6)
    A = Picture(A.samples, A.mode, metadata)
    parts = codec.encode(A, Target("rank", 2), layout="channels", store="float16").parts
    data = lrk_format.serialize(parts)
    kinds = [kind for kind, _ in split(data)]
    assert kinds == [b"HEAD", b"EXIF", b"ICCP", b"XMP_", b"SIGM", b"TERM", b"TERM", b"DONE"]
    assert join(split(data)) == data  # every checksum is CRC-32 of type and data
    assert parse(data).head.metadata == metadata
    seen = lrk_format.parse_header(data, name="x", max_pixels=30)
    assert (seen.head.width, seen.head.height, seen.head.metadata) == (6, 5, metadata)


@given(
    mode=st.sampled_from(sorted(MODES)),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    k=st.integers(1, 25),
    store=st.sampled_from(STORES),
    icc=st.none() | st.binary(min_size=1, max_size=20),
)
def test_what_is_written_is_read_again_for_any_shape_mode_and_rank(
    mode, height, width, k, store, icc
):
    A = picture(mode, height, width)
    A = Picture(A.samples, A.mode, Metadata(icc=icc))
    parts = codec.encode(A, Target("rank", k), layout="channels", store=store).parts
    data = lrk_format.serialize(parts)
    size = lrk_format.float_file_size(parts.head, sum(parts.ranks))
    assert len(data) == size
    again = parse(data)
    assert lrk_format.serialize(again) == data
    assert (again.head.mode, again.head.store, again.missing) == (A.mode, store, None)
    assert [f.k for f in again.body.factors] == [min(k, height, width)] * len(A.mode.channels)
    np.testing.assert_array_equal(
        codec.decode(again).picture.samples, codec.decode(parts).picture.samples
    )


def test_decoding_takes_float_factors_as_they_are_written():
    data = lrk(
        head(3, 2, store=1, matrices=((1, 60.0, 0.0, 0.0),)),
        sigm(60.0),
        term([0.6, 0.8], [1 / 3, 2 / 3, 2 / 3], "<f4"),
        DONE,
    )
    np.testing.assert_array_equal(
        codec.decode(parse(data)).picture.samples[:, :, 0], [[12, 24, 24], [16, 32, 32]]
    )


# -- the dump in the docstring ---------------------------------------------------------------


def dump():
    lines = re.findall(
        r"^ {4,6}((?:[0-9A-F]{2} )*[0-9A-F]{2}) {2,}\S", lrk_format.__doc__, re.MULTILINE
    )
    return bytes.fromhex(" ".join(lines))


def test_the_dump_in_the_docstring_is_the_smallest_file_with_a_term():
    data = dump()
    assert len(data) == 109
    assert data == one_pixel()
    assert codec.decode(parse(data)).picture.samples.tolist() == [[[200]]]
    A = Picture(np.full((1, 1, 1), 200, np.uint8), MODES["L"])
    parts = codec.encode(A, Target("rank", 1), layout="channels", store="float16").parts
    assert lrk_format.serialize(parts) == data


def test_a_file_of_no_terms_is_a_picture_of_zeros():
    data = lrk(head(), chunk(b"SIGM"), DONE)
    assert len(data) == 85
    assert codec.decode(parse(data)).picture.samples.tolist() == [[[0]]]


def test_the_page_of_the_format_is_the_docstring():
    path = ROOT / "docs" / "make_format.py"
    spec = importlib.util.spec_from_file_location("make_format", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "FORMAT.md").read_text(encoding="utf-8")
    assert page == module.markdown(), "run python docs/make_format.py"


# -- order, prefixes, truncation ---------------------------------------------------------------


def best_image(A, j, k):
    """The j best terms over all channels, at most k of each, by numpy; rounded and clipped."""
    svds = [np.linalg.svd(A.samples[:, :, c].astype(float)) for c in range(A.samples.shape[2])]
    ranked = sorted(
        ((-s, c, i) for c, (_, values, _) in enumerate(svds) for i, s in enumerate(values[:k]))
    )
    B = np.zeros(A.samples.shape)
    for _, c, i in ranked[:j]:
        U, s, Vt = svds[c]
        B[:, :, c] += s[i] * np.outer(U[:, i], Vt[i])
    return np.clip(np.rint(B), 0, A.mode.peak)


def test_every_prefix_that_ends_after_a_term_is_the_best_image_of_these_terms():
    A = picture("RGB", 24, 31)
    parts = codec.encode(A, Target("rank", 6), layout="channels", store="float64").parts
    data = lrk_format.serialize(parts)
    length = 12 + 8 * (24 + 31)
    start = len(data) - 12 - 18 * length  # DONE, and 6 terms of 3 channels before it
    seen = set()
    for j in range(1, 19):
        for cut in (start + j * length, start + j * length + 5):
            if cut >= len(data):
                continue
            shorter = parse(data[:cut], partial=True)
            assert (sum(shorter.ranks), shorter.missing) == (j, Missing("terms", 18 - j))
            got = codec.decode(shorter).picture.samples
            wrong = np.abs(got - best_image(A, j, 6))
            assert wrong.max() <= 1
            assert np.mean(wrong > 0) < 0.002, j  # ties at .5 alone
            for f in shorter.body.factors:
                assert f.tail == pytest.approx(
                    math.sqrt(f.norm**2 - np.sum(f.s**2)), rel=1e-6, abs=1e-6 * f.norm
                )
        seen.add(tuple(f.k for f in shorter.body.factors))
    assert len(seen) > 12  # the channels take turns


def test_terms_of_all_channels_descend_together():
    parts = encoded("RGBA", 20, 20, 7)
    order = term_order([f.s for f in parts.body.factors])
    written = [x for kind, x in split(lrk_format.serialize(parts)) if kind == b"TERM"]
    sigmas = [parts.body.factors[c].s[i] for c, i in order]
    assert sigmas == sorted(sigmas, reverse=True)
    for data, (c, i) in zip(written, order, strict=True):
        assert (
            data == parts.body.factors[c].U[:, i].tobytes() + parts.body.factors[c].Vt[i].tobytes()
        )


def test_equal_sigmas_stand_by_matrix_then_by_index():
    one = np.array([5.0, 3.0, 3.0])
    assert term_order([one, one]) == [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1), (1, 2)]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("k", [1, 3, 9])
def test_truncating_a_file_gives_the_file_of_the_lower_rank(store, k):
    A = picture("RGB", 33, 26)
    shorter, direct = (
        codec.encode(A, Target("rank", r), layout="channels", store=store).parts for r in (10, k)
    )
    shorter = codec.shorten(parse(lrk_format.serialize(shorter)), Target("rank", k))
    got, expected = (split(lrk_format.serialize(x)) for x in (shorter, direct))
    assert got[1:] == expected[1:]
    # The tail is a sum of what was kept or of what was dropped: equal up to rounding.
    fields = [list(struct.iter_unpack("<Iddd", x[0][1][12:])) for x in (got, expected)]
    np.testing.assert_allclose(*fields, rtol=1e-9)


# -- what a decoder must reject ----------------------------------------------------------------


def refused(data, message=None, kind=FormatError, **options):
    with pytest.raises(kind, match=message) as caught:
        parse(data, **options)
    assert "test.lrk" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_foreign_bytes_are_no_lrk_file():
    for data in (b"", b"\x89PNG\r\n\x1a\n", b"LRK", b"\0" * 200, one_pixel()[1:]):
        refused(data, "not a .lrk file")
        refused(data, "not a .lrk file", partial=True)


@pytest.mark.parametrize("version", [0, 2, 77, 255])
def test_an_unknown_version_is_refused_by_name(version):
    data = one_pixel()
    refused(data[:8] + bytes([version]) + data[9:], f"unknown .lrk version {version}")


@pytest.mark.parametrize("field", ["mode", "layout", "store", "flags"])
@pytest.mark.parametrize("code", [9, 64, 128, 255])
def test_an_unknown_mode_layout_store_or_flag_is_refused_by_name(field, code):
    refused(one_pixel(**{field: code}), f"unknown {field} {code}")


@pytest.mark.parametrize("bit", range(8))
def test_each_reserved_flag_is_refused(bit):
    refused(one_pixel(flags=1 << bit), f"unknown flags {1 << bit}")


@pytest.mark.parametrize("kind", [b"JUNK", b"head", b"\xff\0\n\r", b"PACK"])
@pytest.mark.parametrize("place", range(5))
def test_a_chunk_that_does_not_belong_is_refused_by_name(kind, place):
    chunks = split(one_pixel())
    data = join([*chunks[:place], (kind, b"x"), *chunks[place:]])
    what = (
        "bytes after the end"
        if place == 4
        else re.escape(repr(kind.decode("ascii", "backslashreplace")))
    )
    refused(data, what)


@pytest.mark.parametrize("place", range(4))
def test_chunks_that_are_missing_doubled_or_swapped_are_refused(place):
    chunks = split(one_pixel())
    refused(join(chunks[:place] + chunks[place + 1 :]))
    refused(join(chunks[: place + 1] + chunks[place:]))
    other = (place + 1) % 4
    swapped = list(chunks)
    swapped[place], swapped[other] = swapped[other], swapped[place]
    refused(join(swapped))


@pytest.mark.parametrize("place", range(4))
def test_a_chunk_of_another_length_is_refused(place):
    chunks = split(one_pixel())
    kind, data = chunks[place]
    for other in (data + b"\0", data[:-1]):
        if other != data:
            refused(
                join([*chunks[:place], (kind, other), *chunks[place + 1 :]]), "bytes instead of"
            )


def test_metadata_is_never_empty_doubled_or_out_of_order():
    first, *rest = split(one_pixel())
    for wrong in (
        [(b"EXIF", b"")],
        [(b"EXIF", b"a"), (b"EXIF", b"b")],
        [(b"ICCP", b"a"), (b"EXIF", b"b")],
    ):
        refused(join([first, *wrong, *rest]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0, 1e49])
def test_impossible_numbers_are_refused(bad):
    for i in (1, 2, 3):
        matrix = [1, 200.0, 0.0, 0.0]
        matrix[i] = bad
        refused(one_pixel(matrices=(tuple(matrix),)), "impossible norm")
    start = head(matrices=((1, 200.0, 0.0, 0.0),))
    refused(lrk(start, sigm(bad), term([1], [1]), DONE), "singular values")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 3.0, -60000.0])
@pytest.mark.parametrize("store", STORES)
def test_factors_that_are_no_unit_vectors_are_refused(bad, store):
    dtype = np.dtype(store).newbyteorder("<")
    start = head(store=handmade.STORES[store], matrices=((1, 200.0, 0.0, 0.0),))
    for u, v in ((bad, 1), (1, bad)):
        refused(lrk(start, sigm(200.0), term([u], [v], dtype), DONE), "unit vectors")


@pytest.mark.parametrize("store", STORES)
def test_the_bound_of_factors_is_met_to_the_last_bit(store):
    dtype = np.dtype(store).newbyteorder("<")
    start = head(store=handmade.STORES[store], matrices=((1, 200.0, 0.0, 0.0),))
    for sign in (1, -1):
        two = np.array(2 * sign, store)
        for x in (two, np.nextafter(two, np.zeros_like(two)), 0 * two, np.spacing(0 * two)):
            parse(lrk(start, sigm(200.0), term([1], [x], dtype), DONE))
        for x in (np.nextafter(two, 2 * two), np.copysign(np.array(np.nan, store), two)):
            refused(lrk(start, sigm(200.0), term([1], [x], dtype), DONE), "unit vectors")


def test_sigmas_that_ascend_are_refused():
    start = head(2, 2, matrices=((2, math.sqrt(32), 0.0, 0.0),))
    terms = (term([1, 0], [1, 0]), term([0, 1], [0, 1]))
    refused(lrk(start, sigm(3.0, 4.0), *terms, DONE), "descending")
    parse(lrk(start, sigm(4.0, 4.0), *terms, DONE))  # equal ones do not ascend


def test_a_rank_beyond_the_matrix_is_refused():
    for width, height in ((1, 1), (1, 50), (50, 1)):
        data = lrk(head(width, height, matrices=((2, 1.0, 0.0, 0.0),)), sigm(1.0, 0.5))
        refused(data, f"rank 2 of a {height}x{width} matrix", max_pixels=50)


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (0, 0), (2**31, 1), (1, 2**32 - 1)])
def test_impossible_sizes_are_refused(width, height):
    refused(one_pixel(width=width, height=height), "impossible size", max_pixels=2**70)


def test_the_limit_on_pixels_is_the_callers():
    data = lrk(head(20, 10), chunk(b"SIGM"), DONE)
    parse(data, max_pixels=200)
    refused(data, "more than the limit of 199", kind=LimitError, max_pixels=199)


# -- damage --------------------------------------------------------------------------------------


def test_every_single_bit_flip_is_refused_even_where_a_damaged_file_is_welcome():
    """There only what stands behind the first term may be damaged: tests/test_partial.py."""
    for data, first in ((one_pixel(), 12), (file_of("RGB", 3, 2, 1), 12 + 2 * 22)):
        for bit in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            refused(bytes(flipped), kind=(FormatError, LimitError))
            if bit // 8 < len(data) - first:
                refused(bytes(flipped), kind=(FormatError, LimitError), partial=True)


def test_every_truncation_is_refused_and_says_how_far_the_file_goes():
    data = file_of("RGB", 3, 2, 1)
    first = len(data) - 12 - 3 * 22  # the three terms and DONE
    for end in range(len(data)):
        refused(data[:end])
        if end < first:
            continue
        with pytest.raises(TruncatedError) as caught:
            parse(data[:end])
        whole = min((end - first) // 22, 3)
        assert (caught.value.terms, caught.value.total) == (whole, 3)
        assert ("--partial" in str(caught.value)) == (whole > 0)
        if whole:
            assert sum(parse(data[:end], partial=True).ranks) == whole
        else:  # nobody is told to ask for what cannot be had
            with pytest.raises(TruncatedError, match="nothing of the picture is there"):
                parse(data[:end], partial=True)


def test_appended_bytes_are_refused_unless_they_may_be_left_out():
    for more in (b"\0", b"\n", DONE, one_pixel()):
        said = f"{number_of(len(more), 'byte')} after the end"
        refused(one_pixel() + more, f"{said}, in .*; decompress --partial")
        parts = parse(one_pixel() + more, partial=True)
        assert parts.notes == (f"left out: {said}",)
        assert lrk_format.serialize(parts) == one_pixel()


def test_text_mangling_is_refused():
    data = one_pixel()
    for mangled in (
        data.replace(b"\r\n", b"\n"),
        data.replace(b"\n", b"\r\n"),
        data.replace(b"\r", b""),
        bytes(b & 0x7F for b in data),
        data.decode("latin-1").encode("utf-8"),
    ):
        assert mangled != data
        refused(mangled)
