"""The images that files may have been made from: found in a tree, and measured against."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from lowrank import files
from lowrank.errors import FileError, LowrankError, UsageError, called, naming
from lowrank.format.parts import Parts
from lowrank.io import folders, states, zarr
from lowrank.io.taking import Taking
from lowrank.report import ask, compared
from lowrank.report.compared import Compared
from lowrank.runs.plan import Job, Plan


class UnmatchedError(FileError):
    """There is no original to measure a file against."""


@dataclass(frozen=True)
class Subject(Job):
    """A file to verify, and the images that it may have been made from.

    `originals` is None where none is asked for; empty where none was found in `tree`.
    """

    originals: tuple[str, ...] | None = None
    tree: str = ""


def with_originals(plan: Plan, tree: str, *, suffixes: frozenset[str]) -> Plan:
    """Give every file of a plan the images of a tree that it may have been made from.

    Those at the same place in the tree, `sub/a.png` for `sub/a.lrk` and for `sub/a.png.lrk`;
    where there are none, those of the same name anywhere in it. Where there are none of these
    either, the pictures of the folder itself may be the frames of a stack.

    Raises
    ------
    FileError
        There is no such tree.
    UsageError
        It has no name; or is one file, for several.
    """
    if zarr.is_array(tree) or not os.path.isdir(tree):
        if not tree:
            raise UsageError("--against is empty; give the folder of the originals")
        if not os.path.exists(tree):
            raise FileError(f"--against {tree} does not exist; give the folder of the originals")
        if len(plan.jobs) > 1:
            raise UsageError(f"--against {tree} is one file; give the folder of the originals")
        jobs: list[Job] = [Subject(job.input, originals=(tree,)) for job in plan.jobs]
        return replace(plan, jobs=jobs)
    places: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for base, below, found in os.walk(tree):
        below.sort()
        arrays = [name for name in below if zarr.is_array(os.path.join(base, name))]
        below[:] = [name for name in below if name not in arrays]
        for name in sorted(found + arrays):
            if name in arrays or os.path.splitext(name)[1].lower() in suffixes:
                path = os.path.join(base, name)
                for key in (name, os.path.splitext(name)[0]):
                    place = os.path.normpath(os.path.join(os.path.relpath(base, tree), key))
                    places.setdefault(place, []).append(path)
                    names.setdefault(key, []).append(path)

    def subject(job: Job) -> Subject:
        stem = job.stem or os.path.splitext(os.path.basename(job.input))[0]
        originals = places.get(os.path.normpath(stem)) or names.get(os.path.basename(stem), [])
        frames = os.path.join(tree, stem)
        if not originals and os.path.isdir(frames):  # a folder that became one stack
            originals = [frames]
        return Subject(job.input, originals=tuple(originals), tree=tree)

    return replace(plan, jobs=[subject(job) for job in plan.jobs])


def nearest(job: Subject, parts: Parts, taking: Taking, *, max_pixels: int) -> Compared:
    """The file beside the original that it is nearest to, of those with its name.

    Raises
    ------
    UnmatchedError
        There is none, or none that it may be made from.
    """
    name, originals = called(job.input), job.originals or _as_frames(job.tree, parts)
    if not originals:
        raise UnmatchedError(f"no original of {name} in {job.tree}; leave out --against")
    found: list[Compared] = []
    failures: list[LowrankError] = []
    for path in originals:
        try:
            found.append(_beside(path, parts, taking, max_pixels))
        except UsageError as error:  # another size or mode: another image
            failures.append(UnmatchedError(f"{name} is not made from {path}: {error}"))
        except LowrankError as error:
            failures.append(UnmatchedError(f"{name}: its original: {naming(error, path)}"))
    if not found:
        raise failures[0]
    return min(found, key=lambda x: (x.above, x.factor_error))


def _beside(path: str, parts: Parts, taking: Taking, max_pixels: int) -> Compared:
    """A file beside one original, which is read in passes where it is large."""
    later_as = taking if taking.asked else Taking(stack=parts.head.frames is not None)
    with states.unchanged(path):
        later = ask.read_later(path, parts, later_as, max_pixels=max_pixels)
        if later is not None:
            return compared.in_passes(later, parts)
        content = b"" if os.path.isdir(path) else files.read_bytes(path)
    loaded = ask.original(path, content, parts, max_pixels=max_pixels, taking=taking)
    return compared.against(loaded, parts)


def _as_frames(tree: str, parts: Parts) -> tuple[str, ...]:
    """The folder of the originals itself, where it may be the frames of a stack; else none."""
    try:
        there = len(folders.frames_of(tree)[0])
    except FileError:
        return ()
    return (tree,) if parts.head.frames is not None and there >= parts.head.frames else ()
