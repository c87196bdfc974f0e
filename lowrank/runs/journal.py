"""What passes gave, in a file: whoever starts again with it goes on where a run was killed.

All that is computed between passes is small and comes out the same; so the results of passes are
all that is kept, one record after the other, each with its checksum. A record that was not written
whole is the end of the file.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np

from lowrank.errors import FileError, UsageError

_SIGNATURE = b"lowrank passes 3\n"
_RECORD = struct.Struct("<IIIQI")  # pass, groups done, arrays, bytes, CRC-32
_EVERY = 20.0  # seconds between records in the middle of a pass


class Journal:
    """A file of passes.

    Parameters
    ----------
    path : str
        It is made where there is none, and goes on where there is one.
    key : str
        What tells the job from all others: source, shape, target.
    allowed : int
        Permission bits that it may have.

    Raises
    ------
    UsageError
        It is no such file, or that of another job.
    FileError
        It cannot be read or written.
    """

    def __init__(self, path: str, key: str, allowed: int = 0o777) -> None:
        self._path = path
        self._known: dict[int, tuple[int, list[Any]]] = {}
        self._last = time.monotonic()
        head = _SIGNATURE + hashlib.sha256(key.encode()).digest()
        try:
            size = os.path.getsize(path) if os.path.exists(path) else 0
            if not size:
                with open(path, "wb", opener=partial(os.open, mode=0o666 & allowed)) as stream:
                    stream.write(head)
                return
            with open(path, "rb") as stream:
                start = stream.read(len(head))
                if not start.startswith(_SIGNATURE):
                    raise UsageError(
                        f"--resume {path} is no file of passes; give another name, which is made"
                    )
                if start != head:
                    raise UsageError(
                        f"--resume {path} belongs to another source or target; delete it, or "
                        "give another name"
                    )
                whole = self._read(stream)
            with open(path, "r+b") as stream:
                stream.truncate(whole)
        except OSError as error:
            raise _failure(path, error) from error

    def _read(self, stream: Any) -> int:
        """Take the records that are whole; where they end."""
        whole = int(stream.tell())
        while len(fields := stream.read(_RECORD.size)) == _RECORD.size:
            number, done, arrays, size, crc = _RECORD.unpack(fields)
            data = stream.read(size)
            if len(data) < size or zlib.crc32(data) != crc:
                break
            body = BytesIO(data)
            self._known[number] = (
                done, [np.load(body, allow_pickle=False) for _ in range(arrays)],
            )  # fmt: skip
            whole = int(stream.tell())
        return whole

    def found(self, number: int) -> tuple[int, list[Any]] | None:
        """Groups of a pass that are done, and what they gave; None where nothing is known."""
        return self._known.pop(number, None)

    def keep(self, number: int, done: int, state: list[Any], *, last: bool) -> None:
        """Keep what a pass has given so far, at its end and now and then.

        Raises
        ------
        FileError
            It cannot be written.
        """
        now = time.monotonic()
        if not last and now - self._last < _EVERY:
            return
        body = BytesIO()
        for array in state:
            np.save(body, array)
        data = body.getvalue()
        record = _RECORD.pack(number, done, len(state), len(data), zlib.crc32(data))
        try:
            with open(self._path, "ab") as stream:
                stream.write(record + data)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise _failure(self._path, error) from error
        self._last = time.monotonic()

    def done(self) -> None:
        """Delete the file: what it was for is written. Another run with it may have done so."""
        try:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        except OSError as error:
            raise _failure(self._path, error) from error


def _failure(path: str, error: OSError) -> FileError:
    why = (error.strerror or type(error).__name__).lower()
    return FileError(f"cannot keep passes in {path}: {why}; give --resume another name")
