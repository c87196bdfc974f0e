"""Other codecs beside ours: each at its best for what is compared, and named as it was asked."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pytest
from conftest import picture
from PIL import Image

import lowrank
from lowrank.io import pillow
from lowrank.io.modes import to_image
from lowrank.picture import MODES, Picture, array_mode
from lowrank.report import peers

NEEDS_AVIF = pytest.mark.skipif(not peers._avif_can_be_tuned(), reason="AVIF without libaom")


def saved(image, quality, subsampling, **settings):
    stream = BytesIO()
    image.save(stream, "AVIF", speed=6, quality=quality, subsampling=subsampling, **settings)
    with Image.open(BytesIO(stream.getvalue())) as decoded:
        error = np.asarray(image).astype(float) - np.asarray(decoded.convert("RGB"))
    return len(stream.getvalue()), 20 * np.log10(255 / np.sqrt(np.mean(error**2)))


@NEEDS_AVIF
def test_avif_is_the_best_file_that_it_can_write_for_the_psnr():
    original = picture("RGB", 120, 160)
    image = to_image(original)
    (found,) = peers.against(original, ["avif"], size=3000, psnr=30.0)
    assert found.tune == "psnr"
    files = [
        saved(image, q, s, advanced={"tune": "psnr"})
        for s in ("4:2:0", "4:4:4")
        for q in range(1, 100, 2)
    ]
    assert found.bytes <= min(size for size, psnr in files if psnr >= 30)
    assert found.psnr_db >= max(psnr for size, psnr in files if size <= 3000) - 1e-9


def test_avif_that_cannot_be_tuned_is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(peers, "_avif_can_be_tuned", lambda: False)
    (found,) = peers.against(picture("RGB", 40, 50), ["avif"], size=3000, psnr=30.0)
    assert (found.codec, found.tune) == ("avif", None)


@NEEDS_AVIF
def test_row_and_json_name_the_tuning(cli, tmp_path):
    (tmp_path / "in.png").write_bytes(pillow.write(picture("RGB", 40, 50), format="PNG"))
    cli("compress", "in.png", "-q", "60").succeeded()
    run = ("report", "in.png", "in.lrk", "--against", "jpeg,avif")
    assert "avif, tune=psnr" in cli(*run).succeeded().text
    rows = json.loads(cli(*run, "--json").succeeded().text)["against"]
    assert [(row["codec"], row["tune"]) for row in rows] == [("jpeg", None), ("avif", "psnr")]


def test_jpeg_xl_is_the_best_file_that_it_can_write_and_is_said_to_be_for_the_eye():
    pytest.importorskip("pillow_jxl")
    original = picture("RGB", 120, 160)
    image = to_image(original)
    (found,) = peers.against(original, ["jxl"], size=3000, psnr=30.0)
    assert (found.codec, found.tune) == ("jxl", "eye")
    files = []
    for quality in range(1, 100, 7):
        stream = BytesIO()
        image.save(stream, "JXL", quality=quality, effort=7)
        with Image.open(BytesIO(stream.getvalue())) as decoded:
            error = np.asarray(image).astype(float) - np.asarray(decoded.convert("RGB"))
        psnr = 20 * np.log10(255 / np.sqrt(np.mean(error**2)))
        files.append((len(stream.getvalue()), psnr))
    assert found.bytes <= min(size for size, psnr in files if psnr >= 30)
    assert found.psnr_db >= max(psnr for size, psnr in files if size <= 3000) - 1e-9


def test_without_its_extra_jpeg_xl_says_what_to_install(monkeypatch):
    monkeypatch.setattr(peers.jxl, "register", lambda: False)
    (found,) = peers.against(picture("RGB", 40, 50), ["jxl"], size=3000, psnr=30.0)
    assert (found.psnr_db, found.bytes) == (None, None)
    assert "lowrank-image[jxl]" in found.why


@pytest.mark.parametrize("kind", ["uint16", "int16"])
def test_jpeg_xl_codes_the_deep_frames_of_a_stack(kind):
    pytest.importorskip("imagecodecs")
    y, x = np.mgrid[:24, :32]
    frames = [900 + 500 * np.sin((x + 5 * i) / 7) + 400 * np.cos(y / 6) for i in range(3)]
    mode = array_mode("int16", 1) if kind == "int16" else MODES["I;16"]
    stack = Picture(np.array(frames).astype(kind)[..., None], mode)
    (some,) = peers.against(stack, ["jxl"], size=3000, psnr=30.0)
    (more,) = peers.against(stack, ["jpegxl"], size=3000, psnr=40.0)
    assert some.why == "each frame alone; from 3 of 3"
    assert 0 < some.bytes < more.bytes


def test_a_rival_keeps_the_colours_below_transparent_pixels_that_we_keep():
    opaque = picture("RGBA", 48, 64)
    opaque.samples[..., 3] = 255
    half = opaque.samples.copy()
    half[:, :32, 3] = 0
    hidden = Picture(half, opaque.mode)
    (webp,) = peers.against(hidden, ["webp"], size=4000, psnr=30.0)
    reached = []
    for quality in range(1, 101):
        stream = BytesIO()
        Image.fromarray(half).save(stream, "WEBP", method=6, quality=quality, exact=True)
        if len(stream.getvalue()) <= 4000:
            with Image.open(stream) as back:
                error = np.asarray(back, float) - half
            reached.append(20 * np.log10(255 / np.sqrt(np.mean(error**2))))
    assert webp.psnr_db == pytest.approx(max(reached))
    assert webp.bytes is not None
    (jxl,) = peers.against(hidden, ["jxl"], size=4000, psnr=30.0)
    assert jxl.why
    (jxl,) = peers.against(opaque, ["jxl"], size=4000, psnr=30.0)
    assert "transparent" not in jxl.why


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_beside_a_file_that_is_exact_rivals_are_exact_too_and_in_so_many_bytes(mode):
    original = picture(mode, 24, 32)
    found = peers.against(original, ["jpeg", "webp", "jpeg2000"], size=100_000, psnr=None)
    exact = {}
    for name, settings in {
        "webp": {"lossless": True, "quality": 100, "method": 6},
        "jpeg2000": {"irreversible": False, "mct": int(mode == "RGB")},
    }.items():
        stream = BytesIO()
        to_image(original).save(stream, name, **settings)
        exact[name] = len(stream.getvalue())
    jpeg, *others = found
    assert jpeg.bytes is None
    assert jpeg.psnr_db != np.inf
    assert {peer.codec: peer.bytes for peer in others} == exact
    assert all(peer.psnr_db == np.inf for peer in others)


def test_png_is_the_smallest_and_exact_where_it_fits(cli, tmp_path):
    y, x = np.mgrid[:64, :64]
    colours = np.array([[200, 30, 30], [20, 60, 220], [255, 255, 255]], np.uint8)
    drawing = colours[(x // 5 + y // 7) % 3]
    paletted = Image.fromarray(drawing).quantize(3)
    paletted.save(tmp_path / "in.png", optimize=True)
    lowrank.compress(drawing, quality=90).save(tmp_path / "in.lrk")
    said = json.loads(
        cli("report", "in.png", "in.lrk", "--against", "png,jpeg", "--json").succeeded().text
    )
    png, jpeg = said["against"]
    assert png["bytes"] <= (tmp_path / "in.png").stat().st_size
    fits = png["bytes"] <= (tmp_path / "in.lrk").stat().st_size
    assert (png["exact"], png["psnr_db"], jpeg["exact"]) == (fits, None, False)
    assert fits


def test_a_rival_that_is_exact_on_every_frame_is_exact():
    flat = Picture(np.full((4, 20, 24, 1), 77, np.uint8), picture("L", 4, 4).mode)
    found = peers.against(flat, ["jpeg2000", "webp"], size=100_000, psnr=None)
    assert [x.psnr_db for x in found] == [np.inf, np.inf]
