"""Limits that reading a file must keep, whatever the file claims."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterator
from typing import Any

DEFAULT_MAX_PIXELS = 178_956_970
"""Pixels of one image: where Pillow itself stops, 512 MiB of RGB samples."""

MAX_BYTES = 1 << 33
"""Largest input that is read whole, 8 GiB: beyond it a wrong path is likelier than an image."""

STACK = 16
"""Times the limit on pixels that the frames of a stack may hold together: 10,000 of 512 x 512."""
FRAME = 1 << 10
"""Pixels that a frame counts as, at least, among them: each is some work, however small it is."""

PADDING = 4
"""Layout `patches` fills up both sides to whole patches: that may add a quarter of the limit on
pixels (and `PATCHES` of them), so that a picture of one row does not take 16 times the limit."""
PATCHES = 1 << 16

MAX_PRODUCTS = 1 << 38
"""Multiplications, k m n of each matrix, that a packed file of layout `channels` may ask for, and
`STACK` times as many one of layout `stack`: a few bytes may claim the rank min(m, n), at the
limit on pixels minutes of work. A picture of 4096 x 4096 of full rank needs a quarter of them."""

MAX_COEFFICIENTS = 1 << 26
"""Coefficients, k (m + n) of each matrix, of a file of layout `channels`: each takes about a
microsecond. The other packed layouts have no more of them than samples in their planes."""

_SMALL = 1 << 26  # bytes that are taken without asking

MAX_METADATA_BYTES = 1 << 28
"""Bytes of one block of metadata that is read before the image is: EXIF and ICC stay far below."""


def stack_fits(frames: int, pixels: int, max_pixels: int) -> bool:
    """Whether frames of so many pixels each are within the limit."""
    return pixels <= max_pixels and frames * max(pixels, FRAME) <= STACK * max_pixels


def fits(needed: int) -> bool:
    """Whether so many bytes are there, in the machine and in the container of this process.

    Asked before much is taken: where memory is promised beyond what is there, the process that
    uses it is killed outright. Only Linux says what is there; elsewhere everything fits.
    """
    return needed < _SMALL or all(needed <= there for there in _available())


LARGE = 1 << 28
"""Bytes of samples from which a float file is made in passes over them, 256 MiB."""
_UNKNOWN = 1 << 32  # bytes of memory, where no one says how many there are


def half() -> int:
    """Half of the memory that is there for this process, in bytes."""
    return min(_available(), default=_UNKNOWN) // 2


def give_back() -> None:
    """Give the system what is free: a C library keeps it, in pieces between what is still held.

    Where many small things are kept from between large ones that are not, that is as much again.
    """
    if sys.platform == "linux":
        import ctypes  # not on the way to anything small

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def let_go(array: Any) -> None:
    """Give back the memory of a file that numpy has mapped; it is read again where it is wanted.

    Of other maps, and of one whose changes are its own, nobody says that they can be read again.
    """
    base, mode = array, None
    while hasattr(base, "base"):
        base, mode = base.base, getattr(base, "mode", None)
    kept = mode in ("r", "r+", "w+")
    if kept and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _available() -> Iterator[int]:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) << 10
    for line in _lines("/proc/self/cgroup"):
        _, kinds, path = line.rstrip("\n").split(":", 2)
        if kinds == "":
            root, most, used = "/sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in kinds.split(","):
            root, most = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
            used = "memory.usage_in_bytes"
        else:
            continue
        # Inside a container its own group is often what is mounted as the root.
        for folder in {root, root + path.rstrip("/")}:
            numbers = [_lines(f"{folder}/{name}") for name in (most, used)]
            if all(x and x[0].strip().isdigit() for x in numbers):
                yield max(int(numbers[0][0]) - int(numbers[1][0]), 0)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readlines()
    except OSError:
        return []
