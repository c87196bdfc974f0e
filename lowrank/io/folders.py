"""What of a folder is taken: pictures by their suffixes, and nothing that is hidden."""

from __future__ import annotations

import os

from lowrank.errors import FileError
from lowrank.io.formats import SUFFIXES

SIDECAR = "._"
"""How names begin of what macOS keeps beside a file on foreign disks: no picture, whatever else."""
_NAMES = 3  # of what was passed over, in a note


def is_hidden(name: str) -> bool:
    """Whether a file or a folder is hidden: thumbnails, trash, what a program keeps for itself."""
    return name.startswith(".")


def suffix(name: str) -> str:
    """The suffix of a name in small letters; that of a hidden file, `.png`, has none."""
    return os.path.splitext(name)[1].lower()


def unseen(names: list[str]) -> str:
    """The note on hidden files and folders that were passed over, though they may be wanted."""
    shown = ", ".join(sorted(names)[:_NAMES])
    more = ", ..." if len(names) > _NAMES else ""
    return f"{len(names):,} hidden passed over ({shown}{more}); give what is wanted by its own name"


def frames_of(folder: str) -> tuple[list[str], tuple[str, ...]]:
    """Pictures in a folder, and a note on hidden ones.

    Raises
    ------
    FileError
        There are none.
    """
    with os.scandir(folder) as entries:
        pictures = [x for x in entries if x.is_file() and suffix(x.name) in SUFFIXES]
    found = [x.path for x in pictures if not is_hidden(x.name)]
    if not found:
        raise FileError(f"no images in folder {folder}; give one that holds the frames")
    hidden = [x.name for x in pictures if is_hidden(x.name) and not x.name.startswith(SIDECAR)]
    return found, (f"{folder}: {unseen(hidden)}.",) if hidden else ()
