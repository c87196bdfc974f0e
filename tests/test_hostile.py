"""Damaged files are refused, in bounded time and memory, with our own errors."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from itertools import cycle, islice

import numpy as np
import pytest
from conftest import ROOT
from goldens import SMALL, data_of, known
from handmade import join, split
from make_golden import CASES

from lowrank import format as lrk
from lowrank.errors import FormatError, LimitError, LowrankError
from lowrank.limits import DEFAULT_MAX_PIXELS

sys.path.insert(0, str(ROOT / "fuzz"))
import mutators
import reading


def parse(data, *, partial=False):
    return lrk.parse(data, name="x", max_pixels=DEFAULT_MAX_PIXELS, partial=partial)


# -- damage ------------------------------------------------------------------------------------


def accepts(data):
    """Whether damaged bytes pass for a file; an error that is not ours escapes."""
    try:
        parse(data)
    except (FormatError, LimitError):
        return False
    return True


def test_small_files_stand_for_every_layout_and_store():
    assert {CASES[name][4:] for name in SMALL} == {case[4:] for case in CASES.values()}


def bits_to_flip(name, data):
    """Every bit; but in terms of wide floats one of each byte, as a checksum sees no numbers.

    The same files with terms of float16 have every bit flipped.
    """
    wide, at = CASES[name][5] in ("float32", "float64"), 9
    yield from range(8 * at)
    for kind, content in split(data):
        end = at + 12 + len(content)
        inside = range(at + 8, end - 4) if wide and kind == b"TERM" else ()
        for place in range(at, end):
            bits = (place % 8,) if place in inside else range(8)
            yield from (8 * place + bit for bit in bits)
        at = end


@pytest.mark.parametrize("name", SMALL)
def test_every_bit_flip_and_truncation_of_a_golden_file_is_refused(name):
    data = data_of(name)
    assert accepts(data)
    damaged = bytearray(data)
    for bit in bits_to_flip(name, data):
        damaged[bit // 8] ^= 1 << bit % 8
        assert not accepts(bytes(damaged)), f"bit {bit}"
        damaged[bit // 8] ^= 1 << bit % 8
    for end in range(len(data)):
        assert not accepts(data[:end]), f"cut at {end}"


@pytest.mark.parametrize("name", sorted(CASES))
def test_appended_bytes_and_text_mangling_are_refused(name):
    data = data_of(name)
    for more in (b"\0", b"\n", b"\r\n", data):
        assert not accepts(data + more)
    for mangled in (
        data.replace(b"\n", b"\r\n"),
        data.replace(b"\r\n", b"\n"),
        data.replace(b"\r", b"\n"),
        bytes(byte & 0x7F for byte in data),
    ):
        for partial in (False, True):
            with pytest.raises(FormatError):
                parse(mangled, partial=partial)


def test_only_our_errors_escape_from_mutants():
    of_kind = defaultdict(list)
    for name in SMALL:
        if data := known(name):
            of_kind[CASES[name][4:]].append(data)
    # As many seeds of each kind, however many files it has.
    seeds = [data for files in of_kind.values() for data in islice(cycle(files), 4)]
    files = mutators.mutants(seeds, np.random.default_rng(20))
    counts = Counter()
    for number in range(3000):
        data, thorough = next(files), number % 4 == 0
        counts.update(
            reading.read(data, partial=partial, thorough=thorough) for partial in (False, True)
        )
    assert counts["FormatError"] > 500
    assert counts["TruncatedError"] > 50
    for kind in of_kind:
        assert counts[f"decoded {' '.join(kind)}"] > 10, kind  # mended mutants reach the decoder


def test_the_mutator_mends_checksums_and_repeats_itself():
    files = [data for name in SMALL if (data := known(name))]
    for data in files:
        broken = bytearray(data)
        broken[-1] ^= 1
        assert mutators.mend(broken) == data
    one, two = (mutators.mutants(files, np.random.default_rng(3)) for _ in range(2))
    assert [next(one) for _ in range(50)] == [next(two) for _ in range(50)]


@pytest.mark.parametrize("name", SMALL)
def test_files_that_are_no_lrk_are_refused_whatever_they_are(name):
    data = data_of(name)
    for foreign in (data[::-1], b"", b"\0" * len(data), data[9:], b"\x89PNG\r\n\x1a\n" + data[8:]):
        for partial in (False, True):
            with pytest.raises(LowrankError, match=r"not a \.lrk file"):
                parse(foreign, partial=partial)


# -- the corpora, where they are ---------------------------------------------------------------


def corpus(part, request):
    """Some files of a corpus of images: the repository's own, or one of those beside it."""
    if part == "here":
        folder = ROOT / "tests" / "data" / "pngsuite"
    else:
        folder = request.getfixturevalue("shared") / "corpora" / part
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if not files:
        pytest.skip(f"no corpus {part} in {folder}")
    chosen = files[:: max(len(files) // 60, 1)]
    assert len(chosen) >= 20
    return [path.read_bytes() for path in chosen]


@pytest.mark.parametrize("part", ["here", "pngsuite", "zune-fuzz"])
def test_no_file_of_the_corpora_passes_for_a_lrk(part, request):
    """Not as it is, and not behind our signature, or in a chunk whose checksum holds."""
    for data in corpus(part, request):
        for partial in (False, True):
            with pytest.raises(FormatError, match=r"not a \.lrk file"):
                parse(data, partial=partial)
            with pytest.raises(FormatError):
                parse(lrk.SIGNATURE + b"\1" + data, partial=partial)
            with pytest.raises(FormatError):
                parse(join([(b"HEAD", data)]), partial=partial)


@pytest.mark.parametrize("part", ["here", "pngsuite", "zune-fuzz"])
@pytest.mark.parametrize("name", ["1x1-patches-packed", "1x1-channels-packed", "1x1-float16"])
def test_only_our_errors_escape_from_a_file_that_holds_one_of_the_corpora(part, name, request):
    """As payload, as terms or as metadata, behind checksums that hold."""
    chunks = split(data_of(name))
    counts = Counter()
    for number, data in enumerate(corpus(part, request)):
        data, thorough = data[:2000], number % 4 == 0
        for i, (kind, _) in enumerate(chunks):
            changed = join([*chunks[:i], (kind, data), *chunks[i + 1 :]])
            counts[reading.read(changed, partial=False, thorough=thorough)] += 1
        kept = lrk.SIGNATURE + b"\1" + join([chunks[0], (b"EXIF", data), *chunks[1:]])[9:]
        counts[f"metadata {reading.read(kept, partial=True, thorough=thorough)}"] += 1
    layout, store = CASES[name][4:]
    whole = counts.pop(f"metadata decoded {layout} {store}")
    assert whole >= 20  # metadata travel unread, whatever they are
    assert counts["FormatError"] >= 20
    assert set(counts) <= {
        "FormatError", "LimitError", "TruncatedError",
        "decoding packed: FormatError", f"decoded {layout} {store}",
    }, counts  # fmt: skip
