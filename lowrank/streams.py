"""Files as callers give them: by name, as bytes, or open; read and written whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from lowrank import files
from lowrank.errors import FileError, UsageError

FileLike = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
Target = str | os.PathLike[str] | IO[bytes]

BYTES, OBJECT = "the file given as bytes", "the file object"
"""What messages call a file without a path."""


def read(source: FileLike) -> tuple[bytes, str]:
    """Return the bytes of a file, and what messages call it: `BYTES`, `OBJECT`, or its path.

    Raises
    ------
    FileError
        It cannot be read.
    UsageError
        It is no file, closed, or gives text.
    """
    if isinstance(source, str | os.PathLike):
        name = named(source)
        return files.read_bytes(name), name
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), BYTES
    if not hasattr(source, "read"):
        raise UsageError(f"{type(source).__name__} is no file; give a path, bytes or a file object")
    path = getattr(source, "name", None)
    name = path if isinstance(path, str) else OBJECT
    data: object = _asked(source.read, "read", name)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise UsageError("the file object gives text; open it in binary mode, 'rb'")
    return bytes(data), name


def write(target: Target, data: bytes, *, force: bool) -> None:
    """Write a file: by its name whole or not at all, else into what is open.

    Raises
    ------
    FileError
        It cannot be written, or exists and `force` is false.
    UsageError
        It is no file, closed, or takes text.
    """
    if isinstance(target, str | os.PathLike):
        files.write_atomic(named(target), data, force=force)
        return
    if not hasattr(target, "write"):
        raise UsageError(f"{type(target).__name__} is no file; give a path or a file object")
    left = memoryview(data)
    while left:  # a raw file may take it in pieces
        written = _asked(partial(target.write, left), "write", OBJECT)
        left = left[written if isinstance(written, int) else len(left) :]


def named(path: str | os.PathLike[str]) -> str:
    """Return a path as a string; `-` is a file of that name here, not standard input."""
    name = os.fsdecode(path)
    return os.path.join(os.curdir, name) if name == "-" else name


def _asked(act: Callable[[], Any], verb: str, name: str) -> Any:
    """What a file object gives; its refusals are ours."""
    try:
        return act()
    except (TypeError, ValueError) as error:  # text, closed, or of the other direction
        raise UsageError(
            f"cannot {verb} {name} ({error}); give a file that is open in binary mode"
        ) from error
    except OSError as error:
        raise FileError(f"cannot {verb} {name}: {error.strerror or error}") from error
