"""Arrays of zarr: read through the extra, and written as they are.

Stacks become a folder of its third format, in which every frame is a file of its own. Chunks are
the samples as they are, so that any zarr reads them and nothing is needed to write them. A folder
is made beside its place, and moved there once it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowrank.errors import FileError, ImageError, UsageError, failure, pip_install
from lowrank.io.formats import ZARR
from lowrank.io.wall import thin_wall

INDEX = "zarr.json"
"""The file of an array of zarr that is always there."""
_AXES = ("frame", "y", "x", "channel")


def is_array(path: str) -> bool:
    """Whether a path is that of an array of zarr, by its name."""
    return path.lower().rstrip("/").endswith(ZARR) and os.path.isdir(path)


def opened(path: str) -> Any:
    """Open an array of numbers, of either format; it is read where it is sliced.

    Raises
    ------
    UsageError
        The extra is not installed.
    ImageError
        It is no array, holds no numbers, or is pickled, which reading would run as a program.
    """
    try:
        import zarr
    except ImportError:
        raise UsageError(f"{path} needs an extra: {pip_install('zarr')}") from None
    with thin_wall(f"read {path}", "give an array of zarr, not a group of them"):
        for name in (INDEX, ".zarray"):
            if any(codec.endswith("pickle") for codec in _codecs(_told(os.path.join(path, name)))):
                raise ImageError(f"{path} is pickled, and is not read; give it without that codec")
        array = zarr.open_array(path, mode="r")
        if np.dtype(array.dtype).kind not in "biufc":
            raise ImageError(f"{path} holds no numbers; give an array of integers or floats")
    return array


def _told(path: str) -> Any:
    """What a file of metadata says; nothing where there is none."""
    if not os.path.isfile(path):
        return None
    with open(path, "rb") as stream:
        return json.load(stream)


def _codecs(told: Any) -> Iterator[str]:
    """The names of all codecs, of either format, and of codecs inside them; and some others."""
    if isinstance(told, dict):
        yield from (str(told[key]) for key in ("id", "name") if key in told)
        told = [value for key, value in told.items() if key != "attributes"]
    if isinstance(told, list):
        for value in told:
            yield from _codecs(value)


def check_output(path: str, *, force: bool) -> None:
    """Refuse early what `write` would refuse: what is there already, and no array that may go.

    Raises
    ------
    FileError
    """
    if os.path.lexists(path) and not force:
        raise FileError(f"{path} exists; -f replaces it")
    if os.path.lexists(path) and not os.path.isfile(os.path.join(path, INDEX)):
        raise FileError(f"{path} is no array of zarr, and is not replaced; give another name")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileError(f"cannot write {path}: no such folder; make it first")


def write(
    path: str, shape: tuple[int, ...], dtype: np.dtype[Any], frames: Iterable[NDArray[Any]], *,
    force: bool, allowed: int = 0o777,
) -> int:  # fmt: skip
    """Write a stack as its frames come, whole or not at all.

    Parameters
    ----------
    path : str
        Of the folder.
    shape : tuple of int
        (frames, height, width, channels); an axis of one channel is left out.
    dtype : dtype
    frames : iterable of (some, height, width, channels) ndarray
        All of them, in their order.
    force : bool
        An array that is there is replaced.
    allowed : int
        Permission bits that its files may have.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    FileError
        It is there, and may not be replaced; or cannot be written.
    """
    check_output(path, force=force)
    place = os.path.realpath(path)
    made, aside = (
        os.path.join(os.path.dirname(place), f".lowrank-{os.urandom(8).hex()}.tmp")
        for _ in range(2)
    )
    try:
        try:
            shape = shape if shape[-1] > 1 else shape[:-1]
            total = _fill(made, shape, dtype, frames, allowed)
            if os.path.lexists(place):
                check_output(path, force=force)
                os.rename(place, aside)  # to delete it takes long, and may be interrupted
            os.rename(made, place)
        except OSError as error:
            raise failure("write", path, error) from error
    finally:
        try:
            _settle(place, made, aside)
        finally:  # where a signal came meanwhile, of which there is one
            _settle(place, made, aside)
    return total


def _settle(place: str, made: str, aside: str) -> None:
    """Take an array back that was not replaced, and delete what is not needed any more."""
    if os.path.lexists(aside) and not os.path.lexists(place):
        os.rename(aside, place)
    for folder in (made, aside):
        shutil.rmtree(folder, ignore_errors=True)


def _fill(
    folder: str, shape: tuple[int, ...], dtype: np.dtype[Any], frames: Iterable[NDArray[Any]],
    allowed: int,
) -> int:  # fmt: skip
    os.mkdir(folder, 0o700 | allowed | (allowed & 0o444) >> 2)  # who may read may enter
    total = _put(os.path.join(folder, INDEX), _metadata(shape, dtype), allowed)
    zeros = ["0"] * (len(shape) - 1)
    number = 0
    for some in frames:
        for one in np.ascontiguousarray(some, dtype.newbyteorder("<")):
            place = os.path.join(folder, "c", str(number), *zeros)
            os.makedirs(os.path.dirname(place))
            total += _put(place, one.tobytes(), allowed)
            number += 1
    return total


def _put(path: str, data: bytes, allowed: int) -> int:
    with open(path, "xb", opener=partial(os.open, mode=0o666 & allowed)) as stream:
        return stream.write(data)


def _metadata(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    plain: dict[str, Any] = {"name": "bytes"}
    if dtype.itemsize > 1:
        plain["configuration"] = {"endian": "little"}
    fields = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": (1, *shape[1:])}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": False if dtype.kind == "b" else 0,
        "codecs": [plain],
        "dimension_names": _AXES[: len(shape)],
        "attributes": {},
    }
    return json.dumps(fields, indent=1).encode()
