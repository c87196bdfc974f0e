"""What the fuzzers do with a file: all that can be done with it, in bounded time and memory.

The bounds are those of SECURITY.md, in proportion to a file's bytes and, once its header has
been believed, to the samples and the work that it claims.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import numpy as np

import lowrank
from lowrank import codec
from lowrank import format as lrk
from lowrank.errors import LowrankError, UsageError
from lowrank.format.parts import PATCH, Parts
from lowrank.picture import Picture, Source
from lowrank.report import measure
from lowrank.targets import Target
from lowrank.views import as_json

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
MAX_PIXELS = 1 << 14
HANG = 5
"""Seconds of processor time that a foreign image may take to be read."""
SLACK = 12
"""How much longer it may take by the clock, on a busy machine or where it waits."""
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_MMAP_THRESHOLD = -3


class Hang(BaseException):
    """A file took too long; no `except Exception` swallows it."""


class ExcessError(Exception):
    """A file took more memory than it may."""


class Claim(NamedTuple):
    """What a file makes of its reader.

    Attributes
    ----------
    bytes : int
        Of the file.
    samples : int
        Of the picture; in layout `patches`, and of a packed stack, in whole patches.
    coefficients, products : int
        k (m + n) and k m n of each matrix, k its rank as stated.
    sides : int
        Rows and columns of all channels, of a packed file of layout `channels`.
    batches : int
        Of a packed stack: its components come in so many batches, however small it is.
    """

    bytes: int
    samples: int = 0
    coefficients: int = 0
    products: int = 0
    sides: int = 0
    batches: int = 0

    def of(self, parts: Parts) -> Claim:
        """The same with what the header says."""
        head = parts.head
        m, n = head.shape
        samples = head.matrices * m * (PATCH * PATCH if head.layout == "patches" else n)
        batches = 0
        if head.layout == "stack" and head.store == "packed":
            batches = 2 * PATCH * PATCH
            sides = head.height + -head.height % PATCH, head.width + -head.width % PATCH
            samples = m * len(head.mode.channels) * sides[0] * sides[1]
        total = sum(parts.ranks)
        thin = head.layout == "channels" and head.store == "packed"
        rows = head.matrices * (m + n) * thin
        return Claim(self.bytes, samples, total * (m + n), total * m * n, rows, batches)

    @property
    def seconds(self) -> float:
        """Processor time that decoding may take: many times what it does take."""
        sizes = self.bytes + self.samples + self.coefficients
        return 0.25 + 2e-5 * sizes + 1e-9 * self.products + 1e-3 * self.batches

    @property
    def room(self) -> int:
        """Bytes of memory that decoding may take, beyond libraries and tables, which are there."""
        return (8 << 20) + 8 * self.bytes + 64 * self.samples + 160 * self.sides


Bound = Callable[[Claim, int], contextlib.AbstractContextManager[None]]
"""Gives a context in which so many times as much may be taken as a file of a claim may."""
WHOLE = 4
"""How many times as much all that may take which `read` does after decoding: it decodes again,
decomposes the picture, and writes and reads the file."""


def seeds(folders: list[Path], largest: int) -> list[bytes]:
    """Return the `.lrk` files of some folders, but for those of more than `largest` bytes."""
    found = [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.lrk"))]
    small = [data for data in found if len(data) <= largest]
    if not small:
        raise SystemExit(f"no .lrk files of at most {largest} bytes in {folders}")
    return small


def stacks() -> list[bytes]:
    """Return files of small stacks, of grey and of coloured frames, in several stores."""
    t, y, x, c = np.ogrid[:7, :9, :11, :3]
    A = (120 + 60 * np.sin(t + x / 3) * np.cos(y / 2 + c) + 30 * ((x > t) & (y > 2))).astype(
        np.uint8
    )
    found = []
    for frames in (A, A[..., 0]):
        for wish in ({"rank": 3}, {"rank": 2, "store": "float64"}, {"quality": 60}):
            with contextlib.suppress(UsageError):  # a store that has no stacks yet
                found.append(lowrank.compress(frames, stack=True, **wish).to_bytes())
    return found


def warm(data: list[bytes]) -> None:
    """Read a file of each layout and store: what is loaded late is no file's fault."""
    for one in {x[26:28]: x for x in data}.values():
        read(one, partial=False)


@contextlib.contextmanager
def unbounded(claim: Claim, times: int) -> Iterator[None]:
    """Watch nothing."""
    yield


@contextlib.contextmanager
def bounded(claim: Claim, times: int) -> Iterator[None]:
    """Raise `Hang` or `ExcessError` where more is taken than `times` what the claim allows."""
    before = _forget_peak()
    try:
        with limited(times * claim.seconds):
            yield
    finally:
        if before is not None and (taken := _peak() - before) > times * claim.room:
            raise ExcessError(f"{taken:,} bytes of memory, of {times * claim.room:,}, for {claim}")


def read(data: bytes, *, partial: bool, thorough: bool = True, bound: Bound = unbounded) -> str:
    """Do with a file all that can be done with it; return what became of it.

    Parameters
    ----------
    data : bytes
    partial : bool
        Take what is whole of a file that is cut or damaged.
    thorough : bool
        Decode it, report on it, shorten it and write it again; only decode it otherwise.
    bound : callable
        Gives a context for what is done, from the claim of the file: `bounded`, or `unbounded`.
    """
    claim = Claim(len(data))
    try:
        with bound(claim, 1):
            parts = lrk.parse(data, name="mutant", max_pixels=MAX_PIXELS, partial=partial)
    except LowrankError as error:
        return type(error).__name__
    claim, head = claim.of(parts), parts.head
    try:
        with bound(claim, 1):
            picture = codec.decode(parts).picture
        if thorough:
            with bound(claim, WHOLE):
                _use(parts, picture, len(data))
    except LowrankError as error:
        return f"decoding {head.store}: {type(error).__name__}"
    return f"decoded {head.layout} {head.store}"


def _use(parts: Parts, picture: Picture, size: int) -> None:
    """Do what is done with files beside decoding them."""
    head = parts.head
    codec.decode(parts, rank=1)
    facts = measure.file_facts("mutant", parts, size)
    source = Source("picture", "PNG", head.mode.name, head.width, head.height, 1)
    reports = [
        measure.stated(parts, file=facts),
        measure.measure(picture, parts, source=source, file=facts, file_bytes=size),
    ]
    for report in reports:
        as_json.dumps(report.to_dict())
    with contextlib.suppress(UsageError):  # a packed file is not shortened, nor a cut one saved
        written = lrk.serialize(parts)
        codec.decode(lrk.parse(written, name="written", max_pixels=MAX_PIXELS))
        shorter = lrk.serialize(codec.shorten(parts, Target("rank", 1)))
        lrk.parse(shorter, name="shorter", max_pixels=MAX_PIXELS)


@contextlib.contextmanager
def limited(seconds: float = HANG) -> Iterator[None]:
    """Raise `Hang` where what is done inside takes more seconds of processor time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, SLACK * max(seconds, HANG))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def watch() -> None:
    """Let `bounded` and `limited` work: two clocks raise `Hang`."""
    signal.signal(signal.SIGPROF, _hangs)
    signal.signal(signal.SIGALRM, _hangs)
    if hasattr(_LIBC, "mallopt"):  # glibc keeps what was freed: peaks would hide in it
        _LIBC.mallopt(_MMAP_THRESHOLD, 1 << 17)


def _hangs(signum: int, frame: FrameType | None) -> None:
    raise Hang("too much processor time" if signum == signal.SIGPROF else "too long by the clock")


def memory() -> float:
    """Peak memory of this process so far, or since it was last forgotten, in MiB."""
    return _peak() / 2**20


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _forget_peak() -> int | None:
    """Memory taken now, from which the next peak counts; None where no system tells."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
    try:
        with open("/proc/self/clear_refs", "wb", buffering=0) as file:
            file.write(b"5\n")
    except OSError:
        return None
    return _peak()
