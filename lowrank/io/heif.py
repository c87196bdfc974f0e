"""HEIC through pillow-heif, where that is installed: the extra `heif`."""

from __future__ import annotations

from PIL import Image

BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"mif2", b"msf1")
"""Of an ISO media file, at its byte 8: pictures, coded as HEVC frames unless AVIF's stand too."""

_WIDE = (16, 18)  # transfer characteristics of H.273 for high dynamic range: PQ, HLG
_USUAL = (1, 2)  # colour primaries: those of sRGB, and none stated


def is_heif(data: bytes) -> bool:
    """Whether bytes are those of a HEIC image."""
    return data[4:8] == b"ftyp" and data[8:12] in BRANDS and b"avif" not in data[16:64]


def register() -> bool:
    """Let Pillow open HEIC, if a library for it is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def left_out(image: Image.Image) -> list[str]:
    """Name what is beside the main picture of a HEIC, and is not carried."""
    info = image.info
    dropped = []
    if info.get("depth_images"):
        dropped.append("depth map")
    if info.get("aux"):
        dropped.append("auxiliary images")
    colours = info.get("nclx_profile")
    if isinstance(colours, dict) and "icc_profile" not in info:
        primaries = colours.get("color_primaries", 2) not in _USUAL
        if primaries or colours.get("transfer_characteristics") in _WIDE:
            dropped.append("nclx colours")
    return dropped
