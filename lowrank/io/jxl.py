"""JPEG XL through pillow-jxl-plugin, where that is installed: the extra `jxl`."""

from __future__ import annotations

_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")


def is_jxl(data: bytes) -> bool:
    """Whether bytes are those of a JPEG XL: a codestream, or one in boxes."""
    return data.startswith(_STARTS)


def register() -> bool:
    """Let Pillow open JPEG XL, if a library for it is installed."""
    try:
        import pillow_jxl  # noqa: F401 - importing it registers its format
    except ImportError:
        return False
    return True
