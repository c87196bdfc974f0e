"""Names that requests and files share, in the order of their codes in the format."""

from __future__ import annotations

LAYOUTS = ("channels", "patches", "stack")
"""How a picture, or a stack of them, is seen as matrices."""

FLOAT_STORES = ("float16", "float32", "float64")
STORES = (*FLOAT_STORES, "packed")
"""How factors are kept."""

AUTO = "auto"
"""The narrowest float store whose rounding does not show; no file states it."""
AUTO_WIDTH = "float16"
"""What `auto` counts with before anything is factorised."""

CHOICES = (AUTO, *STORES)
FLOAT_CHOICES = (AUTO, *FLOAT_STORES)
"""What a request may say of the store."""

WEIGHTS = ("noise",)
"""What may weigh the frames of a stack."""
TUNES = ("psnr", "eye")
"""What a packed picture may be best for."""

CODECS = ("jpeg", "webp", "avif", "jxl", "jpeg2000", "png")
"""Other codecs that a file may be compared with."""
