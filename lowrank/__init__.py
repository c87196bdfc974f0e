"""Low-rank image compression with proved error bounds.

>>> import lowrank
>>> image = lowrank.compress("photo.png", rank=20)  # doctest: +SKIP
>>> image.save("photo.lrk")  # doctest: +SKIP
>>> lowrank.open("photo.lrk").to_image()  # doctest: +SKIP
<PIL.Image.Image image mode=RGB size=768x512 at 0x...>

Names load on first use, so that `lowrank --help` need not load numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lowrank.errors import (
    FileError,
    FormatError,
    ImageError,
    LimitError,
    LowrankError,
    TruncatedError,
    UsageError,
)

if TYPE_CHECKING:
    from lowrank.api import LowRankImage, compress, open
    from lowrank.stack import LowRankStack

__version__ = "0.1.0"

__all__ = [
    "FileError",
    "FormatError",
    "ImageError",
    "LimitError",
    "LowRankImage",
    "LowRankStack",
    "LowrankError",
    "TruncatedError",
    "UsageError",
    "__version__",
    "compress",
    "open",
    "register_lrk_opener",
]


def register_lrk_opener() -> None:
    """Make `.lrk` a format of Pillow: `Image.open`, `save`, `verify`."""
    from lowrank import plugin  # noqa: F401 - importing it registers


def __getattr__(name: str) -> Any:
    if name in {"LowRankImage", "compress", "open"}:
        from lowrank import api

        return getattr(api, name)
    if name == "LowRankStack":
        from lowrank.stack import LowRankStack

        return LowRankStack
    raise AttributeError(f"module 'lowrank' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
