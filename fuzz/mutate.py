"""Read damaged `.lrk` files and see that only LowrankError escapes.

    python fuzz/mutate.py --seconds 600

Every golden file is a seed. A mutant is a seed after one to three random mutations; in
every other one the checksums are made to hold again, so that the damage reaches what
lies behind them. Each is read whole and as a file that may end early; what can be read
is decoded, reported on and shortened. The run is repeated exactly by its `--seed`.
"""

from __future__ import annotations

import argparse
import resource
import signal
import struct
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np

from lowrank import bounds, codec, truncation
from lowrank import format as lrk
from lowrank.bounds import File
from lowrank.errors import LowrankError
from lowrank.rank import Target
from lowrank.views import as_json

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
MAX_PIXELS = 1 << 16
HANG = 5  # seconds that no file may take

_WORDS = (0, 1, 2, 7, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
_FLOATS = (0.0, -0.0, -1.0, 1.0, 1e-320, 1e48, 1e49, 1e308, float("inf"), float("nan"))


class Hang(BaseException):
    """A file took too long; no `except Exception` swallows it."""


def mutants(seeds: list[bytes], rng: np.random.Generator) -> Iterator[bytes]:
    """Yield mutants of the seeds without end; in every other one the checksums hold."""
    mended = False
    while True:
        data = bytearray(seeds[rng.integers(len(seeds))])
        for _ in range(rng.integers(1, 4)):
            mutation = _MUTATIONS[rng.integers(len(_MUTATIONS))]
            data = mutation(data, seeds, rng)
        yield mend(data) if mended else bytes(data)
        mended = not mended


def mend(data: bytearray) -> bytes:
    """Make the checksum of every chunk hold, as far as chunks can be told apart."""
    for at, end in _spans(data):
        struct.pack_into("<I", data, end, zlib.crc32(data[at + 4 : end]))
    return bytes(data)


def _spans(data: bytearray) -> list[tuple[int, int]]:
    """Offsets of each whole chunk, and of the checksum at its end."""
    found, at = [], 9
    while at + 12 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        if at + 12 + size > len(data):
            break
        found.append((at, at + 8 + size))
        at += 12 + size
    return found


def _at(data: bytearray, rng: np.random.Generator, size: int = 1) -> int:
    """Choose an offset; the header, where every field means something, is hit as often as not."""
    end = max(len(data) - size + 1, 1)
    return int(rng.integers(min(end, 140) if rng.integers(2) else end))


def _flip(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    for _ in range(rng.integers(1, 9) if data else 0):
        data[_at(data, rng)] ^= 1 << int(rng.integers(8))
    return data


def _word(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    if len(data) >= 4:
        struct.pack_into("<I", data, _at(data, rng, 4), _WORDS[rng.integers(len(_WORDS))])
    return data


def _float(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    if len(data) >= 8:
        struct.pack_into("<d", data, _at(data, rng, 8), _FLOATS[rng.integers(len(_FLOATS))])
    return data


def _content(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    """Change a few bits inside a chunk: mended, most of these are read to the end."""
    spans = [(at + 8, end) for at, end in _spans(data) if end > at + 8]
    if spans:
        start, end = spans[rng.integers(len(spans))]
        for _ in range(rng.integers(1, 9)):
            data[rng.integers(start, end)] ^= 1 << int(rng.integers(8))
    return data


def _noise(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    at = _at(data, rng)
    data[at : at + int(rng.integers(1, 40))] = rng.bytes(int(rng.integers(1, 40)))
    return data


def _cut(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    return data[: _at(data, rng)]


def _splice(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    other = seeds[rng.integers(len(seeds))]
    at = _at(data, rng)
    return data[:at] + other[at if rng.integers(2) else int(rng.integers(len(other) + 1)) :]


def _chunks(data: bytearray, seeds: list[bytes], rng: np.random.Generator) -> bytearray:
    """Drop, double, swap, shorten, lengthen or empty a chunk."""
    spans = _spans(data)
    if not spans:
        return data
    found = [(data[at + 4 : at + 8], data[at + 8 : end]) for at, end in spans]
    i, j = (int(rng.integers(len(found))) for _ in range(2))
    kind, content = found[i]
    match int(rng.integers(6)):
        case 0:
            del found[i]
        case 1:
            found.insert(j, found[i])
        case 2:
            found[i], found[j] = found[j], found[i]
        case 3:
            found[i] = kind, content[: int(rng.integers(len(content) + 1))]
        case 4:
            found[i] = kind, content + rng.bytes(int(rng.integers(1, 20)))
        case 5:
            found[i] = kind, bytearray()
    out = data[:9]
    for kind, content in found:
        body = kind + content
        out += struct.pack("<I", len(content)) + body + struct.pack("<I", zlib.crc32(body))
    return out + data[spans[-1][1] + 4 :]


_MUTATIONS = (
    _flip, _word, _float, _noise, _cut, _splice, _chunks, _content, _content, _content,
)  # fmt: skip


def read(data: bytes, *, partial: bool) -> str:
    """Do with a file all that can be done with it; return what became of it."""
    try:
        parts = lrk.parse(data, name="mutant", max_pixels=MAX_PIXELS, partial=partial)
    except LowrankError as error:
        return type(error).__name__
    try:
        codec.decode(parts)
        codec.decode(parts, rank=1)
        facts = File("mutant", len(data), parts.layout, parts.store, 1.0)
        as_json.dumps(as_json.report_object(bounds.stated(parts, file=facts)))
        if parts.store != "packed":  # of which only a prefix can be decoded
            shorter = lrk.serialize(truncation.truncate(parts, Target("rank", 1)))
            lrk.parse(shorter, name="shorter", max_pixels=MAX_PIXELS)
    except LowrankError as error:
        return f"decoding: {type(error).__name__}"
    return "decoded"


def seeds() -> list[bytes]:
    """Return the golden files."""
    found = [path.read_bytes() for path in sorted(GOLDEN.glob("*.lrk"))]
    if not found:
        raise SystemExit(f"no golden files in {GOLDEN}")
    return found


def _hangs(signum: int, frame: FrameType | None) -> None:
    raise Hang(f"a file took more than {HANG} seconds")


def main() -> int:
    """Fuzz for a time; print the counts; exit with 1 if anything foreign escaped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    warnings.simplefilter("error")  # numpy's, too, are a defect
    signal.signal(signal.SIGALRM, _hangs)
    counts: Counter[str] = Counter()
    escaped = number = 0
    end = time.monotonic() + options.seconds
    files = mutants(seeds(), np.random.default_rng(options.seed))
    while time.monotonic() < end:
        data, number = next(files), number + 1
        for partial in (False, True):
            signal.setitimer(signal.ITIMER_REAL, HANG)
            try:
                counts[read(data, partial=partial)] += 1
            except (Exception, Hang) as error:
                options.keep.mkdir(exist_ok=True)
                path = options.keep / f"{options.seed}-{number}.lrk"
                path.write_bytes(data)
                sys.stderr.write(f"{path}: {type(error).__name__}: {error}\n")
                escaped += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    out = [f"{2 * number:,} reads of {number:,} mutants, {counts['decoded']:,} full decodes"]
    out += [f"  {count:>10,}  {what}" for what, count in counts.most_common()]
    out += [f"{escaped} escaped; peak memory {memory} MB"]
    sys.stdout.write("\n".join(out) + "\n")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
