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
    ArgumentError,
    FileError,
    FormatError,
    ImageError,
    LimitError,
    LowrankError,
    TruncatedError,
    UsageError,
)

if TYPE_CHECKING:
    from lowrank.api import compress, ladder, open, spectrum
    from lowrank.objects.image import LowRankImage
    from lowrank.objects.stack import LowRankStack
    from lowrank.report import Report

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "FileError",
    "FormatError",
    "ImageError",
    "LimitError",
    "LowRankImage",
    "LowRankStack",
    "LowrankError",
    "Report",
    "TruncatedError",
    "UsageError",
    "__version__",
    "compress",
    "ladder",
    "open",
    "register_lrk_opener",
    "spectrum",
]

_LATER = {
    "LowRankImage": "objects.image",
    "LowRankStack": "objects.stack",
    "Report": "report",
    "compress": "api",
    "ladder": "api",
    "open": "api",
    "spectrum": "api",
}
"""Names that load on first use, and the rooms they come from."""


def register_lrk_opener() -> None:
    """Make `.lrk` a format of Pillow: `Image.open`, `save`, `verify`."""
    from lowrank import plugin  # noqa: F401 - importing it registers


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(f"lowrank.{_LATER[name]}"), name)
    raise AttributeError(f"module 'lowrank' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
