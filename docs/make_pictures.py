"""Draw the pictures of the documentation, with lowrank itself: `python docs/make_pictures.py`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import lowrank

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "sample_images" / "parrots.png"
RANKS = (1, 5, 20, 77)
WIDTH = 384
CAPTION = 30


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
