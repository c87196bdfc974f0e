"""Which files to work on, and where their outputs go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from lowrank.errors import FileError, UsageError


@dataclass(frozen=True)
class Job:
    """One input and where its output goes.

    Attributes
    ----------
    input : str
        A path, or `-`.
    output : str or None
        A path, or `-`; None leaves the suffix to the content.
    stem : str or None
        Path of the output but for its suffix, below a folder that is made when needed;
        None puts the output beside the input.
    """

    input: str
    output: str | None = None
    stem: str | None = None

    def place(self, suffix: str) -> str:
        """Return the output's path, given what its suffix would be."""
        return self.output or (self.stem or os.path.splitext(self.input)[0]) + suffix


def several(inputs: list[str]) -> bool:
    """Whether inputs are a batch: more than one, or a folder, however much it holds."""
    return len(inputs) > 1 or any(name != "-" and os.path.isdir(name) for name in inputs)


def jobs(
    inputs: list[str], output: str | None, *, recursive: bool, suffixes: frozenset[str]
) -> list[Job]:
    """Pair every input with its output.

    Parameters
    ----------
    inputs : list of str
        Files, folders, or `-` for standard input.
    output : str or None
        A file for one file, a folder for more; `-` is standard output.
    recursive : bool
        Descend into folders, whose tree is kept below `output`.
    suffixes : frozenset of str
        Which files of a folder to take.

    Raises
    ------
    UsageError
        The request is ambiguous, or two inputs claim one output.
    FileError
        A folder holds nothing to do.
    """
    folders = {name for name in inputs if name != "-" and os.path.isdir(name)}
    many = several(inputs)
    if output == "":
        raise UsageError("-o is empty; give it a file or a folder")
    if many and output == "-":
        raise UsageError("several inputs cannot share standard output; give -o a folder")
    if many and output and os.path.exists(output) and not os.path.isdir(output):
        raise UsageError(f"several inputs need a folder, and {output} is a file")
    is_folder = many or (output and (os.path.isdir(output) or output.endswith(os.sep)))
    into = output if output and is_folder else None
    found: list[Job] = []
    for name in inputs:
        if name == "-":
            if many:
                raise UsageError("standard input goes alone; leave out the other inputs")
            found.append(Job("-", output or "-"))
        elif name in folders:
            for path in _found(name, recursive=recursive, suffixes=suffixes):
                found.append(_placed(path, into, os.path.relpath(path, name)))
        elif into:
            found.append(_placed(name, into, os.path.basename(name)))
        else:
            found.append(Job(name, output))
    claimed: dict[str, str] = {}
    for job in found if many else ():
        stem = os.path.normpath(job.place(""))
        if claimed.setdefault(stem, job.input) != job.input:
            raise UsageError(
                f"{claimed[stem]} and {job.input} would get the same output; do them apart"
            )
    return found


def _placed(path: str, into: str | None, below: str) -> Job:
    return Job(path, stem=os.path.join(into, os.path.splitext(below)[0]) if into else None)


def _found(folder: str, *, recursive: bool, suffixes: frozenset[str]) -> list[str]:
    found = sorted(_walk(folder, recursive=recursive, suffixes=suffixes))
    if not found:
        hint = "" if recursive else "; -r descends into its folders"
        raise FileError(f"nothing to do in folder {folder}{hint}")
    return found


def _walk(folder: str, *, recursive: bool, suffixes: frozenset[str]) -> Iterator[str]:
    for base, below, names in os.walk(folder):
        if not recursive:
            below.clear()
        for name in names:
            if os.path.splitext(name)[1].lower() in suffixes:
                yield os.path.join(base, name)
