"""Whether a source is still what it was: its size, and marks that what is written anew has not."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from lowrank.errors import FileError
from lowrank.io import urls

State = tuple[dict[str, str], ...]
"""Of each of some files its size, and the marks by which one state is told from another."""


def of(names: Sequence[str]) -> State:
    """What files, arrays of zarr and URLs are now; standard input, devices, folders say nothing."""
    return tuple(map(_told, names))


def check(names: Sequence[str], before: State) -> None:
    """Refuse what was written to while it was read: what was made is of no state of it.

    Raises
    ------
    FileError
    """
    for name, was, now in zip(names, before, of(names), strict=True):
        if not _same(was, now):
            raise FileError(f"{name} changed while it was read; do it again when it is whole")


@contextmanager
def unchanged(*names: str) -> Iterator[None]:
    """Check what is read meanwhile."""
    before = of(names)
    yield
    check(names, before)


def _told(name: str) -> dict[str, str]:
    if urls.is_url(name):
        from lowrank.io import cloud  # loads http, which takes as long as Pillow

        return cloud.told(name)
    found = {} if name == "-" else _summed([name])
    if not found and os.path.isdir(name):
        from lowrank.io import zarr  # loads json, which no picture in a file needs

        walked = os.walk(name) if zarr.is_array(name) else ()
        found = _summed(os.path.join(base, file) for base, _, files in walked for file in files)
    return found


def _summed(paths: Iterable[str]) -> dict[str, str]:
    """Of files together; nothing of none."""
    found = []
    for path in paths:
        with suppress(OSError, ValueError):
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode):
                found.append(status)
    size, time = sum(x.st_size for x in found), sum(x.st_mtime_ns for x in found)
    return {"size": str(size), "mtime": str(time)} if found else {}


def _same(before: dict[str, str], now: dict[str, str]) -> bool:
    """Whether two states of a file are one, as is told of it: of its size and of one mark.

    Servers behind one address may each have marks of their own, or tell the time of the day; what
    is written anew has no mark that it had.
    """
    equal = {key for key in now if before.get(key) == now[key]}
    return before == now or ("size" in equal and len(equal) > 1)
