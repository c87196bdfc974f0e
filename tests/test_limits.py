"""What a file claims takes neither memory nor time; what it may take is what is documented."""

from __future__ import annotations

import gc
import math
import os
import re
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from conftest import ROOT, picture
from goldens import data_of
from handmade import DONE, chunk, head, lrk, sigm, split, term

import lowrank
from lowrank import codec, limits
from lowrank import format as lrk_format
from lowrank.errors import LimitError, LowrankError
from lowrank.limits import DEFAULT_MAX_PIXELS
from lowrank.picture import MODES, Picture
from lowrank.stores.packed.channels.header import Header, write_header
from lowrank.stores.packed.coding import smoothing
from lowrank.stores.packed.frames import codec as frames_codec
from lowrank.stores.packed.patches import codec as patches_codec
from lowrank.targets import Target

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits are set as on Linux")
MOST = 2**31 - 1
SIDE = 13_000  # squared, a little less than the limit on pixels

# Each line is a file. It gets `room` MiB beyond what is there, and a second of processor time.
CLAIMS = """
import resource, signal, sys
import numpy
from lowrank import codec, format as lrk
from lowrank.stores.packed.patches import codec as _
from lowrank.stores.packed.channels import codec as _
from lowrank.errors import LowrankError
room = int(sys.argv[1])
files = [bytes.fromhex(line) for line in sys.stdin]
codec.decode(lrk.parse(files[0], name="x", max_pixels=1))  # whatever loads late
numpy.ones((300, 300)) @ numpy.ones((300, 300))  # BLAS has its buffers: old ones crash without
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + (room << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for data in files[1:]:
    for partial in (False, True):
        for most in (178_956_970, 2**62):
            signal.setitimer(signal.ITIMER_PROF, 1)
            try:
                codec.decode(lrk.parse(data, name="x", max_pixels=most, partial=partial))
                print("decoded")
            except LowrankError as error:
                print(type(error).__name__)
"""


def said_of(files, room):
    """What becomes of each file, four times: strictly and partially, with two limits."""
    warm = data_of("1x1-float16")
    done = subprocess.run(
        [sys.executable, "-c", CLAIMS, str(room)],
        input="\n".join(x.hex() for x in (warm, *files)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.split()
    assert len(said) == 4 * len(files)
    return set(said)


@linux
def test_what_the_header_of_a_float_file_claims_takes_neither_memory_nor_time():
    rgb = ((MOST, 1.0, 0.0, 0.0),) * 3
    claims = [
        lrk(head(MOST, MOST), chunk(b"SIGM"), DONE),
        lrk(head(MOST, MOST, mode=3, matrices=rgb)),
        lrk(head(MOST, MOST, mode=3, matrices=rgb), sigm(*[1.0] * 1000)),
        lrk(head(SIDE, SIDE, matrices=((SIDE, 1.0, 0.0, 0.0),))),
        lrk(head(SIDE, SIDE, matrices=((SIDE, 1.0, 0.0, 0.0),)), sigm(*[1.0] * SIDE)),
        lrk(head(MOST, 2**29 - 1, matrices=((2**29 - 1, 1.0, 0.0, 0.0),)))
        + struct.pack("<I4s", 2**32 - 8, b"SIGM"),
        lrk(head()) + struct.pack("<I4s", 2**32 - 1, b"EXIF"),
        lrk() + struct.pack("<I4s", 2**32 - 1, b"HEAD"),
        lrk(head(MOST, MOST, layout=1), chunk(b"SIGM"), DONE),
        # Whole and without a fault, but pictures of 169 MB from 52 kB and 1.3 MB:
        rank_one(SIDE, SIDE),
        rank_one(SIDE, SIDE, layout=1),
    ]
    assert said_of(claims, room=64) <= {"LimitError", "FormatError", "TruncatedError"}


def rank_one(width, height, *, mode=1, layout=0):
    """A whole file of one term, which holds m + n floats and claims any number of pixels."""
    m, n = (height, width) if layout == 0 else (-(-height // 16) * -(-width // 16), 256)
    return lrk(
        head(width, height, mode=mode, layout=layout, matrices=((1, 1.0, 0.0, 0.0),)),
        sigm(1.0),
        term(np.zeros(m), np.zeros(n)),
        DONE,
    )


def packed(width, height, payload, *, mode=1, layout=1, rank=1):
    """A packed file with checksums that hold, whatever its payload."""
    channels = len(MODES["RGBA" if mode == 4 else "L"].channels)
    fields = struct.pack("<IIBBBB", width, height, mode, layout, 3, 0)
    fields += struct.pack("<HHHHH", rank, 1, 1, 1, 1) * channels
    return lrk(chunk(b"HEAD", fields), chunk(b"PACK", payload), DONE)


@linux
@pytest.mark.parametrize("layout", ["channels", "patches"])
def test_what_the_header_of_a_packed_file_claims_takes_neither_memory_nor_time(layout):
    own = dict(split(data_of(f"1x1-{layout}-packed")))[b"PACK"]
    sizes = ((MOST, MOST), (SIDE, SIDE), (4096, 4096), (1, MOST), (MOST, 1), (178_956_970, 1))
    payloads = (own, b"", bytes(40), b"\xff" * 40, bytes(range(256)) * 8)
    claims = [
        packed(*size, payload, mode=mode, layout=("channels", "patches").index(layout))
        for size in sizes
        for payload in payloads
        for mode in (1, 4)
    ]
    assert said_of(claims, room=64) <= {"LimitError", "FormatError", "TruncatedError"}


@linux
@pytest.mark.skipif(
    tuple(map(int, np.__version__.split(".")[:2])) < (2, 1),
    reason="numpy 2.0 itself crashes now and then where memory ends",
)
@pytest.mark.parametrize("layout", ["channels", "patches"])
def test_a_small_packed_file_of_a_large_picture_is_refused_where_memory_is_short(layout):
    data_of(f"1x1-{layout}-packed")  # or a skip
    flat = Picture(np.full((1024, 2048, 1), 77, np.uint8), MODES["L"])
    target = Target("quality", 10) if layout == "patches" else Target("rank", 1)
    data = lrk_format.serialize(codec.encode(flat, target, layout=layout, store="packed").parts)
    assert len(data) < 20_000
    assert said_of([data], room=2) == {"LimitError"}


DECOMPRESS = """
import resource, signal, sys
from lowrank.runs import work
from lowrank.__main__ import main
most = 600 << 20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
signal.setitimer(signal.ITIMER_PROF, 1)
sys.argv = ["lowrank", *sys.argv[1:]]
main()
"""


@linux
@pytest.mark.parametrize("options", [(), ("--max-pixels", "1000"), ("--max-pixels", "4e18")])
@pytest.mark.parametrize("side", [SIDE, 2**30])
@pytest.mark.parametrize("layout", [0, 1])
def test_a_file_of_one_term_that_claims_a_huge_image_is_refused_in_a_second(
    tmp_path, layout, side, options
):
    (tmp_path / "huge.lrk").write_bytes(
        rank_one(SIDE, SIDE, mode=7, layout=layout)
        if side == SIDE
        else lrk(head(side, side, mode=7, layout=layout), chunk(b"SIGM"), DONE)
    )
    done = subprocess.run(
        [sys.executable, "-c", DECOMPRESS, "decompress", "huge.lrk", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    limited = options == ("--max-pixels", "1000") or (side > SIDE and not options)
    assert ("the limit of" if limited else "not enough memory") in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["huge.lrk"]


# -- what decoding takes -----------------------------------------------------------------------


def documented(pattern):
    """The numbers of a sentence in SECURITY.md."""
    text = " ".join((ROOT / "SECURITY.md").read_text(encoding="utf-8").split())
    return [int(number) for number in re.search(pattern, text).groups()]


MEMORY = r"at most (\d+) bytes for each sample, (\d+) for each byte of the file, and (\d+) MiB"


def peak_of_decoding(data):
    """Most bytes that Python has taken at once to decode a file."""
    tracemalloc.start()
    try:
        codec.decode(lrk_format.parse(data, name="x", max_pixels=DEFAULT_MAX_PIXELS))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("mode", "height", "width"),
    [("L", 200, 240), ("RGB", 200, 240), ("I;16", 200, 240), ("L", 1, 5000), ("L", 5000, 1)],
)
@pytest.mark.parametrize(
    ("layout", "store", "target"),
    [
        ("channels", "float16", Target("rank", 150)),
        ("channels", "float64", Target("rank", 1)),
        ("patches", "float16", Target("rank", 100)),
        ("patches", "packed", Target("quality", 99)),
        ("channels", "packed", Target("rank", 60)),
    ],
)
def test_decoding_takes_no_more_memory_than_is_documented(
    mode, height, width, layout, store, target
):
    data_of(f"1x1-{layout}-{store}" if store == "packed" else f"1x1-{store}")  # or a skip
    if store == "packed" and height == 200:  # to count takes long, and this is as near the bound
        height, width = (56, 72) if layout == "channels" else (88, 112)
        target = Target("rank", 40) if layout == "channels" else target
    A = picture(mode, height, width)
    data = lrk_format.serialize(codec.encode(A, target, layout=layout, store=store).parts)
    peak = peak_of_decoding(data)
    sample, byte, fixed = documented(MEMORY)
    padded = (
        (height, width) if layout == "channels" else (height + -height % 16, width + -width % 16)
    )
    samples = math.prod(padded) * len(A.mode.channels)
    # What does not grow with the picture hardly shows here, so a share of it is allowed: most to
    # packed patches, of which a group is decoded at a time.
    share = 64 if store != "packed" else 32 if layout == "channels" else 8
    assert peak <= sample * samples + byte * len(data) + (fixed << 20) / share


@pytest.mark.parametrize(("height", "width"), [(1, 60_000), (60_000, 1), (30_000, 2)])
def test_thin_pictures_take_so_much_for_each_row_and_column_and_no_more(height, width):
    A = picture("L", height, width)
    target = Target("rank", 2)
    made = codec.encode(A, target, layout="channels", store="packed").parts
    data = lrk_format.serialize(made)
    sample, byte, fixed = documented(MEMORY)
    (side,) = documented(r"layout channels (\d+) more for each row and column of each channel")
    most = sample * height * width + byte * len(data) + side * (height + width)
    assert peak_of_decoding(data) <= most + (fixed << 20) / 16
    assert side * (height + width) > (fixed << 20) / 8  # it is not the rest that holds this


def test_the_filter_takes_little_more_for_a_thin_plane_than_for_another():
    def peak(shape):
        plane = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        smoothing.Filter(plane[:8], 1.0).apply(4)  # its tables
        tracemalloc.start()
        try:
            smoothing.Filter(plane, 1.0).apply(4)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak((20_000, 1)) < 2 * peak((141, 142))
    assert peak((6_000, 3)) < 2 * peak((141, 142))


@pytest.mark.parametrize("name", ["large-float16", "large-patches-packed", "large-channels-packed"])
def test_the_limit_on_pixels_is_checked_before_memory_is_taken(name):
    data = data_of(name)
    tracemalloc.start()
    try:
        with pytest.raises(LowrankError, match="more than the limit of 126118"):
            lrk_format.parse(data, name="x", max_pixels=301 * 419 - 1)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


# -- what is asked for before it is taken -----------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(1, 10**7), (10**7, 1), (17, 10**6)])
def test_whole_patches_count_against_the_limit_on_pixels(width, height):
    pixels = width * height
    thin = lrk(head(width, height, layout=1), chunk(b"SIGM"), DONE)
    with pytest.raises(LimitError, match="in whole patches, more than the limit"):
        lrk_format.parse(thin, name="x", max_pixels=pixels)
    lrk_format.parse(thin, name="x", max_pixels=16 * pixels)
    plain = lrk(head(width, height), chunk(b"SIGM"), DONE)
    lrk_format.parse(plain, name="x", max_pixels=pixels)


@pytest.mark.parametrize(
    ("frames", "width", "height"), [(1, 10**6, 1), (10, 1, 10**5), (3, 17, 10**6)]
)
def test_whole_patches_of_packed_stacks_count_too(frames, width, height):
    fields = struct.pack("<IIBBBBI", width, height, 1, 2, 3, 0, frames)
    fields += struct.pack("<HHHHH", 1, 1, 1, 1, 1)
    data = lrk(chunk(b"HEAD", fields), chunk(b"PACK", b""), DONE)
    pixels = width * height
    with pytest.raises(LimitError, match="in whole patches, more than the limit"):
        lrk_format.parse(data, name="x", max_pixels=pixels)
    lrk_format.parse(data, name="x", max_pixels=16 * pixels)


@pytest.mark.parametrize("shape", [(8, 32, 32), (24, 16, 16), (3, 32, 32, 3), (5, 1, 700)])
def test_decoding_a_packed_stack_takes_no_more_memory_than_is_documented(shape):
    A = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    data = lowrank.compress(A, stack=True, quality=60).to_bytes()
    sample, byte, fixed = documented(MEMORY)
    _, height, width = shape[:3]
    samples = A.size // (height * width) * (height + -height % 16) * (width + -width % 16)
    # Some planes are rendered at a time, with tables of a megabyte and a half in all.
    assert peak_of_decoding(data) <= sample * samples + byte * len(data) + (fixed << 20) / 16


def test_what_padding_adds_to_a_picture_of_ordinary_sides_is_no_reason_to_refuse_it():
    for side in (1, 17, 255, 257, 13377):
        square = lrk(head(side, side, layout=1), chunk(b"SIGM"), DONE)
        lrk_format.parse(square, name="x", max_pixels=side * side)


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("mode", [1, 3])
def test_a_rank_of_zero_is_zeros_at_once(layout, mode):
    none = ((0, 0.0, 0.0, 0.0),) * (3 if mode == 3 else 1)
    if layout == 1 and mode == 3:
        fields = struct.pack("<IIBBBBbbb", 6000, 4000, 3, 1, 0, 0, 5, 6, 7)
        first = chunk(b"HEAD", fields + b"".join(struct.pack("<Iddd", *x) for x in none))
    else:
        first = head(6000, 4000, mode=mode, layout=layout, matrices=none)
    parts = lrk_format.parse(lrk(first, chunk(b"SIGM"), DONE), name="x", max_pixels=1 << 25)
    samples = codec.decode(parts).picture.samples
    assert samples.shape[:2] == (4000, 6000)
    assert not samples[::400].any()


def claims_terms(width, height, terms):
    """A packed file of layout channels: so many terms, and nothing behind the header."""
    made = Header(1.0, None, False, None, (0, 0), 1 << 14, (0,), [(0, 0)], (0,) * terms)
    payload = write_header(made, 16 * 1024, 1) + bytes([0, 0, 1, 0]) * (1 << 14) + bytes(1 << 16)
    return packed(width, height, payload, layout=0, rank=terms)


@pytest.mark.parametrize(("width", "height", "terms"), [(13000, 13000, 5000), (9000, 9000, 4000)])
def test_more_work_than_the_limits_allow_is_refused_before_it_is_done(width, height, terms):
    assert (
        terms * (width + height) > limits.MAX_COEFFICIENTS
        or terms * width * height > limits.MAX_PRODUCTS
    )
    data = claims_terms(width, height, terms)
    parts = lrk_format.parse(data, name="big.lrk", max_pixels=DEFAULT_MAX_PIXELS)
    with pytest.raises(LimitError, match=r"more work than the limit allows, in big\.lrk"):
        codec.decode(parts)


def test_the_limits_on_work_are_those_that_are_documented():
    text = " ".join((ROOT / "SECURITY.md").read_text(encoding="utf-8").split())
    assert f"more than {limits.MAX_COEFFICIENTS:,} coefficients" in text
    assert f"or 2^{limits.MAX_PRODUCTS.bit_length() - 1} products" in text
    whole = limits.STACK * limits.MAX_PRODUCTS
    assert f"a packed stack for more than 2^{whole.bit_length() - 1} products" in text


def test_a_packed_stack_that_asks_for_more_work_than_the_limit_is_refused(monkeypatch):
    y, x = np.mgrid[:20, :30]
    frames = np.stack([120 + 40 * np.sin(t / 2) * np.cos(x / 5) + y for t in range(9)])
    image = lowrank.compress(np.rint(frames).astype(np.uint8), stack=True, quality=60)
    (k,) = image.ranks
    needed = k * frames.size
    for most, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(frames_codec, "MAX_PRODUCTS", most / limits.STACK)
        parts = lrk_format.parse(image.to_bytes(), name="x.lrk", max_pixels=1000)
        if fits:
            assert codec.decode(parts).picture.samples.shape[:3] == frames.shape
        else:
            with pytest.raises(LimitError, match=r"more work than the limit allows, in x\.lrk"):
                codec.decode(parts)


@pytest.mark.parametrize(("height", "width"), [(33, 50), (17, 100), (64, 64)])
def test_layout_patches_has_no_more_coefficients_than_samples(height, width):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    made = codec.encode(
        Picture(noise, MODES["RGB"]), Target("quality", 100), layout="patches", store="packed"
    ).parts
    outline = patches_codec.outline(made.body.payload, noise.shape)
    padded = height + -height % 16, width + -width % 16
    # A component of a channel is a coefficient of each patch.
    coefficients = sum(outline.components) * (padded[0] // 16) * (padded[1] // 16)
    assert 0.1 * math.prod(padded) < coefficients / 3 <= math.prod(padded)


def test_a_float_file_holds_every_number_that_is_multiplied():
    parts = codec.encode(
        picture("L", 40, 60), Target("rank", 7), layout="channels", store="float16"
    ).parts
    data = lrk_format.serialize(parts)
    assert len(data) > 2 * 7 * (40 + 60)
    (f,) = parts.body.factors
    assert (f.U.shape, f.Vt.shape) == ((40, 7), (7, 60))


def test_shapes_that_a_file_chooses_leave_nothing_behind():
    data = [claims_terms(4096 + 16 * i, 1, 1) for i in range(8)]
    kept = []
    for one in (data[0], *data):
        codec.decode(lrk_format.parse(one, name="x", max_pixels=1 << 20))
        gc.collect()
        if not tracemalloc.is_tracing():
            tracemalloc.start()
        kept.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert kept[-1] - kept[1] < 100_000


@pytest.mark.parametrize("kind", ["v1", "v2", "host"])
def test_memory_is_compared_with_the_machine_and_with_its_container(monkeypatch, kind):
    files = {"/proc/meminfo": ["MemTotal: 9 kB\n", "MemAvailable: 1048576 kB\n"]}
    if kind == "v2":
        files["/proc/self/cgroup"] = ["0::/box\n"]
        files["/sys/fs/cgroup/box/memory.max"] = ["300000000\n"]
        files["/sys/fs/cgroup/box/memory.current"] = ["100000000\n"]
        files["/sys/fs/cgroup/memory.max"] = ["max\n"]
    if kind == "v1":
        files["/proc/self/cgroup"] = ["5:devices:/\n", "4:memory:/elsewhere\n"]
        files["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = ["300000000\n"]
        files["/sys/fs/cgroup/memory/memory.usage_in_bytes"] = ["100000000\n"]
    monkeypatch.setattr(limits, "_lines", lambda path: files.get(path, []))
    room = 1 << 30 if kind == "host" else 200_000_000
    assert limits.fits(room)
    assert not limits.fits(room + 1)
    monkeypatch.setattr(limits, "_lines", lambda path: [])
    assert limits.fits(1 << 60)  # nothing says what is there


@pytest.mark.parametrize("layout", ["channels", "patches"])
@pytest.mark.parametrize("store", ["float16", "packed"])
def test_a_picture_that_does_not_fit_is_one_line(monkeypatch, layout, store):
    flat = Picture(np.full((64, 64, 1), 77, np.uint8), MODES["L"])
    target = Target("quality", 50) if store == "packed" else Target("rank", 1)
    parts = codec.encode(flat, target, layout=layout, store=store).parts
    monkeypatch.setattr(limits, "_SMALL", 0)
    monkeypatch.setattr(limits, "_available", lambda: iter([1000]))
    with pytest.raises(LimitError, match="not enough memory for an image of 64x64 pixels"):
        codec.decode(parts)
