"""Arrays on object stores, by the URLs of fsspec: the extra `cloud`.

Lines of a `.npy` are asked for as ranges of bytes, whole ones and some at a time: a store takes
as long for a few bytes as for some megabytes.
"""

from __future__ import annotations

import shutil
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FileError, ImageError, UsageError
from lowrank.io import npy
from lowrank.io.matrices import InFile
from lowrank.io.wall import one_line

# What stores raise where something is not there, or not allowed.
_FAILURES = (OSError, ValueError, TypeError, ImportError, RuntimeError, LookupError)


def is_url(path: str) -> bool:
    """Whether a path is one of fsspec's: s3://bucket/name."""
    return "://" in path


def _store(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise UsageError(
            f"{url} needs an extra: pip install 'lowrank-image[cloud]', and what fsspec needs for "
            "such a store"
        ) from None
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except _FAILURES as cause:
        raise _failure("reach", url, cause) from cause
    return found


def _failure(verb: str, url: str, cause: BaseException) -> FileError:
    why = f"{type(cause).__name__}: {one_line(cause)}"
    return FileError(f"cannot {verb} {url} ({why}); check the address and the permissions")


class InStore(InFile):
    """Lines of samples in an object, as `InFile` has them in a file; whole ones only."""

    def __init__(
        self, url: str, dtype: np.dtype[Any], starts: NDArray[np.int64], length: int,
        transposed: bool = False,
    ) -> None:  # fmt: skip
        store, name = _store(url)
        super().__init__(url, dtype, starts, length, transposed, identity=str(store.info(name)))
        self.only_rows = not transposed

    def _read(self, starts: Any, out: Any) -> Any:
        store, name = _store(self.path)
        lines = out.view(np.uint8).reshape(len(out), -1)
        size = lines.shape[1]
        begins = [int(at) for at in starts]
        try:
            found = store.cat_ranges([name] * len(begins), begins, [at + size for at in begins])
        except _FAILURES as cause:
            raise _failure("read", self.path, cause) from cause
        for line, data in zip(lines, found, strict=True):
            if not isinstance(data, bytes) or len(data) < size:
                raise ImageError(f"{self.path} ends before its samples do; get it again")
            line[:] = np.frombuffer(data, np.uint8, size)
        return out


def described(url: str) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """What `npy.described` says of a `.npy` file, of one in a store."""
    store, name = _store(url)
    try:
        size = int(store.size(name))
        stream = store.open(name, "rb")
    except _FAILURES as cause:
        raise _failure("read", url, cause) from cause
    with stream:
        return npy.described_in(stream, size, url)


def size(url: str) -> int:
    """Bytes of an object."""
    store, name = _store(url)
    return int(store.size(name))


def check_output(url: str, *, force: bool) -> None:
    """Refuse early an object that is there already."""
    store, name = _store(url)
    try:
        there = store.exists(name)
    except _FAILURES as cause:
        raise _failure("reach", url, cause) from cause
    if there and not force:
        raise FileError(f"{url} exists; -f replaces it")


def put(url: str, stream: BinaryIO) -> None:
    """Write an object from a file; stores show it once it is whole."""
    store, name = _store(url)
    try:
        with store.open(name, "wb") as target:
            shutil.copyfileobj(stream, target, 1 << 24)
    except _FAILURES as cause:
        raise _failure("write", url, cause) from cause
