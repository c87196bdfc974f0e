"""Build the site: `python site/build.py FOLDER`, which any static host serves as it stands.

The page is that of `lowrank report --html`, its parts as they are in lowrank/views/page, with
no picture in it; what is here adds where pictures come from: a drop zone, a gallery that is
drawn, and a worker that decomposes. The policy of the page lets nothing but its own files in,
and nothing out.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lowrank.views import html, markup

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SCRIPTS = ("svd.js", "picture.js", "stacks.js", "session.js", "drop.js", "path.js")
GALLERY = {
    "flag.png": "Flag",
    "tartan.png": "Tartan",
    "diagonal.png": "Diagonal",
    "text.png": "Text",
    "photographer.png": "Photographer",
    "noise.png": "Noise",
    "parrots.png": "Parrots",
    "door.png": "Door",
    "elevation.png": "16 bits",
    "light.npy": "Stack",
}


def main() -> None:
    """Build into the folder that is named, which is made anew."""
    out = Path(sys.argv[1])
    shutil.rmtree(out, ignore_errors=True)
    (out / "gallery").mkdir(parents=True)
    draw(out / "gallery")
    worker = "\n".join((HERE / name).read_text("utf-8") for name in ("svd.js", "worker.js"))
    (out / "worker.js").write_text(worker, "utf-8")
    shutil.copy(ROOT / "js" / "img-lrk.js", out)
    buttons = "\n".join(
        f'<li><button type="button" data-picture="{name}" aria-pressed="false">'
        f'<img src="gallery/small/{name.partition(".")[0]}.png" alt="">{title}</button></li>'
        for name, title in GALLERY.items()
    )
    welcome = (HERE / "welcome.html").read_text("utf-8").replace("$gallery", buttons)
    page = html.bare(
        welcome=welcome + stack(),
        css=markup.asset("stack.css") + (HERE / "site.css").read_text("utf-8"),
        scripts=[
            *(markup.asset(name) for name in ("frames.js", "stack.js")),
            *((HERE / name).read_text("utf-8") for name in SCRIPTS),
        ],
    )
    icon = '<link rel="icon" href="data:,">\n<title>'
    (out / "index.html").write_text(page.replace("<title>", icon, 1), "utf-8")


def stack() -> str:
    """The page of a stack as a template, for one that is dropped."""
    _, _, rest = markup.asset("stack.html").partition('role="alert" hidden></p>')
    sections, _, _ = rest.partition('<section aria-labelledby="report">')
    filled = Template(sections).substitute(start=1, most=1, last=0, copied="")
    return f'<template id="stack-template"><div id="page">{filled}</div></template>'


def draw(folder: Path) -> None:
    """Draw the gallery, and copy the photographs of the samples."""
    Image.fromarray(flag()).save(folder / "flag.png")
    Image.fromarray(tartan()).save(folder / "tartan.png")
    Image.fromarray(diagonal()).save(folder / "diagonal.png")
    Image.fromarray(noise()).save(folder / "noise.png")
    text().save(folder / "text.png")
    frames = light()
    np.save(folder / "light.npy", frames)
    for name in GALLERY:
        if not (folder / name).exists():
            shutil.copy(ROOT / "sample_images" / name, folder)
    (folder / "small").mkdir()
    for name in GALLERY:
        image = Image.fromarray(frames[8]) if name == "light.npy" else Image.open(folder / name)
        if image.mode[0] in "IF":
            samples = np.asarray(image).astype(float)
            samples = 255 * (samples - samples.min()) / np.ptp(samples)
            image = Image.fromarray(samples.astype(np.uint8))
        image = image.convert("RGB")
        image.thumbnail((180, 180))
        image.save(folder / "small" / f"{name.partition('.')[0]}.png")


def flag() -> np.ndarray:
    """A cross on a field: two patterns of rows, rank 2 in each channel."""
    A = np.empty((240, 360, 3), np.uint8)
    A[:] = (0, 82, 147)
    A[96:144] = A[:, 108:156] = (254, 205, 1)
    return A


def tartan() -> np.ndarray:
    """Stripes down plus stripes across: rank 2 in each channel."""
    i = np.arange(320)
    bands = [
        ((i % 80) < 34) * 60 + ((i % 40) // 4 == 3) * 50,
        (i % 80 > 46) * 70 + (i % 16 < 2) * 20,
    ]
    channels = [bands[0] + bands[1] // 2, bands[1], bands[0] // 2 + 20]
    return np.stack([c[:, None] + c[None] + 10 for c in channels], axis=2).astype(np.uint8)


def diagonal() -> np.ndarray:
    """One thin line along the diagonal."""
    return (255 - 255 * np.eye(256)).astype(np.uint8)


def noise() -> np.ndarray:
    """Independent samples, from a fixed seed."""
    return np.random.default_rng(61).integers(0, 256, (256, 256)).astype(np.uint8)


def light() -> np.ndarray:
    """A matte sphere under a light that moves: 32 frames, rank 3, as normals have three numbers."""
    y, x = np.mgrid[-1:1:128j, -1:1:128j] * 1.1
    z = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    normals = np.where(z > 0, np.stack([x, y, z]), 0)
    t = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    lights = np.stack([0.5 * np.cos(t), 0.4 * np.sin(2 * t), np.full(32, 0.9)], axis=1)
    return np.tensordot(lights, 160 * normals, 1).astype(np.float32)


def text() -> Image.Image:
    """A page of text: edges in every direction."""
    image = Image.new("L", (400, 300), 255)
    font = ImageFont.load_default(15)
    words = (
        "Each channel of a picture is a matrix, and its\n"
        "singular value decomposition writes it as a sum\n"
        "of layers, the strongest first. No matrix of\n"
        "rank k is nearer to it than the sum of the first k.\n"
        "So the singular values decide alone: where\n"
        "they fall fast a few layers are the picture, and\n"
        "in noise, where they hardly fall, nothing can\n"
        "be left out. Letters are edges in every direction,\n"
        "and their spectrum falls slowly: this page of\n"
        "text needs more layers than a photograph that\n"
        "is four times as large."
    )
    ImageDraw.Draw(image).multiline_text((14, 14), words, fill=0, font=font, spacing=7)
    return image


if __name__ == "__main__":
    main()
