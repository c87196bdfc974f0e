"""What is salvaged of a cut or damaged file was whole, and a note says how much that is."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from conftest import picture
from goldens import data_of
from handmade import join, lrk, split
from PIL import Image, ImageFile

import lowrank
from lowrank import codec
from lowrank import format as lrk_format
from lowrank.errors import FormatError, LowrankError, TruncatedError, UsageError
from lowrank.format.parts import Missing
from lowrank.picture import Metadata
from lowrank.targets import Target

PIECE, ONE_PIECE = 4096, 8192  # of the specification
METADATA = Metadata(exif=b"MM\0*\0\0\0\x08\0\0", icc=b"profile" * 40, xmp=b"<x:xmpmeta/>" * 20)
KINDS = {
    "channels-float16": ("RGB", 24, 31, Target("rank", 6), "channels", "float16"),
    "channels-float64": ("L", 24, 31, Target("rank", 6), "channels", "float64"),
    "patches-float32": ("RGB", 37, 40, Target("rank", 3), "patches", "float32"),
    "small-patches-packed": ("RGB", 40, 50, Target("quality", 60), "patches", "packed"),
    "small-channels-packed": ("L", 40, 50, Target("quality", 60), "channels", "packed"),
    "patches-packed": ("I;16", 96, 90, Target("psnr", 95), "patches", "packed"),
    "channels-packed": ("I;16", 32, 270, Target("psnr", 95), "channels", "packed"),
}
PIECES = ("patches-packed", "channels-packed")


@cache
def made(name):
    """A file with metadata; those of PIECES have three pieces or more."""
    mode, height, width, target, layout, store = KINDS[name]
    A = replace(picture(mode, height, width), metadata=METADATA)
    return lrk_format.serialize(codec.encode(A, target, layout=layout, store=store).parts)


@cache
def whole(data):
    return parse(data)


def parse(data, *, partial=False):
    return lrk_format.parse(data, name="x.lrk", max_pixels=1 << 20, partial=partial)


def places(data):
    """Type, start and end of every chunk."""
    at = 9
    for kind, content in split(data):
        yield kind, at, at + 12 + len(content)
        at += 12 + len(content)


def flipped(data, at, bit=0):
    out = bytearray(data)
    out[at] ^= 1 << bit
    return bytes(out)


def samples(parts):
    return codec.decode(parts).picture.samples


@cache
def intact(data):
    """The samples of a whole file, which many a damaged one is compared with."""
    return samples(whole(data))


def decode(parts, known):
    """`codec.decode`, once for a packed payload: many a damage leaves the same pieces of it."""
    if parts.head.store != "packed":
        return codec.decode(parts)
    what = parts.body.payload, parts.missing, parts.notes
    if what not in known:
        try:
            known[what] = codec.decode(parts)
        except LowrankError as error:
            known[what] = error
    if isinstance(known[what], LowrankError):
        raise known[what]
    return known[what]


# -- any damage ------------------------------------------------------------------------------


def honest(data, parts):
    """Whether all that was taken of a damaged file is a prefix of what the whole file holds."""
    true = whole(data)
    found, kept = parts.head.metadata, true.head.metadata
    for key in ("exif", "icc", "xmp"):
        assert getattr(found, key) in (None, getattr(kept, key))
    assert replace(parts.head, metadata=kept) == true.head
    if parts.head.store == "packed":
        assert parts.body.stated == true.body.stated
        payload, real = parts.body.payload, true.body.payload
        if len(payload) <= len(real):
            assert payload == real[: len(payload)]
            if parts.missing and parts.missing.checked:
                assert len(payload) % PIECE == 0 or payload == real
        else:  # a length that was damaged: whatever follows a payload is not decoded
            assert payload.startswith(real)
            assert np.array_equal(samples(parts), intact(data))
        return
    assert parts.body.turn == true.body.turn
    for f, g in zip(parts.body.factors, true.body.factors, strict=True):
        assert f.norm == g.norm
        for a, b in ((f.s, g.s), (f.U.T, g.U.T), (f.Vt, g.Vt)):
            assert np.array_equal(a, b[: f.k])


def damages(data, rng):
    """One kind of damage that files meet: bits, blocks of zeros, cuts."""
    out = bytearray(data)
    kind = int(rng.integers(4))
    if kind == 0:
        return bytes(out[: int(rng.integers(len(out)))])
    if kind == 1:
        size = int(rng.integers(1, 65))
        at = int(rng.integers(len(out)))
        out[at : at + size] = bytes(len(out[at : at + size]))
    elif kind == 2:
        at = int(rng.integers(len(out))) // 512 * 512
        out[at : at + 512] = bytes(len(out[at : at + 512]))
    else:
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(out)))
            out[at] ^= 1 << int(rng.integers(8))
    return bytes(out)


@pytest.mark.parametrize("name", KINDS)
def test_whatever_the_damage_nothing_damaged_is_shown_and_a_note_says_what_is(name):
    data, rng, counts, known = made(name), np.random.default_rng(11), Counter(), {}
    for number in range(100):
        bad = damages(data, rng)
        if number % 4 == 0 and not name.startswith("small"):
            bad = damages(bad, rng)  # of a payload with one checksum a cut may hide the rest
        if bad == data or not bad:
            continue
        with pytest.raises(LowrankError):
            parse(bad)
        try:
            parts = parse(bad, partial=True)
            honest(data, parts)
            found = decode(parts, known)
        except LowrankError as error:
            counts[f"{type(error).__name__} in {str(error).count(chr(10)) + 1} line"] += 1
            continue
        assert found.notes
        assert parts.notes
        counts["salvaged"] += 1
    assert not any(kind.endswith(("2 line", "3 line")) for kind in counts)
    assert counts["salvaged"] > (5 if name.startswith("small") else 15), counts
    assert counts["FormatError in 1 line"] > 5, counts


@pytest.mark.parametrize("name", ["metadata-float16", "metadata-patches-packed"])
def test_every_flip_and_cut_of_a_golden_file_is_refused_or_leaves_what_is_whole(name):
    data, salvaged, known = data_of(name), 0, {}
    broken = [flipped(data, i // 8, i % 8) for i in range(8 * len(data))]
    for bad in (*broken, *(data[:end] for end in range(len(data)))):
        try:
            parts = parse(bad, partial=True)
            honest(data, parts)
            assert decode(parts, known).notes
            salvaged += 1
        except LowrankError:
            continue
    assert salvaged > 8 * 12  # the end mark alone


# -- float files -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["channels-float16", "channels-float64", "patches-float32"])
def test_a_damaged_term_cuts_the_file_before_it_and_the_rest_joins_the_tail(name, tmp_path):
    data = made(name)
    terms = [(start, end) for kind, start, end in places(data) if kind == b"TERM"]
    total = len(terms)
    for j in (1, 2, total - 1):
        start, end = terms[j]
        at_each_field = [start, start + 5, start + 8, end - 1]  # length, type, data, CRC
        for at in at_each_field:
            bad = flipped(data, at, 3)
            with pytest.raises(FormatError, match="--partial decodes what is whole") as caught:
                parse(bad)
            assert not isinstance(caught.value, TruncatedError)
            parts, cut = parse(bad, partial=True), parse(data[:start], partial=True)
            assert parts.missing == Missing("terms", total - j, "is damaged")
            assert cut.missing == Missing("terms", total - j)
            assert parts.ranks == cut.ranks
            assert sum(parts.ranks) == j
            said = f"the file is damaged: decoded {j} of {total} terms"
            found = codec.decode(parts)
            assert found.notes == (said,)
            assert np.array_equal(found.picture.samples, samples(cut))
        for f in parts.body.factors:
            assert np.hypot(f.tail, np.linalg.norm(f.s)) == pytest.approx(f.norm, rel=1e-9)
        path = tmp_path / "bad.lrk"
        path.write_bytes(bad)
        image = lowrank.open(path, partial=True)
        lost = "1 term is" if total - j == 1 else f"{total - j} terms are"
        assert image.notes == (f"the file is damaged: {lost} lost",)
        image.save(path)
        again = lowrank.open(path)  # whole, and as good
        assert (again.parts.missing, again.notes) == (None, ())
        assert again.ranks == parts.ranks
        assert np.array_equal(again.to_array(), image.to_array())
    with pytest.raises(FormatError, match="get the file again"):
        parse(flipped(data, terms[0][1] - 1), partial=True)  # nothing is in front of the first


def test_a_damaged_end_mark_costs_nothing_but_is_noted():
    for name in ("channels-float16", "patches-packed", "small-channels-packed"):
        data = made(name)
        for bad in (flipped(data, len(data) - 1), data[:-1], data[:-12]):
            with pytest.raises(FormatError, match="--partial"):
                parse(bad)
            parts = parse(bad, partial=True)
            assert parts.missing.count == 0
            found = codec.decode(parts)
            assert np.array_equal(found.picture.samples, intact(data))
            assert len(found.notes) == 1
            assert parts.notes[0].endswith("all of the picture is there")
            assert lrk_format.serialize(parts) == data


# -- packed files ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", PIECES)
def test_sums_are_the_checksums_of_the_pieces_and_cost_little(name):
    data = made(name)
    chunks = dict(split(data))
    payload = chunks[b"PACK"]
    assert len(payload) > 3 * PIECE
    pieces = [payload[i : i + PIECE] for i in range(0, len(payload), PIECE)]
    assert chunks[b"SUMS"] == struct.pack(f"<{len(pieces)}I", *map(zlib.crc32, pieces))
    assert 12 + len(chunks[b"SUMS"]) < 0.003 * len(payload)


def test_a_small_payload_has_no_sums_and_a_larger_one_without_them_opens_as_ever():
    parts = whole(made("patches-packed"))
    for size in (1, PIECE, ONE_PIECE, ONE_PIECE + 1):
        body = replace(parts.body, payload=parts.body.payload[:size])
        kinds = [kind for kind, _ in split(lrk_format.serialize(replace(parts, body=body)))]
        assert (b"SUMS" in kinds) == (size > ONE_PIECE)
    for name in PIECES:
        data = made(name)
        old = join([x for x in split(data) if x[0] != b"SUMS"])
        assert np.array_equal(samples(parse(old)), intact(data))


@pytest.mark.parametrize("name", PIECES)
def test_a_damaged_payload_shows_the_whole_pieces_before_the_damage(name):
    data = made(name)
    payload = whole(data).body.payload
    (start,) = (at + 8 for kind, at, _ in places(data) if kind == b"PACK")
    shown = []
    for at in range(100, len(payload), PIECE // 2):
        bad = flipped(data, start + at, 5)
        pieces = at // PIECE
        with pytest.raises(FormatError) as caught:
            parse(bad)
        assert ("--partial" in str(caught.value)) == (pieces > 0)
        if not pieces:
            with pytest.raises(FormatError, match="get the file again"):
                parse(bad, partial=True)
            continue
        parts = parse(bad, partial=True)
        assert parts.body.payload == payload[: pieces * PIECE]
        assert parts.missing == Missing("bytes", len(payload) - pieces * PIECE, "is damaged")
        cut = parse(data[: start + at], partial=True)
        assert cut.missing == replace(parts.missing, why="ends early")
        found, same = codec.decode(parts), codec.decode(cut)
        assert np.array_equal(found.picture.samples, same.picture.samples)
        assert found.notes[0].startswith("the file is damaged: decoded ")
        assert same.notes[0].startswith("the file ends early: decoded ")
        shown.append(int(found.notes[0].split()[5]))
        with pytest.raises(UsageError, match="is damaged, of which no whole one"):
            lrk_format.serialize(parts)
    assert shown == sorted(shown)
    assert shown[0] < shown[-1]


def test_the_head_of_a_damaged_payload_is_not_needed_where_sums_say_what_follows():
    for name in PIECES:
        data = made(name)
        (start,) = (at for kind, at, _ in places(data) if kind == b"PACK")
        for at in (start + 1, start + 3, start + 4, start + 7):
            parts = parse(flipped(data, at, 4), partial=True)
            assert len(parts.body.payload) > len(whole(data).body.payload) - PIECE
            honest(data, parts)


@pytest.mark.parametrize("name", ["small-patches-packed", "small-channels-packed"])
def test_a_payload_whose_length_is_damaged_does_not_pass_for_a_cut_one(name):
    data = made(name)
    (start,) = (at for kind, at, _ in places(data) if kind == b"PACK")
    for at in (start + 1, start + 2, start + 3):
        bad = flipped(data, at, 4)  # beyond the end of the file, which has its end mark
        with pytest.raises(FormatError, match=r"length is wrong.*--partial") as caught:
            parse(bad)
        assert not isinstance(caught.value, TruncatedError)
        parts = parse(bad, partial=True)
        assert parts.missing == Missing("bytes", 0, "is damaged")
        assert parts.body.payload == whole(data).body.payload
        for also in (start + 20, len(data) - 13):
            with pytest.raises(FormatError, match="get the file again"):
                parse(flipped(bad, also), partial=True)


def test_a_damaged_table_of_checksums_is_left_out_where_the_payload_is_whole():
    data = made("patches-packed")
    (start,) = (at for kind, at, _ in places(data) if kind == b"SUMS")
    bad = flipped(data, start + 9)
    with pytest.raises(FormatError, match="--partial"):
        parse(bad)
    parts = parse(bad, partial=True)
    decoded = codec.decode(parts)
    assert np.array_equal(decoded.picture.samples, intact(data))
    assert decoded.notes == parts.notes
    assert parts.notes == ("its table of checksums is damaged and was left out",)
    assert lrk_format.serialize(parts) == data
    with pytest.raises(FormatError):  # with neither the one nor the other nothing is known
        parse(flipped(bad, len(data) - 20), partial=True)
    with pytest.raises(FormatError):
        parse(bad[:-2000], partial=True)


def test_checksums_that_hold_but_contradict_each_other_are_refused():
    chunks = split(made("patches-packed"))
    at = [kind for kind, _ in chunks].index(b"SUMS")
    sums = chunks[at][1]
    for wrong in (b"", sums[:-4], sums + sums[:4], sums[:-1], sums[4:] + sums[:4]):
        data = join([*chunks[:at], (b"SUMS", wrong), *chunks[at + 1 :]])
        for partial in (False, True):
            with pytest.raises(FormatError, match=r"SUMS|contradict"):
                parse(data, partial=partial)
    for wrong in (chunks[: at + 1] + chunks[at:], [*chunks[:at], chunks[at + 1], chunks[at]]):
        with pytest.raises(FormatError):
            parse(join(wrong))


def test_a_cut_payload_of_one_piece_says_that_no_checksum_stands_behind_it():
    for name in ("small-patches-packed", "small-channels-packed", "cut-patches-packed"):
        data = data_of(name) if name.startswith("cut") else made(name)[:-40]
        with pytest.raises(TruncatedError, match="--partial"):
            parse(data)
        parts = parse(data, partial=True)
        assert not parts.missing.checked
        assert codec.decode(parts).notes[0].endswith("components, with no checksum behind them")


def test_a_payload_cut_in_its_header_is_nothing_in_one_line(cli, tmp_path):
    for name in ("small-patches-packed", "small-channels-packed", "patches-packed"):
        data = made(name)
        (start,) = (at + 8 for kind, at, _ in places(data) if kind == b"PACK")
        for left in (-3, 0, 1, 2, 5, 20):
            with pytest.raises(TruncatedError, match="nothing") as caught:
                codec.decode(parse(data[: start + left], partial=True))
            assert "\n" not in str(caught.value)
    (tmp_path / "a.lrk").write_bytes(data[: start + 20])
    assert "nothing" in cli("decompress", "a.lrk", "--partial").failed()
    assert [x.name for x in tmp_path.iterdir()] == ["a.lrk"]


# -- metadata --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_damaged_metadata_are_dropped_with_a_note_and_nothing_else(name):
    data = made(name)
    fields = {b"EXIF": ("exif", "EXIF block"), b"ICCP": ("icc", "colour profile"),
              b"XMP_": ("xmp", "XMP block")}  # fmt: skip
    found = {kind: (start, end) for kind, start, end in places(data)}
    for kind, (field, said) in fields.items():
        start, end = found[kind]
        for at in (start + 8, end - 1):
            bad = flipped(data, at)
            with pytest.raises(FormatError, match="--partial"):
                parse(bad)
            parts = parse(bad, partial=True)
            assert parts.head.metadata == replace(METADATA, **{field: None})
            assert parts.missing is None
            decoded = codec.decode(parts)
            assert np.array_equal(decoded.picture.samples, intact(data))
            assert decoded.notes == parts.notes
            assert parts.notes == (f"its {said} is damaged and was left out",)
    both = flipped(flipped(data, found[b"EXIF"][0] + 9), found[b"XMP_"][0] + 9)
    parts = parse(both, partial=True)
    assert parts.head.metadata == Metadata(icc=METADATA.icc)
    assert len(parts.notes) == 2
    with pytest.raises(FormatError):  # its length says nothing that could be believed
        parse(flipped(data, found[b"ICCP"][0], 4), partial=True)


def test_a_damaged_payload_never_passes_for_metadata():
    data = made("patches-packed")
    chunks, tried = split(data), set()
    for kind, start, _ in places(data):
        if kind in (b"SUMS", b"PACK"):
            tried.add(kind)
            bad = bytearray(data)
            bad[start + 4 : start + 8] = b"XMP_"
            try:
                honest(data, parse(bytes(bad), partial=True))
            except FormatError:
                continue
    assert tried == {b"SUMS", b"PACK"}
    assert len(chunks) == 7


# -- where users meet it ---------------------------------------------------------------------


def test_the_command_line_notes_what_was_salvaged(cli, tmp_path):
    data = made("channels-float16")
    found = {kind: start for kind, start, _ in places(data)}  # of the terms the last
    bad = flipped(flipped(data, found[b"TERM"] + 9), found[b"EXIF"] + 9)
    (tmp_path / "a.lrk").write_bytes(bad)
    assert "--partial" in cli("decompress", "a.lrk").failed()
    done = cli("decompress", "a.lrk", "--partial").succeeded()
    notes = [x for x in done.err.splitlines() if x.startswith("lowrank: note: ")]
    assert "EXIF block is damaged" in notes[0]
    assert "the file is damaged: decoded 17 of 18 terms" in notes[1]
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), samples(parse(bad, partial=True)))


def test_the_command_line_notes_what_was_salvaged_of_a_stack(cli, tmp_path):
    A = np.random.default_rng(3).integers(0, 256, (6, 10, 12), dtype=np.uint8)
    taken = ((), ("--frames", "2"), ("--pixel", "1,2"), ("-o", "frames/"), ("-o", "a.npy"))
    for target, every in (({"rank": 3}, taken), ({"quality": 95}, taken[1:2])):
        data = lowrank.compress(A, stack=True, **target).to_bytes()
        (tmp_path / "a.lrk").write_bytes(data[: len(data) * 3 // 4])
        (said,) = lowrank.open(tmp_path / "a.lrk", partial=True).notes
        assert said.startswith("the file ends early: ")
        assert ("no checksum" in said) == ("quality" in target)
        for options in every:
            done = cli("decompress", "a.lrk", "--partial", "-f", *options).succeeded()
            assert f"lowrank: note: a.lrk: {said}\n" in done.err


def load(path):
    with Image.open(path) as image:
        image.load()


@pytest.fixture
def lenient(monkeypatch):
    lowrank.register_lrk_opener()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)


@pytest.mark.parametrize("name", ["channels-float16", *PIECES])
def test_pillow_takes_what_is_whole_where_it_is_told_to(name, tmp_path, lenient, monkeypatch):
    data = made(name)
    found = {kind: (start, end) for kind, start, end in places(data)}
    last = found.get(b"PACK", found.get(b"TERM"))[1]
    for at in (last - 1, found[b"EXIF"][0] + 9, len(data) - 1):
        bad = flipped(data, at)
        (tmp_path / "a.lrk").write_bytes(bad)
        parts = parse(bad, partial=True)
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        with Image.open(tmp_path / "a.lrk") as image:
            assert "notes" not in image.info
            image.load()
            decoded = codec.decode(parts)
            wanted = decoded.picture.samples
            assert np.array_equal(np.asarray(image).reshape(wanted.shape), wanted)
            assert image.info["notes"] == decoded.notes
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
        with pytest.raises(OSError, match=r"damaged|identify"):
            load(tmp_path / "a.lrk")
    (tmp_path / "a.lrk").write_bytes(data)
    with Image.open(tmp_path / "a.lrk") as image:
        image.load()
        assert "notes" not in image.info


def test_opening_a_cut_file_says_so_and_a_whole_one_nothing(tmp_path):
    path = tmp_path / "a.lrk"
    data = made("patches-packed")
    path.write_bytes(data[:-5000])
    image = lowrank.open(path, partial=True)
    assert image.notes[0].startswith("the file ends early: ")
    with pytest.raises(UsageError, match="no whole one"):
        image.save(tmp_path / "b.lrk")
    assert not (tmp_path / "b.lrk").exists()
    path.write_bytes(data)
    assert lowrank.open(path).notes == ()


def test_handmade_chunks_are_where_the_tests_think():
    data = made("small-patches-packed")
    assert lrk(*(data[start:end] for _, start, end in places(data))) == data
