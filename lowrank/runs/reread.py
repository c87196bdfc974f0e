"""What `proof` does, of what is larger than memory: a file read back, and its source, in passes."""

from __future__ import annotations

import hashlib
import math
import os
import sys
import time
from dataclasses import dataclass, field

from lowrank import files
from lowrank import format as lrk
from lowrank.errors import FileError
from lowrank.format import mapped
from lowrank.format.parts import Parts
from lowrank.picture.distance import Pixels
from lowrank.picture.lazy import LazyLoaded
from lowrank.report import passes
from lowrank.runs.manifest import Entry
from lowrank.runs.proof import check_near

_PIECE = 1 << 24  # bytes that are hashed at a time


def parts_of(path: str, *, name: str) -> Parts:
    """The parts of a file, all of it checked; those of a stack stay on the disk."""
    there = files.mapped(path)
    if there is not None:
        found = mapped.of_stack(there[0], name=name, max_pixels=sys.maxsize, advise=there[1])
        if found is not None:
            found.check(max(found.parts.ranks))
            return found.parts
    return lrk.parse(files.read_bytes(path), name=name, max_pixels=sys.maxsize)


@dataclass(eq=False)
class Reread:
    """What is known of an output, once it was read back.

    Attributes
    ----------
    loaded : LazyLoaded
        What it is made from.
    output : str
        The name that it will have.
    began : float or None
        When the work began, of `time.monotonic`; None for an output that was there before.
    """

    loaded: LazyLoaded
    output: str
    began: float | None
    _ranks: tuple[int, ...] = field(default=(), init=False)
    _facts: tuple[int, str] = field(default=(0, ""), init=False)
    _pixels: Pixels | None = field(default=None, init=False)
    _norm: float = field(default=0.0, init=False)

    def examine(self, path: str) -> None:
        """Read a file back: check every checksum, decode it, measure it.

        Raises
        ------
        FormatError
            It is damaged, or farther from what it was made from than it states.
        """
        parts = parts_of(path, name=self.output)
        self._ranks, self._facts = parts.ranks, (os.path.getsize(path), sha256(path))
        self._norm = math.hypot(*(f.norm for f in parts.body.matrices))
        self._pixels = passes.distances(self.loaded.picture, parts)
        samples = math.prod(self.loaded.picture.samples_shape)
        check_near(
            parts, self._pixels.rmse, samples, output=self.output, source=self.loaded.source.path
        )

    def entry(self, name: str) -> Entry:
        """What a manifest lists, once it was examined."""
        if self._pixels is None:
            raise FileError(f"{self.output} was not read back")
        samples = math.prod(self.loaded.picture.samples_shape)
        error = self._pixels.rmse * math.sqrt(samples) / self._norm if self._norm else 0.0
        return Entry(
            name, self.output, os.path.getsize(name), self._facts[0], sha256(name), self._facts[1],
            self._ranks, error, self._pixels.psnr_db, self._pixels.max_abs_error,
            None if self.began is None else round(time.monotonic() - self.began, 3),
        )  # fmt: skip


def sha256(path: str) -> str:
    """SHA-256 of a file in hexadecimal."""
    found = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while piece := stream.read(_PIECE):
                found.update(piece)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    return found.hexdigest()
