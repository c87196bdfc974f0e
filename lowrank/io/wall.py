"""The wall around Pillow: what it raises, warns, logs and prints ends here.

This is one of two places that catch every exception; the other is the command line.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from PIL import Image

from lowrank.errors import ImageError, LimitError, LowrankError, called, printable

P = ParamSpec("P")
T = TypeVar("T")

_LOCK = threading.RLock()  # a thread may come in again, to load a .lrk that Pillow opened


@contextlib.contextmanager
def wall(
    task: str, advice: str, max_pixels: int | None = None
) -> Iterator[list[warnings.WarningMessage]]:
    """Turn whatever Pillow raises into ours, collect its warnings, set its limit.

    Pillow's limit and Python's warning filters are global, so one thread at a time is
    let in, and both are as before when it leaves.

    Parameters
    ----------
    task : str
        For messages: `read photo.png`.
    advice : str
        What a message about a foreign error ends in.
    max_pixels : int or None
        Limit on the pixels of one image; None leaves Pillow's.
    """
    logger, silence = logging.getLogger("PIL"), logging.NullHandler()
    with _LOCK, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        logger.addHandler(silence)
        limit = Image.MAX_IMAGE_PIXELS
        if max_pixels is not None:
            Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield warned
        except (ImageError, LimitError) as error:
            if str(error).startswith(f"cannot {task}"):
                raise
            raise type(error)(f"cannot {task}: {error}") from error
        except LowrankError:
            raise
        except Image.DecompressionBombError as error:
            raise LimitError(
                f"cannot {task}: more pixels than the limit; raise it if you trust the file"
            ) from error
        except MemoryError as error:
            raise LimitError(f"cannot {task}: not enough memory; give less at once") from error
        except Exception as error:
            # OSError, ValueError, TypeError, SyntaxError, struct.error and more: Pillow
            # promises nothing about what a damaged file raises.
            raise ImageError(f"cannot {task}: {one_line(error)}; {advice}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
            logger.removeHandler(silence)


def naming(take: Callable[P, T]) -> Callable[P, T]:
    """Let what takes the array of a file say in its errors which file, its keyword `name`."""

    @functools.wraps(take)
    def named(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return take(*args, **kwargs)
        except (ImageError, LimitError) as error:
            name = kwargs.get("name")
            if name is None or called(str(name)) in str(error):
                raise
            raise type(error)(f"cannot read {called(str(name))}: {error}") from error

    return named


@contextlib.contextmanager
def thin_wall(task: str, advice: str) -> Iterator[None]:
    """Turn whatever a library raises that has nothing global into ours: any thread may enter."""
    try:
        yield
    except LowrankError:
        raise
    except MemoryError as error:
        raise LimitError(f"cannot {task}: not enough memory; give less at once") from error
    except Exception as error:
        raise ImageError(f"cannot {task}: {one_line(error)}; {advice}") from error


@contextlib.contextmanager
def tolerated(what: str, notes: list[str]) -> Iterator[None]:
    """Turn a failure of Pillow on something that the picture can do without into a note."""
    try:
        yield
    except Exception as error:
        notes.append(f"{what} ({one_line(error)}).")


@contextlib.contextmanager
def logged(name: str, said: list[str]) -> Iterator[None]:
    """Collect what a library logs, which would go to standard error: a note for each text."""

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = f"The decoder warns: {one_line(record.getMessage())}."
            if text not in said:
                said.append(text)

    logger, collector = logging.getLogger(name), Collector(logging.WARNING)
    logger.addHandler(collector)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(collector)


@contextlib.contextmanager
def printed_errors() -> Iterator[list[str]]:
    """Collect what a C library prints while it decodes; the list is filled at the end.

    libtiff, and dav1d for AVIF in some builds, write their errors to the process's
    standard error, and Pillow lets them. What another thread prints there meanwhile is
    lost, so this is for those formats alone. Of the lines, libtiff's are kept.
    """
    import tempfile  # with what it needs in turn, a tenth of the modules of a short run

    said: list[str] = []
    with contextlib.ExitStack() as stack:
        try:
            saved = os.dup(2)
        except OSError:  # there is no standard error to keep clean
            yield said
            return
        stack.callback(os.close, saved)
        sink = stack.enter_context(tempfile.TemporaryFile())
        os.dup2(sink.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(saved, 2)
            sink.seek(0)
            lines = sink.read(4096).decode("utf-8", "replace").splitlines()
            said.extend(one_line(line) for line in lines if re.match(r"\w+: ", line))


def one_line(error: BaseException | str) -> str:
    """Give a foreign message short, printable, on one line, without object addresses."""
    text = re.sub(r"\s*<[^>]* at 0x[0-9a-f]+>", "", " ".join(str(error).split()))
    return printable(text)[:160].rstrip(". ") or type(error).__name__
