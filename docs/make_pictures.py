"""Draw the pictures of the documentation, with lowrank itself: `python docs/make_pictures.py`."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

import lowrank

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "sample_images" / "parrots.png"
RANKS = (1, 5, 20, 77)
WIDTH = 384
CAPTION = 30
CROP = (96, 40, 96 + WIDTH, 40 + 256)


def strip() -> Image.Image:
    """Return the photograph at several ranks side by side, each with its bytes."""
    with Image.open(PHOTO) as image:
        original = image.convert("RGB")
    panels = [(original, f"original: {PHOTO.stat().st_size:,} bytes")]
    for k in RANKS:
        compressed = lowrank.compress(PHOTO, rank=k)
        panels.append(
            (compressed.to_image(), f"k = {k}: {len(compressed.to_bytes()):,} bytes, channels")
        )
    packed = lowrank.compress(PHOTO, quality=30)
    panels.append((packed.to_image(), f"packed, -q 30: {len(packed.to_bytes()):,} bytes"))
    return tiled(panels, columns=3)


def crops() -> Image.Image:
    """Return crops of a photograph at four rates, beside JPEG and WebP in as many bytes."""
    with Image.open(PHOTO) as image:
        original = image.convert("RGB")
    panels = []
    for bpp in (0.1, 0.25, 0.5, 1.0):
        size = int(bpp * original.width * original.height / 8)
        packed = lowrank.compress(PHOTO, size=size)
        panels.append((packed.to_image().crop(CROP), f"lowrank, {bpp:.2f} bits per pixel"))
        for kind, options in (("JPEG", {"optimize": True}), ("WEBP", {"method": 6})):
            decoded, least = _fitting(original, kind, size, **options)
            taken = 8 * least / original.width / original.height
            panels.append((decoded.crop(CROP), f"{kind}, {taken:.2f}"))
    return tiled(panels, columns=3)


def _fitting(image: Image.Image, kind: str, size: int, **options: Any) -> tuple[Image.Image, int]:
    """Return the picture and its bytes at the best quality that fits, or at the least."""
    for quality in range(95, -1, -1):
        stream = BytesIO()
        image.save(stream, kind, quality=quality, **options)
        if stream.tell() <= size or not quality:
            break
    size = stream.tell()
    with Image.open(stream) as decoded:
        return decoded.convert("RGB"), size


def tiled(panels: list[tuple[Image.Image, str]], *, columns: int) -> Image.Image:
    """Return captioned panels in rows."""
    height = round(WIDTH * panels[0][0].height / panels[0][0].width)
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * (WIDTH + 8) - 8, rows * (height + CAPTION)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=17)
    for i, (panel, caption) in enumerate(panels):
        x, y = i % columns * (WIDTH + 8), i // columns * (height + CAPTION)
        sheet.paste(panel.resize((WIDTH, height), Image.Resampling.LANCZOS), (x, y))
        draw.text((x + 2, y + height + 3), caption, fill="black", font=font)
    return sheet


if __name__ == "__main__":
    strip().quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(
        ROOT / "docs" / "strip.png", optimize=True
    )
    crops().quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(
        ROOT / "docs" / "crops.png", optimize=True
    )
