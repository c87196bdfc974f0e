"""What a shell may complete a value or a name to. Light: somebody waits for it at every key.

Where nothing is offered the shell completes names of files in its own way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

from lowrank import names

Completer = Callable[[str], list[str]]

_PLAIN = re.compile(r"[\w./~+,=@%:-]*")
"""Names that need no quotes in any shell; the shell itself knows how to quote others."""


def of(*values: str) -> Completer:
    """Complete to one of some values."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def several_of(*values: str) -> Completer:
    """Complete the last of some values with commas between them."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [
            f"{before}{comma}{value}"
            for value in values
            if value.startswith(last) and value not in given
        ]

    return complete


def ending(*suffixes: str) -> Completer:
    """Complete to files of some suffixes, and to the folders on the way to them."""

    def complete(incomplete: str) -> list[str]:
        found = sorted(_entries(incomplete, suffixes))
        # A shell puts a space after the only word: not after a folder that goes on.
        if len(found) == 1 and found[0].endswith("/"):
            found += sorted(_entries(found[0], suffixes))
        return found if all(_PLAIN.fullmatch(name) for name in found) else []

    return complete


def _entries(incomplete: str, suffixes: tuple[str, ...]) -> Iterable[str]:
    start = incomplete.rpartition("/")[2]
    shown = incomplete[: len(incomplete) - len(start)]
    try:
        with os.scandir(os.path.expanduser(shown) or os.curdir) as entries:
            for entry in entries:
                if not entry.name.startswith(start) or (entry.name[0] == "." and not start):
                    continue
                if entry.is_dir():
                    yield f"{shown}{entry.name}/"
                elif entry.name.lower().endswith(suffixes):
                    yield shown + entry.name
    except OSError:
        return


formats = of("png", "tif", "jpg", "webp", "avif", "jp2", "bmp", "npy")
layouts = of(*names.LAYOUTS)
stores = of(*names.CHOICES)
float_stores = of(*names.FLOAT_CHOICES)
tunes = of(*names.TUNES)
codecs = several_of(*names.CODECS)
files = ending(".lrk")
manifests = ending(".csv", ".json")
