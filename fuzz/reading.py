"""What the fuzzers do with a file: all that can be done with it, in bounded time and memory."""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from lowrank import codec
from lowrank import format as lrk
from lowrank.errors import LowrankError, UsageError
from lowrank.picture import Source
from lowrank.report import measure
from lowrank.targets import Target
from lowrank.views import as_json

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
MAX_PIXELS = 1 << 14
HANG = 5
"""Seconds of processor time that no file may take."""
SLACK = 12
"""How much longer it may take by the clock, on a busy machine or where it waits."""
MEMORY = 128
"""MiB that files of `MAX_PIXELS` may take beyond what was there before. A picture of one row
has 16 times the samples when it is padded to patches, and measuring takes more than decoding."""


class Hang(BaseException):
    """A file took too long; no `except Exception` swallows it."""


def seeds(folders: list[Path], largest: int) -> list[bytes]:
    """Return the `.lrk` files of some folders, but for those of more than `largest` bytes."""
    found = [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.lrk"))]
    small = [data for data in found if len(data) <= largest]
    if not small:
        raise SystemExit(f"no .lrk files of at most {largest} bytes in {folders}")
    return small


def read(data: bytes, *, partial: bool) -> str:
    """Do with a file all that can be done with it; return what became of it."""
    try:
        parts = lrk.parse(data, name="mutant", max_pixels=MAX_PIXELS, partial=partial)
    except LowrankError as error:
        return type(error).__name__
    try:
        head = parts.head
        picture = codec.decode(parts).picture
        codec.decode(parts, rank=1)
        facts = measure.file_facts("mutant", parts, len(data))
        source = Source("picture", "PNG", head.mode.name, head.width, head.height, 1)
        reports = [
            measure.stated(parts, file=facts),
            measure.measure(picture, parts, source=source, file=facts, file_bytes=len(data)),
        ]
        for report in reports:
            as_json.dumps(report.to_dict())
        with contextlib.suppress(UsageError):  # a packed file is not shortened, nor a cut one saved
            written = lrk.serialize(parts)
            codec.decode(lrk.parse(written, name="written", max_pixels=MAX_PIXELS))
            shorter = lrk.serialize(codec.shorten(parts, Target("rank", 1)))
            lrk.parse(shorter, name="shorter", max_pixels=MAX_PIXELS)
    except LowrankError as error:
        return f"decoding {head.store}: {type(error).__name__}"
    return f"decoded {head.layout} {head.store}"


@contextlib.contextmanager
def limited(seconds: float = HANG) -> Iterator[None]:
    """Raise `Hang` where what is done inside takes more seconds of processor time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, SLACK * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def watch() -> None:
    """Let `limited` work: its two clocks raise `Hang`."""
    signal.signal(signal.SIGPROF, _hangs)
    signal.signal(signal.SIGALRM, _hangs)


def _hangs(signum: int, frame: FrameType | None) -> None:
    raise Hang("too much processor time" if signum == signal.SIGPROF else "too long by the clock")


def memory() -> float:
    """Peak memory of this process so far, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
