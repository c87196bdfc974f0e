"""What a picture and a stack have in common that a `.lrk` file holds."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Self, SupportsIndex

import numpy as np

from lowrank import codec, streams, targets
from lowrank import format as lrk
from lowrank.errors import UsageError
from lowrank.format.parts import Head, Parts
from lowrank.io.formats import SUFFIXES
from lowrank.targets import Target

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from lowrank.picture import Loaded, Picture
    from lowrank.report import Report
    from lowrank.stores import Factored

Arrays = tuple["NDArray[np.floating]", "NDArray[np.float64]", "NDArray[np.floating]"]


class Kept(ABC):
    """The k leading terms of one or more matrices, with the notes of how they came to be.

    It does not change; `np.asarray` decodes it, an index decodes what it needs, notebooks show
    it, and two are equal where their files would be.
    """

    def __init__(self, parts: Parts, notes: tuple[str, ...] = (), path: str | None = None) -> None:
        self.notes = notes
        self._parts = parts
        self._path = path
        self._decoded: NDArray[Any] | None = None

    def __getstate__(self) -> dict[str, object]:
        """What a copy and a pickle hold: no samples that were decoded."""
        return {**self.__dict__, "_decoded": None}

    @property
    def parts(self) -> Parts:
        """The file, as parsed."""
        return self._parts

    @property
    def head(self) -> Head:
        """What the file says first: size, mode, layout, store."""
        return self._parts.head

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Kept):
            return NotImplemented
        return self is other or lrk.same(self.parts, other.parts)

    def __hash__(self) -> int:
        return hash((self.head, self.ranks))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Decode, for `np.asarray`; without a copy it cannot be done."""
        if copy is False:
            raise UsageError("it is decoded into a new array; leave copy out, or give True")
        return np.asarray(self.to_array(), dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: object) -> bool:
        return any(value in line for line in self)

    @abstractmethod
    def __getitem__(self, key: Any) -> Any:
        """Samples, by an index of numpy's: those of `to_array()[key]`, in an array of their own."""

    def _once(self) -> NDArray[Any]:
        """All samples, decoded when the first of them is asked for, and kept."""
        if self._decoded is None:
            self._decoded = self.to_array()
        return self._decoded

    def _repr_png_(self) -> bytes:
        """The picture, or the frame in the middle, for notebooks."""
        from lowrank import notebook

        return notebook.png(self._shown())

    def _repr_html_(self) -> str:
        """The same, and what the file states of it, for notebooks."""
        from lowrank import notebook

        return notebook.html(self._parts, self._shown())

    @abstractmethod
    def _shown(self) -> Picture:
        """What a notebook shows of it."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded array."""

    @property
    def ndim(self) -> int:
        """Axes of the decoded array."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Samples of the decoded array."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded array; `len(x.to_bytes())` are those of the file."""
        return self.size * self.dtype.itemsize

    @property
    def width(self) -> int:
        """Columns of the picture, or of a frame."""
        return self.head.width

    @property
    def height(self) -> int:
        """Rows of the picture, or of a frame."""
        return self.head.height

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the decoded samples; bool of black and white."""
        return self.head.mode.own_dtype

    @property
    def mode(self) -> str:
        """Pillow's name of the samples' mode; `array` where Pillow has none."""
        return self.head.mode.name

    @property
    def layout(self) -> str:
        """How it is seen as matrices: `channels`, `patches` or `stack`."""
        return self.head.layout

    @property
    def store(self) -> str:
        """How the factors are stored: `float16`, `float32`, `float64` or `packed`."""
        return self.head.store

    @property
    def ranks(self) -> tuple[int, ...]:
        """Number of terms of each matrix."""
        return self._parts.ranks

    def _factored(self) -> tuple[Arrays, ...]:
        """One (U, s, Vt) for each matrix, in the types that the store has.

        Of samples that a packed file counts from their lowest, that level is in the matrices, with
        a term more.
        """
        from lowrank import layouts, linalg

        turned, matrices = codec.factors(self.parts)
        lowest = self.parts.lowest
        if lowest:
            level = np.full(self.head.samples_shape, lowest)
            levels = layouts.of_samples(level, self.layout, turned)
            matrices = tuple(map(np.add, matrices, levels))

        def of(k: int, B: Factored) -> Arrays:
            if isinstance(B, tuple):
                return B
            terms = min(k + 1, *B.shape) if lowest else k
            x = linalg.truncated_svd(B, max(terms, 1)).truncate(terms)
            return x.U, x.s, x.Vt

        return tuple(map(of, self.ranks, matrices))

    def to_array(self, rank: SupportsIndex | None = None) -> NDArray[Any]:
        """Decode to an array, from the first `rank` terms of each matrix or from all.

        Returns
        -------
        ndarray
            Of `shape`, and of the samples' own type; bool of black and white.
        """
        k = None if rank is None else targets.rank(rank)
        samples = codec.decode(self.parts, rank=k).picture.samples
        return samples.reshape(self.shape).astype(self.dtype, copy=False)

    def to_bytes(self) -> bytes:
        """Return the bytes of the `.lrk` file.

        Raises
        ------
        UsageError
            It is a packed file that was cut or damaged: no whole file can be made of its parts.
        """
        return lrk.serialize(self.parts)

    def save(self, path: str | os.PathLike[str] | IO[bytes], *, force: bool = True) -> None:
        """Write the `.lrk` file, whole or not at all.

        Parameters
        ----------
        path : path-like or binary file object
        force : bool
            Replace an existing file.

        Raises
        ------
        FileError
            The file cannot be written, or exists and `force` is false.
        UsageError
            What is given is no path and no open binary file, or the name of another format.
        """
        name = os.fsdecode(path) if isinstance(path, str | os.PathLike) else ""
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in SUFFIXES:
            raise UsageError(
                f"save writes a .lrk file, not {name}; give {stem}.lrk, or save what to_image() or "
                "to_array() returns"
            )
        streams.write(path, self.to_bytes(), force=targets.truth(force, "force"))

    def truncate(self, rank: SupportsIndex) -> Self:
        """Keep the first `rank` terms of each matrix: the best of that rank."""
        shorter = codec.shorten(self.parts, Target("rank", targets.rank(rank)))
        return type(self)(shorter, self.notes)

    def _measured(self, original: Loaded, name: str) -> Report:
        """Errors against the original, beside the bounds; `name` is what messages call it."""
        from lowrank.report import measure

        measure.check_same_image(original, self._parts, name)
        parts = self.parts
        size = lrk.file_size(parts)
        return measure.measure(
            original.picture,
            parts,
            source=original.source,
            file=measure.file_facts(self._path, parts, size),
            file_bytes=size,
        )
