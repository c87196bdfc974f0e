"""A file moved to its name in one step, as each system can, and written to the disk itself."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable
from functools import cache

# A way of moving a file is not to be had here: the system or the file system lacks it.
_LACKING = {errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP}

_WAITS = (0.05, 0.1, 0.2, 0.4)  # seconds between tries to move a file that is held open

_HERE = -100  # AT_FDCWD of Linux: names are looked up as usual
_KEEPS = 1  # RENAME_NOREPLACE


def move(temporary: str, target: str, *, replace: bool) -> None:
    """Move a whole file to a name, in one step that survives a power cut where the system can.

    On Windows it is tried again for a while, where a reader or a scanner holds the file open.

    Raises
    ------
    OSError
        FileExistsError where the name exists and nothing is to be replaced.
    """
    step = os.replace if replace else _move_to_new
    for wait in _WAITS if sys.platform == "win32" else ():
        try:
            step(temporary, target)
        except PermissionError:
            time.sleep(wait)
        else:
            break
    else:
        step(temporary, target)
    _sync_folder(os.path.dirname(target))


def sync(descriptor: int) -> None:
    """Write a file to the disk itself: macOS leaves it in the drive's cache unless asked twice."""
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):  # a network drive knows no such thing
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def _move_to_new(temporary: str, target: str) -> None:
    """Move a whole file to a name that must not exist, FileExistsError if it does.

    Linux renames without replacing; elsewhere a hard link fails where the name exists.
    Either is one step. Any error but that a way is lacking is an error.
    """
    for move in (_rename_to_new, os.link):
        try:
            move(temporary, target)
        except OSError as error:
            if error.errno not in _LACKING:
                raise
        else:
            return
    _look_then_rename(temporary, target)


def _rename_to_new(temporary: str, target: str) -> None:
    rename = _renameat2()
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    code = rename(_HERE, os.fsencode(temporary), _HERE, os.fsencode(target), _KEEPS)
    if code:
        raise OSError(code, os.strerror(code))


@cache
def _renameat2() -> Callable[..., int] | None:
    """Linux's rename with flags, which Python has not; it returns 0 or the error's number."""
    if sys.platform != "linux":
        return None
    try:
        import ctypes

        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (ImportError, OSError, AttributeError):  # another libc, or an old one
        return None
    name, number = ctypes.c_char_p, ctypes.c_int
    function.argtypes = (number, name, number, name, ctypes.c_uint)
    return lambda *arguments: ctypes.get_errno() if function(*arguments) else 0


def _look_then_rename(temporary: str, target: str) -> None:
    """Move where the file system has neither (FAT, some network drives).

    A lock on the folder, which ends with its process, keeps runs of ours apart. A foreign
    program that makes the file between the look and the move loses it; to claim the name by
    an empty file would leave that behind when this process is killed.
    """
    if sys.platform == "win32":
        os.rename(temporary, target)  # replaces nothing there
        return
    import fcntl

    folder = os.open(os.path.dirname(target), os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # no locks either
            fcntl.flock(folder, fcntl.LOCK_EX)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.replace(temporary, target)
    finally:
        os.close(folder)


def _sync_folder(folder: str) -> None:
    """Make the move itself survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
