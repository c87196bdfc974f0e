"""Files on web servers, and on object stores by the URLs of fsspec: the extra `cloud`.

Lines of a `.npy` are asked for as ranges of bytes, whole ones and some at a time: a store takes
as long for a few bytes as for some megabytes. Anything else is brought here.
"""

from __future__ import annotations

import http.client
import os
import posixpath
import shutil
from io import BytesIO
from typing import Any, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

import numpy as np

from lowrank.errors import FileError, ImageError, UsageError, pip_install
from lowrank.io import npy
from lowrank.io.matrices import InFile
from lowrank.io.urls import only_read
from lowrank.io.wall import one_line
from lowrank.io.web import NoRangesError, Web
from lowrank.limits import MAX_BYTES

# What stores raise where something is not there, or not allowed.
_FAILURES = (
    OSError, ValueError, TypeError, ImportError, RuntimeError, LookupError,
    http.client.HTTPException,
)  # fmt: skip
_HEAD = (1 << 16) + 64  # bytes that hold the header of an array
_PIECE = 1 << 24  # bytes that are copied at a time
_MARKS = {"etag", "last-modified", "lastmodified", "last_modified", "modify", "mtime", "updated"}


def _store(url: str) -> tuple[Any, str]:
    if only_read(url):
        return Web(), url
    try:
        import fsspec
    except ImportError:
        raise UsageError(
            f"{url} needs an extra: {pip_install('cloud')}, and what fsspec needs for such a store"
        ) from None
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except ImportError as cause:  # fsspec says which package it wants for such a store
        raise UsageError(f"{url} needs one package more: {one_line(cause)}") from cause
    except _FAILURES as cause:
        raise _failure("reach", url, cause) from cause
    return found


def _failure(verb: str, url: str, cause: BaseException) -> FileError:
    return FileError(f"cannot {verb} {url} ({_why(cause)}); check the address and the permissions")


def _why(cause: BaseException) -> str:
    """The system's own word, or the server's; of what is no such failure its type as well."""
    if isinstance(cause, HTTPError):
        return f"the server says {cause.code}, {one_line(cause.reason)}"
    if isinstance(cause, URLError) and isinstance(cause.reason, OSError):
        cause = cause.reason
    if isinstance(cause, OSError) and cause.strerror:
        return one_line(cause.strerror)
    return f"{type(cause).__name__}: {one_line(cause)}"


class InStore(InFile):
    """Lines of samples in an object, as `InFile` has them in a file; whole ones only."""

    _in_pieces = False

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
            if isinstance(data, bytes) and len(data) > size:
                raise FileError(f"{self.path}: the store gives no ranges; copy the file here first")
            if not isinstance(data, bytes) or len(data) < size:
                raise ImageError(f"{self.path} ends before its samples do; get it again")
            line[:] = np.frombuffer(data, np.uint8, size)
        return out


def described(url: str) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """What `npy.described` says of a `.npy` file, of one in a store."""
    store, name = _store(url)
    try:
        size = int(store.size(name))
        head = store.cat_file(name, start=0, end=min(size, _HEAD))
    except _FAILURES as cause:
        raise _failure("read", url, cause) from cause
    return npy.described_in(BytesIO(head), size, url)


def gives_ranges(url: str) -> bool:
    """Whether parts of a file can be read without the rest.

    Raises
    ------
    FileError
        It cannot be read at all.
    """
    store, name = _store(url)
    try:
        return len(store.cat_file(name, start=1, end=2)) == 1
    except NoRangesError:
        return False
    except _FAILURES as cause:
        raise _failure("read", url, cause) from cause


def read(url: str) -> bytes:
    """Read a file whole.

    Raises
    ------
    FileError
        It cannot be read, or is larger than files here may be.
    """
    store, name = _store(url)
    found = BytesIO()
    try:
        with store.open(name, "rb") as stream:
            while found.tell() <= MAX_BYTES and (piece := stream.read(_PIECE)):
                found.write(piece)
    except _FAILURES as cause:
        raise _failure("read", url, cause) from cause
    if found.tell() > MAX_BYTES:
        raise FileError(f"{url} is larger than {MAX_BYTES:,} bytes; give a smaller file")
    return found.getvalue()


def fetch(url: str, folder: str) -> str:
    """Bring a file here, into a folder, under its own name; the path that it has then."""
    store, name = _store(url)
    path = os.path.join(folder, named(url))
    try:
        with store.open(name, "rb") as stream, open(path, "wb") as target:
            shutil.copyfileobj(stream, target, _PIECE)
    except _FAILURES as cause:
        raise _failure("read", url, cause) from cause
    return path


def named(url: str) -> str:
    """The name of a file, without what leads to it and what is asked of it."""
    try:
        plain = urlsplit(url).path if only_read(url) else url
    except ValueError as cause:
        raise _failure("read", url, cause) from cause
    return posixpath.basename(plain) or "file"


def told(url: str) -> dict[str, str]:
    """The size of a file, and the marks by which its store tells one state of it from another.

    Stores say more of it that changes without it: when it was read, or who may read it.
    """
    store, name = _store(url)
    try:
        info = store.info(name)
    except _FAILURES as cause:
        raise _failure("read", url, cause) from cause
    said = {key.lower(): str(value) for key, value in info.items() if value is not None}
    found = {key: said[key] for key in sorted(_MARKS & said.keys())} or {"all": str(said)}
    return {"size": said.get("size", ""), **found}


def size(url: str) -> int:
    """Bytes of an object."""
    store, name = _store(url)
    return int(store.size(name))


def exists(url: str) -> bool:
    """Whether there is an object of that name."""
    store, name = _store(url)
    try:
        return bool(store.exists(name))
    except _FAILURES as cause:
        raise _failure("reach", url, cause) from cause


def check_output(url: str, *, force: bool) -> None:
    """Refuse early an object that is there already."""
    if only_read(url):
        raise UsageError(f"-o {url}: a web server takes no files; give the name of a file here")
    if exists(url) and not force:
        raise FileError(f"{url} exists; -f replaces it")


def put(url: str, stream: BinaryIO) -> None:
    """Write an object from a file; stores show it once it is whole."""
    store, name = _store(url)
    try:
        with store.open(name, "wb") as target:
            shutil.copyfileobj(stream, target, _PIECE)
    except _FAILURES as cause:
        raise _failure("write", url, cause) from cause


def put_folder(url: str, path: str) -> None:
    """Write a folder of files; what is there of that name is replaced."""
    store, name = _store(url)
    try:
        if store.exists(name):
            store.rm(name, recursive=True)
        store.put(os.path.join(path, ""), name, recursive=True)
    except _FAILURES as cause:
        raise _failure("write", url, cause) from cause
