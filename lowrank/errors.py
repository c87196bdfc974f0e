"""The errors that lowrank raises, each with the exit code of the command line.

Every failure that a user can cause or meet is one of these; anything else that
escapes is a defect of lowrank.
"""

from __future__ import annotations

import errno
import os

# What the user can do, where the system's words do not say it.
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EROFS: "write elsewhere",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.ELOOP: "check the path",
    errno.EISDIR: "give a file",
    errno.ENAMETOOLONG: "give a shorter name",
}


def printable(text: str) -> str:
    """Replace what would break a line or steer a terminal.

    That is what Unicode calls control and format characters (escapes, C1, bidirectional
    marks), separators but the space, and bytes of a name that are no text.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def called(name: str) -> str:
    """What messages call a file: `-` is standard input."""
    return "standard input" if name == "-" else name


def number_of(number: int, what: str, one: str = "", many: str = "") -> str:
    """A number of things, and a verb that goes with it: `1 term stands`, `2,000 terms stand`."""
    verb = one if number == 1 else many
    return f"{number:,} {what}{'' if number == 1 else 's'}{verb and ' '}{verb}"


def pip_install(name: str) -> str:
    """How to install an extra: pip knows it by what is installed, wherever that came from."""
    return f"pip install 'lowrank-image[{name}]'"


class LowrankError(Exception):
    """Base of all errors: one line that says what is wrong and what to do.

    Whatever the message quotes, it is printable.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class UsageError(LowrankError, ValueError):
    """The request itself is wrong: targets that exclude each other, a rank of 0."""

    exit_code = 2


class ImageError(LowrankError):
    """An image cannot be read or written, or holds what cannot be factorised."""


class ArgumentError(ImageError, UsageError):
    """An object given as an image is none: its shape or type, its samples, or it is closed.

    It is raised in Python only, where it is a `ValueError`; of a file it is an `ImageError`.
    """

    exit_code = ImageError.exit_code


class LimitError(LowrankError):
    """An image or file is larger than the limit on pixels allows."""


def naming(error: LowrankError, name: str) -> LowrankError:
    """The same error; one about samples or a limit says of which file, where it does not yet."""
    shown = printable(called(name))
    about = isinstance(error, ImageError | LimitError) and shown not in str(error)
    return type(error)(f"{shown}: {error}") if about else error


class FormatError(LowrankError):
    """A `.lrk` file is damaged, or of a kind that this version does not know."""


class TruncatedError(FormatError):
    """A `.lrk` file ends early; what is there can be decoded on request.

    Attributes
    ----------
    terms, total : int
        Whole terms before the cut, and terms that the header announces.
    """

    def __init__(self, message: str, *, terms: int = 0, total: int = 0) -> None:
        super().__init__(message)
        self.terms = terms
        self.total = total


class FileError(LowrankError):
    """A file cannot be opened, created or replaced."""


def failure(verb: str, name: str, error: OSError | ValueError) -> FileError:
    """What the system says of a file, and what can be done about it."""
    shown = called(name) or "''"
    if not isinstance(error, OSError):  # a null byte in the path
        return FileError(f"cannot {verb} {shown}: {error}; check the path")
    folder = os.path.dirname(name)
    if verb == "write" and folder and error.errno == errno.ENOENT and not os.path.exists(folder):
        return FileError(f"cannot write {shown}: no folder {folder}; make it first")
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    advice = _ADVICE.get(error.errno or 0)
    return FileError(f"cannot {verb} {shown}: {reason}" + (f"; {advice}" if advice else ""))
