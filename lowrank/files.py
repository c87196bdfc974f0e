"""Files: read whole, and written whole or not at all.

A file is written under a temporary name in its own folder, synced, and moved into
place in one step, so that a reader, a crash or a full disk never meets a part of one.
A file that exists is replaced only on request, and the check is part of the move, not
a look beforehand that another process can overtake. What is made from a file that others
may not read, they may not read either.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from itertools import chain
from typing import BinaryIO

from lowrank import moves
from lowrank.errors import FileError, UsageError, failure
from lowrank.limits import MAX_BYTES

Buffer = bytes | bytearray | memoryview

MAX_DEVICE_BYTES = 1 << 28
"""Most that is read of a device, 256 MiB: many have no end."""

_CHUNK = 1 << 20


def read_bytes(path: str | os.PathLike[str], *, limit: int = MAX_BYTES) -> bytes:
    """Read a whole file, or standard input for `-`.

    Parameters
    ----------
    path : path-like
    limit : int
        Largest number of bytes that is read; checked before a file is read, and while
        a pipe is.

    Raises
    ------
    FileError
        It cannot be read, or is larger than the limit.
    """
    name = os.fspath(path)
    try:
        if name == "-":
            if sys.stdin is None:
                raise FileError("standard input is closed; give a file")
            return _read_all(sys.stdin.buffer, "standard input", limit)
        with open(name, "rb") as stream:
            return _read_all(stream, name, limit)
    except (OSError, ValueError) as error:
        raise failure("read", name, error) from error


def start(path: str, size: int) -> bytes:
    """The first bytes of a regular file.

    Raises
    ------
    FileError
        It cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise failure("read", path, error) from error


def mapped(
    path: str,
) -> tuple[memoryview, Callable[[bool, Sequence[tuple[range, int]]], None]] | None:
    """Map a regular file into memory: bytes are read where they are used, and not before.

    Returns
    -------
    data : memoryview
        The whole file, as long as nobody shortens it in place.
    advise : callable
        Told whether the bytes that are used next are few and far apart, and where parts of one
        size start: then none beside them are read ahead, and the disk is asked for all at once.

    None of what is no regular file, and of an empty one.

    Raises
    ------
    FileError
        It cannot be read.
    """
    import mmap

    try:
        with open(path, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                return None
            memory = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise failure("read", path, error) from error

    def advise(few: bool, ahead: Sequence[tuple[range, int]] = ()) -> None:
        if hasattr(memory, "madvise"):
            ask, soon = memory.madvise, mmap.MADV_WILLNEED  # looked up once, not for each
            with contextlib.suppress(OSError):
                ask(mmap.MADV_RANDOM if few else mmap.MADV_NORMAL)
                for starts, length in ahead:
                    for start, stop in _pages(starts, length, mmap.PAGESIZE):
                        ask(soon, start, stop - start)

    advise(True)  # the header alone would have megabytes read ahead
    return memoryview(memory), advise


def _pages(starts: range, length: int, size: int) -> list[tuple[int, int]]:
    """From which page to which byte parts of a file go; those on pages side by side as one."""
    if starts.step - length <= size:
        return [(starts[0] // size * size, starts[-1] + length)] if starts else []
    return [(start // size * size, start + length) for start in starts]


def write_atomic(
    path: str | os.PathLike[str],
    data: Buffer | Iterable[Buffer] | Callable[[BinaryIO], object],
    *,
    force: bool,
    allowed: int = 0o777,
    preserved: os.stat_result | None = None,
    examine: Callable[[bytes], None] | None = None,
    inspect: Callable[[str], None] | None = None,
) -> None:
    """Write a file whole or not at all.

    Whatever interrupts it (an error of the data's iterator, a full disk,
    KeyboardInterrupt, SystemExit), the file is as before and no temporary file is left.
    A symbolic link is followed: its target is replaced. A device or a pipe is written
    to directly.

    Parameters
    ----------
    path : path-like
    data : bytes-like, iterable of bytes-like, or callable
        What is called writes into the open file, which is empty and seekable.
    force : bool
        Replace a file that exists; its permission bits are kept, as far as allowed.
    allowed : int
        Permission bits that the file may have at most, see `permissions`.
    preserved : stat_result, optional
        The file gets the times and the permission bits of this one, as far as allowed.
    examine : callable, optional
        Is given what is read back from the disk before the file takes its name; whatever it
        raises, the file is as before. What goes to a device it is given beforehand.
    inspect : callable, optional
        The same, and is given the path that the file has until then; nothing is read for it.

    Raises
    ------
    FileError
        It exists and `force` is false, or cannot be written.
    """
    name = os.fspath(path)
    pieces: Iterable[Buffer] | Callable[[BinaryIO], object]
    pieces = (data,) if isinstance(data, bytes | bytearray | memoryview) else data
    try:
        previous = _checked_output(name, force=force)
        if previous is None or stat.S_ISREG(previous.st_mode):
            _write_then_move(
                os.path.realpath(name), pieces, previous, force=force,
                allowed=allowed, preserved=preserved, examine=examine, inspect=inspect,
            )  # fmt: skip
        else:
            if examine is not None or callable(pieces):
                memory = BytesIO()
                _write_all(memory, pieces)
                pieces = (memory.getvalue(),)
            if examine is not None:
                examine(memory.getvalue())
            with open(name, "wb") as stream:
                _write_all(stream, pieces)
    except FileExistsError as error:
        raise _exists(name) from error
    except OSError as error:
        raise failure("write", name, error) from error


def permissions(*paths: str) -> int:
    """Permission bits that all of some files have: the most that what they become may have.

    Of a folder, such as an array of zarr, those of all files in it. Standard input, pipes and
    devices say nothing about their content.
    """
    bits = 0o777
    for status in chain.from_iterable(map(statuses, paths)):
        bits &= 0o777 if sys.platform == "win32" else status.st_mode
    return bits


def statuses(path: str) -> Iterator[os.stat_result]:
    """The status of a regular file, or of each that is somewhere in a folder."""
    names: Iterable[str] = (path,)
    if path != "-" and os.path.isdir(path):
        names = (os.path.join(base, name) for base, _, found in os.walk(path) for name in found)
    yield from filter(None, map(regular, names))


def regular(path: str) -> os.stat_result | None:
    """Return the status of a regular file, through links; None for anything else, and `-`."""
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(path)
        if path != "-" and stat.S_ISREG(status.st_mode):
            return status
    return None


_KINDS = (
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


def special(path: str) -> str:
    """Return what a path is where that is neither a file nor a folder: `pipe`; or ""."""
    with contextlib.suppress(OSError, ValueError):
        mode = os.stat(path).st_mode
        return next((kind for test, kind in _KINDS if test(mode)), "")
    return ""


def is_standard_output(path: str) -> bool:
    """Whether a path is the pipe or terminal that standard output is: /dev/stdout."""
    if not special(path):
        return False
    with contextlib.suppress(OSError, ValueError):
        return os.path.samestat(os.stat(path), os.fstat(1))
    return False


def check_output(
    path: str | os.PathLike[str],
    *,
    force: bool,
    inputs: Iterable[str] = (),
    makes_folder: bool = False,
    option: str = "-o",
) -> None:
    """Refuse early, before any work, an output that `write_atomic` would refuse.

    Parameters
    ----------
    path : path-like
    force : bool
        An existing file may be replaced.
    inputs : iterable of str
        Paths of what the output is made from; `-` is standard input.
    makes_folder : bool
        Its folder will be made where it is missing.
    option : str
        Which option gives it another name.

    Raises
    ------
    UsageError
        It is one of the inputs.
    FileError
        It exists and `force` is false, is a folder, or its folder is missing or may not
        be written to.
    """
    name = os.fspath(path)
    if any(source != "-" and same_file(source, name) for source in inputs):
        raise UsageError(f"{name} is the input itself; give another output with {option}")
    try:
        _checked_output(name, force=force)
    except FileNotFoundError as error:
        if not makes_folder:
            raise failure("write", name, error) from error
    except OSError as error:
        raise failure("write", name, error) from error


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Whether two paths lead to one file, through symbolic or hard links too.

    A file that does not exist yet is the same where its path, resolved, is the same.
    """
    try:
        return os.path.samefile(a, b)
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            return os.path.normcase(os.path.realpath(a)) == os.path.normcase(os.path.realpath(b))
        return False


def folds_case(path: str) -> bool:
    """Whether names that differ in their case only are one file where a path is, or is to be.

    Told from the nearest folder that is there and has letters in its name.
    """
    folder = os.path.dirname(os.path.abspath(path))
    while folder != os.path.dirname(folder):
        above, name = os.path.split(folder)
        other = name.swapcase()
        if other != name and os.path.isdir(folder):
            return same_file(folder, os.path.join(above, other))
        folder = above
    return False


def _checked_output(name: str, *, force: bool) -> os.stat_result | None:
    """Status of the output, None where there is none yet; OSError where it cannot be."""
    try:
        previous = os.stat(name)
    except FileNotFoundError:
        previous = None
    except ValueError as error:  # a null byte, or a character that the system has not
        raise OSError(errno.EINVAL, str(error)) from error
    if name.endswith(os.sep) or (previous is not None and stat.S_ISDIR(previous.st_mode)):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if previous is not None and not stat.S_ISREG(previous.st_mode):
        return previous
    if previous is not None and not force:
        raise _exists(name)
    if not name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    folder = os.path.dirname(os.path.realpath(name))
    os.stat(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "its folder may not be written to")
    return previous


def _write_then_move(
    target: str,
    pieces: Iterable[Buffer] | Callable[[BinaryIO], object],
    previous: os.stat_result | None,
    *,
    force: bool,
    allowed: int,
    preserved: os.stat_result | None,
    examine: Callable[[bytes], None] | None,
    inspect: Callable[[str], None] | None,
) -> None:
    folder = os.path.dirname(target)
    # Named before it is made, so that an interrupt between the two leaves nothing. The
    # system applies the umask to 0o666; mkstemp would give 0o600.
    temporary = os.path.join(folder, f".lowrank-{os.urandom(8).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(temporary, flags, 0o666 & allowed), "wb") as stream:
            if previous is not None and sys.platform != "win32":
                with contextlib.suppress(OSError):  # only root may keep another's owner
                    os.fchown(stream.fileno(), previous.st_uid, previous.st_gid)
                with contextlib.suppress(OSError):  # FAT knows no such bits
                    os.fchmod(stream.fileno(), previous.st_mode & 0o777 & allowed)
            _write_all(stream, pieces)
            stream.flush()
            if preserved is not None and sys.platform != "win32":
                os.fchmod(stream.fileno(), preserved.st_mode & 0o777 & allowed)
            moves.sync(stream.fileno())
        if examine is not None:
            examine(read_bytes(temporary))
        if inspect is not None:
            inspect(temporary)
        if preserved is not None:
            os.utime(temporary, ns=(preserved.st_atime_ns, preserved.st_mtime_ns))
        moves.move(temporary, target, replace=force)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _write_all(stream: BinaryIO, pieces: Iterable[Buffer] | Callable[[BinaryIO], object]) -> None:
    if callable(pieces):
        pieces(stream)
        return
    for piece in pieces:
        stream.write(piece)


def _read_all(stream: BinaryIO, shown: str, limit: int) -> bytes:
    """Read to the end: a file in one piece, if the size that it says is true."""
    size = _CHUNK
    with contextlib.suppress(OSError):  # a stream of Python's own has no status
        status = os.fstat(stream.fileno())
        if stat.S_ISREG(status.st_mode):
            if status.st_size > limit:
                raise _too_large(shown, limit)
            size = status.st_size + 1
        elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            limit = min(limit, MAX_DEVICE_BYTES)
    pieces = list(_chunks(stream, shown, limit, size))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _chunks(stream: BinaryIO, shown: str, limit: int, size: int) -> Iterator[bytes]:
    total = 0
    while chunk := stream.read(size):
        total += len(chunk)
        if total > limit:
            raise _too_large(shown, limit)
        yield chunk
        size = _CHUNK


def _exists(name: str) -> FileError:
    return FileError(f"{name} exists; -f replaces it")


def _too_large(shown: str, limit: int) -> FileError:
    return FileError(f"{shown} is larger than {limit:,} bytes; give a smaller file")


def make_folder(path: str) -> None:
    """Make a folder and those above it, where they are not there yet."""
    try:
        os.makedirs(path or ".", exist_ok=True)
    except (OSError, ValueError) as error:
        raise failure("make the folder", path, error) from error
