"""`.lrk` as a format of napari, which finds it by `napari.yaml`; napari itself is not needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lowrank import api
from lowrank.objects.stack import LowRankStack

if TYPE_CHECKING:
    Paths = str | os.PathLike[str] | list[str]
    Layer = tuple[Any, dict[str, Any], str]


def napari_get_reader(path: Paths) -> Callable[[Paths], list[Layer]] | None:
    """Return the reader of one or several `.lrk` files; None where there is another among them."""
    paths = _each(path)
    return read if paths and all(str(p).lower().endswith(".lrk") for p in paths) else None


def read(path: Paths) -> list[Layer]:
    """Decode each file to a layer: its samples, how they are shown, and `image`.

    Channels that are no colours are layers of their own.
    """
    layers: list[Layer] = []
    for p in _each(path):
        image = api.open(p)
        colour = image.mode in ("RGB", "RGBA")
        name = os.path.splitext(os.path.basename(p))[0]
        facts: dict[str, Any] = {"name": name, "rgb": colour}
        if not colour and image.ndim > (3 if isinstance(image, LowRankStack) else 2):
            facts["channel_axis"] = -1
        layers.append((np.asarray(image), facts, "image"))
    return layers


def _each(path: Paths) -> list[Any]:
    return path if isinstance(path, list) else [path]
