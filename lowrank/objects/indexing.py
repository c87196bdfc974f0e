"""Numpy's indices, seen as lines of each axis and an index into the block where they cross.

>>> lines, inside = split(np.s_[7, ..., ::-1], (24, 6, 8))
>>> [line.numbers().tolist() for line in lines][::2], inside
([[7], [0, 1, 2, 3, 4, 5, 6, 7]], (0, slice(None, None, None), slice(None, None, -1)))
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Line:
    """What is taken along one axis: an index of numpy's that keeps the axis."""

    def __init__(self, index: slice | NDArray[np.intp], length: int) -> None:
        self.index = index
        self.length = length

    def __len__(self) -> int:
        index = self.index
        return len(range(self.length)[index]) if isinstance(index, slice) else len(index)

    def numbers(self) -> NDArray[np.intp]:
        """Where on the axis they are, ascending."""
        return np.arange(self.length)[self.index]


def whole(lines: Sequence[Line], shape: tuple[int, ...]) -> bool:
    """Whether all of an array is taken."""
    return all(len(line) == n for line, n in zip(lines, shape, strict=True))


def split(key: Any, shape: tuple[int, ...]) -> tuple[list[Line], tuple[Any, ...]]:
    """Split an index in two: lines of each axis, and numpy's own index into their block."""
    keys = [_read(k) for k in (key if isinstance(key, tuple) else (key,))]
    used = sum(map(_axes, keys))
    dots = [i for i, k in enumerate(keys) if k is Ellipsis]
    if used > len(shape) or len(dots) > 1:
        raise IndexError(f"an index of {used} axes, of a stack that has {len(shape)}")
    at = dots[0] if dots else len(keys)
    # Dots that stand for no axis are numpy's still: they part what is beside them.
    keys[at : at + 1] = [slice(None)] * (len(shape) - used) or keys[at : at + 1]
    lines: list[Line] = []
    block: list[Any] = []
    for k in keys:
        if not _axes(k):  # a new axis, dots; numpy makes an axis of a single truth, too
            block.append(k)
        for one in _apart(k, shape[len(lines) :]):
            line, inside = _line(one, shape[len(lines)], len(lines))
            lines.append(line)
            block.append(inside)
    return lines, tuple(block)


def _read(k: Any) -> Any:
    """One part of an index; what stands for an array is one, and an empty list has integers."""
    if k is None or k is Ellipsis or isinstance(k, slice) or type(k) is int:
        return k
    index = np.asarray(k)
    if index.dtype == object and hasattr(k, "__index__"):
        return operator.index(k)
    return index if index.size or isinstance(k, np.ndarray) else index.astype(np.intp)


def _axes(k: Any) -> int:
    """How many axes a part of an index is about: a mask has its own."""
    if k is None or k is Ellipsis:
        return 0
    return k.ndim if isinstance(k, np.ndarray) and k.dtype == bool else 1


def _apart(k: Any, shape: tuple[int, ...]) -> Sequence[Any]:
    """An index for each axis: a mask of several is where it is true, along each of them."""
    if _axes(k) < 2:
        return [k][: _axes(k)]
    if k.shape != shape[: k.ndim]:
        raise IndexError(f"a mask of shape {k.shape}, of axes of {shape[: k.ndim]}")
    return np.nonzero(k)


def _line(k: Any, length: int, at: int) -> tuple[Line, Any]:
    if isinstance(k, slice):
        if k.step is None or k.indices(length)[2] > 0:
            return Line(k, length), slice(None)
        back = slice(None, None, -1)  # lines ascend, as all that reads them counts on
        return Line(np.arange(length)[k][back], length), back
    if type(k) is int and -length <= k < length:  # a trace takes less time than numpy's own way
        return Line(slice(k % length, k % length + 1), length), 0
    index = np.asarray(k)
    if index.dtype == bool and index.shape == (length,):
        index = np.flatnonzero(index)
    if index.dtype.kind not in "iu":
        raise IndexError(f"{k} is no index of a stack; give numbers, slices, arrays or masks")
    index = index.astype(np.intp)
    if ((index < -length) | (index >= length)).any():
        raise IndexError(f"index {k} is out of bounds for axis {at} with size {length}")
    index = np.where(index < 0, index + length, index)
    if index.ndim == 0:
        i = int(index)
        return Line(slice(i, i + 1), length), 0
    taken, inside = np.unique(index, return_inverse=True)
    return Line(taken, length), inside.reshape(index.shape)
