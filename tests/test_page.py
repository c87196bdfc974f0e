"""The HTML page in a real browser: what it shows is what the tool decodes, and it is harmless."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib

import numpy as np
import pytest
from chromium import NAMELESS
from conftest import picture
from PIL import Image, ImageOps

import lowrank
from lowrank import codec
from lowrank import format as lrk
from lowrank.io import formats, images, pillow
from lowrank.picture import Picture, array_mode
from lowrank.report import ask, exhibit
from lowrank.views import html as view

READY = "#stage[aria-busy=false]"
LARGE = 300, 1536
"""Height and width of a picture that a page shows a copy of, of half its sides."""


@pytest.fixture(scope="module")
def tab(browser):
    """One page for all tests, and what happens in it: a process for each would take most time."""
    context = browser.new_context()
    page, events = context.new_page(), []
    page.on("console", lambda message: events.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: events.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (events.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: events.append(request.url))
    yield page, events
    context.close()


@pytest.fixture
def visit(tab):
    """Open a page; at the end nothing may have been logged, thrown, asked of a network or shown."""
    page, events = tab

    def visit(path, *, viewport=(1280, 800), color_scheme="light"):
        assert not events
        page.set_viewport_size(dict(zip(("width", "height"), viewport, strict=True)))
        page.emulate_media(color_scheme=color_scheme)
        page.goto(path.as_uri())
        page.wait_for_selector(READY)
        assert events.pop(0) == path.as_uri()
        return page

    yield visit
    page.goto("about:blank")  # what still goes on there ends, and is seen here
    assert not events
    events.clear()


@pytest.fixture
def make(tmp_path):
    """Write a picture and its page; in this process, as many tests need one."""

    def make(source, *, name="in.png", file=None, ranks=(), store=None):
        path = tmp_path / name
        if not isinstance(source, bytes):
            source = pillow.write(source, format=formats.format_for(name, source.mode))
        path.write_bytes(source)
        result = ask.report(
            str(path), file and str(file), ranks=list(ranks), store=store, max_pixels=1 << 24
        )
        page = tmp_path / "page.html"
        page.write_text(view.page(result, exhibit.of(result)), "utf-8")
        return page

    return make


def embedded(path):
    """What the page carries: its data, and the parts of its `.lrk` file, by our own reader."""
    text = path.read_text("utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    data = json.loads(found[1])
    return data, lrk.parse(base64.b64decode(data["lrk"]), name="embedded", max_pixels=1 << 24)


def a_tiff(A):
    """A picture of several channels as a file, which the extra `tiff` reads."""
    pytest.importorskip("tifffile")
    mode = array_mode(A.dtype.name, A.shape[2])
    return images.write(Picture(A, mode), format="TIFF")


def canvas(page):
    """Return the pixels of the canvas, (height, width, 4), without the browser's alpha rounding."""
    found = page.evaluate(
        """() => {
          const canvas = document.getElementById("picture");
          const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let text = "";
          for (let i = 0; i < data.length; i += 8192)
            text += String.fromCharCode(...data.subarray(i, i + 8192));
          return [canvas.height, canvas.width, btoa(text)];
        }"""
    )
    pixels = np.frombuffer(base64.b64decode(found[2]), np.uint8)
    return pixels.reshape(found[0], found[1], 4).astype(int)


def set_rank(page, k):
    page.fill("#rank-number", str(k))
    page.wait_for_selector(f"{READY}[data-rank='{k}']")


def displayed(samples, mode, low, high):
    """Samples as a screen shows them, (height, width, 4)."""
    level = (samples.astype(np.float64) - low) * (255 / (high - low))
    out = np.full((*samples.shape[:2], 4), 255.0)
    if mode == "CMYK":
        light = (255 - level[:, :, 3:]) / 255
        out[:, :, :3] = (255 - level[:, :, :3]) * light
        return out
    colours = 3 if mode.startswith("RGB") else 1
    out[:, :, :3] = level[:, :, :colours]
    if samples.shape[2] > colours:
        out[:, :, 3] = level[:, :, colours]
    return np.clip(out, 0, 255)


def assert_within_a_level(found, wanted):
    """Compare where the canvas can: it keeps no exact colour where it is not opaque."""
    assert np.abs(found[:, :, 3] - wanted[:, :, 3]).max() <= 1
    opaque = (found[:, :, 3] == 255) & (wanted[:, :, 3] >= 254.5)
    assert opaque.mean() > 0.2
    assert np.abs(found - wanted)[opaque].max() <= 1


MODES = ("1", "L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F")


@pytest.mark.parametrize("mode", MODES)
def test_canvas_is_what_the_tool_decodes(make, visit, mode):
    original = picture(mode, 60, 90)
    if "alpha" in original.mode.channels:
        original.samples[:, :50, -1] = 255
    path = make(original, name="in.png" if mode not in ("CMYK", "F") else "in.tif")
    data, parts = embedded(path)
    page = visit(path)
    low, high = data["black"], data["white"]
    for k in (1, 2, 7, 20, data["most"], 3):  # up and down: sums are kept between
        set_rank(page, k)
        wanted = codec.decode(parts, rank=k).picture.samples
        assert_within_a_level(canvas(page), displayed(wanted, mode, low, high))
    page.check("input[value=original]")
    assert_within_a_level(canvas(page), displayed(original.samples, mode, low, high))


@pytest.mark.parametrize("dtype", ["uint32", "int32", "int16", "float64"])
@pytest.mark.parametrize("large", [False, True])
def test_one_channel_of_any_type_has_a_page(make, visit, dtype, large, tmp_path):
    """Such as labels and sums of 32 bits, of which float32 holds 24."""
    grey = picture("L", *(LARGE if large else (60, 90))).samples[:, :, 0].astype(np.float64)
    scale = {"int16": 120, "uint32": 1.6e7}.get(dtype, 8e6)
    A = (grey * scale - 9e3 * (dtype[0] != "u")).astype(dtype)
    stream = io.BytesIO()
    np.save(stream, A)
    lowrank.compress(A, rank=9).save(tmp_path / "in.lrk")
    path = make(stream.getvalue(), name="in.npy", file=tmp_path / "in.lrk")
    data, parts = embedded(path)
    page = visit(path)
    low, high = data["black"], data["white"]
    for k in (2, 9):
        set_rank(page, k)
        wanted = codec.decode(parts, rank=k).picture.samples
        assert_within_a_level(canvas(page), displayed(wanted, "F", low, high))
    if not large:
        assert (low, high) == pytest.approx((A.min(), A.max()), rel=1e-7)
        assert data["measured"][0]["k"] == 9
        decoded = lowrank.open(tmp_path / "in.lrk").to_array().reshape(60, 90, 1)
        assert_within_a_level(canvas(page), displayed(decoded, "F", low, high))


def test_photograph_at_several_ranks_and_size_of_page(make, visit, samples):
    path = make((samples / "parrots.png").read_bytes())
    assert path.stat().st_size < 3_000_000
    data, parts = embedded(path)
    assert parts.head.store == "float16"
    assert data["most"] >= 120
    page = visit(path)
    for k in (1, 20, 120):
        set_rank(page, k)
        wanted = displayed(codec.decode(parts, rank=k).picture.samples, "RGB", 0, 255)
        assert_within_a_level(canvas(page), wanted)
    page.check("input[value=original]")
    with Image.open(samples / "parrots.png") as image:
        assert np.array_equal(canvas(page)[:, :, :3], np.asarray(image))


def test_embedded_file_saved_is_read_by_the_tool(make, visit, tmp_path):
    path = make(picture("RGB", 40, 50))
    page = visit(path)
    with page.expect_download() as download:
        page.click("#save")
    saved = tmp_path / "saved.lrk"
    download.value.save_as(saved)
    assert lowrank.open(saved).ranks == (40, 40, 40)
    assert saved.read_bytes() == base64.b64decode(embedded(path)[0]["lrk"])


def test_measured_errors_are_those_of_numpy_and_lie_on_the_bounds(make, visit):
    original = picture("RGB", 60, 90)
    page = visit(make(original))
    spectra = [
        np.linalg.svd(original.samples[:, :, c].astype(float), compute_uv=False) for c in range(3)
    ]
    for k in (1, 5, 30):
        set_rank(page, k)
        wanted = {
            "spectral": max(s[k] for s in spectra),
            "frobenius": np.sqrt(sum(float(s[k:] @ s[k:]) for s in spectra)),
        }
        for name, value in wanted.items():
            for id in (name, f"{name}-bound"):
                found = float(page.inner_text(f"#{id}").replace(",", ""))
                assert found == pytest.approx(value, rel=2e-4)
            ratio = float(page.inner_text(f"#{name}-ratio").split()[0])
            assert 1 - 1e-5 <= ratio < 1.001
        kept = 1 - wanted["frobenius"] ** 2 / sum(float(s @ s) for s in spectra)
        assert float(page.inner_text("#energy").split()[0]) == pytest.approx(100 * kept, abs=0.01)


def test_errors_of_floats_lie_on_the_bounds_to_the_last_rank(make, visit):
    """A bright row leaves the others few of 65,536 levels, if floats were rounded to these."""
    file = io.BytesIO()
    A = 0.1 * np.random.default_rng(0).standard_normal((40, 50))
    A[7] += 1e3
    np.save(file, A.astype(np.float32))
    page = visit(make(file.getvalue(), name="in.npy"))
    for k in (1, 20, 39):
        set_rank(page, k)
        for name in ("spectral", "frobenius"):
            ratio = float(page.inner_text(f"#{name}-ratio").split()[0])
            assert 1 - 1e-5 <= ratio < 1.0005, (k, name)


def test_rival_never_beats_the_bound(make):
    data, _ = embedded(make(picture("RGB", 60, 90)))
    spectra = np.array(data["spectra"])
    tails = np.sqrt(np.cumsum((spectra**2).sum(axis=0)[::-1])[::-1])
    assert np.all(np.array(data["rival"][:-1]) >= tails * (1 - 1e-6))


@pytest.mark.parametrize("shape", [(7, 9), (64, 300), (31, 5), (1, 4)])
def test_rival_keeps_the_lowest_cosine_frequencies(make, shape):
    original = picture("L", *shape)
    A = original.samples[:, :, 0].astype(float)
    A = A if len(A) == min(A.shape) else A.T
    i, j = np.ogrid[: len(A), : len(A)]
    C = np.cos(np.pi * (j + 0.5) * i / len(A)) * np.sqrt(2 / len(A))
    C[0] /= np.sqrt(2)
    wanted = [np.linalg.norm(A - C[:k].T @ C[:k] @ A) for k in range(len(A) + 1)]
    data, _ = embedded(make(original))
    assert data["rival"] == pytest.approx(wanted, rel=1e-7, abs=1e-4)


# -- controls --------------------------------------------------------------------------


def test_slider_follows_the_keys_and_says_its_value(make, visit):
    page = visit(make(picture("RGB", 60, 90), ranks=[20]))
    slider = page.locator("#rank")
    assert slider.input_value() == "20"
    slider.focus()
    for key, k in (("ArrowRight", 21), ("ArrowLeft", 20), ("Home", 1), ("End", 60)):
        slider.press(key)
        page.wait_for_selector(f"{READY}[data-rank='{k}']")
        assert page.inner_text("#headline") == str(k)
        assert slider.get_attribute("aria-valuetext").startswith(f"rank {k} of 60, ")
    page.locator("#spoken", has_text="Rank 60:").wait_for(state="attached")


def test_views_by_keys(make, visit):
    original = picture("L", 60, 90)
    path = make(original, ranks=[4])
    page = visit(path)
    _, parts = embedded(path)
    wanted = codec.decode(parts, rank=4).picture.samples[:, :, 0].astype(int)
    page.focus("input[value=sum]")
    page.keyboard.press("ArrowRight")
    assert page.is_checked("input[value=difference]")
    page.select_option("#gain", "4")
    difference = np.clip(128 + 4 * (original.samples[:, :, 0] - wanted), 0, 255)
    assert np.abs(canvas(page)[:, :, 0] - difference).max() <= 4
    page.keyboard.press("ArrowRight")
    page.focus("input[value=difference]")
    page.keyboard.press("ArrowRight")
    assert page.is_checked("input[value=layer]")
    factors = parts.body.factors[0]
    layer = np.outer(factors.U[:, 3].astype(float), factors.Vt[3].astype(float))
    shown = canvas(page)[:, :, 0] - 128
    clear = np.abs(layer) > 0.05 * np.abs(layer).max()
    assert np.array_equal(np.sign(shown)[clear], np.sign(layer)[clear])
    page.focus("input[value=layer]")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.is_checked("input[value=original]")
    assert np.array_equal(canvas(page)[:, :, 0], original.samples[:, :, 0])


def test_swipe_lays_the_original_over_the_left(make, visit):
    page = visit(make(picture("RGB", 60, 90)))
    assert page.is_hidden("#handle")
    page.check("#swipe")
    page.focus("#handle")
    page.keyboard.press("Home")
    assert "100%" in page.evaluate("() => document.getElementById('under').style.clipPath")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("() => document.getElementById('divider').style.left") == "5%"
    box = page.locator("#frame").bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    left = page.evaluate("() => parseFloat(document.getElementById('divider').style.left)")
    assert left == pytest.approx(75, abs=2)


def test_buttons_layers_plots_and_play(make, visit):
    page = visit(make(picture("RGB", 60, 90)))
    page.click("#steps >> text='5'")
    page.wait_for_selector(f"{READY}[data-rank='5']")
    page.click("#layers button >> nth=2")
    page.wait_for_selector(f"{READY}[data-rank='3']")
    assert page.is_checked("input[value=layer]")
    assert page.locator("#layers button[aria-current=true]").count() == 1
    page.click(".report [data-k='10']")
    page.wait_for_selector(f"{READY}[data-rank='10']")
    for chart in ("spectrum", "energy", "spectral", "frobenius"):
        box = page.locator(f"#chart-{chart} svg").bounding_box()
        page.locator(f"#chart-{chart}").scroll_into_view_if_needed()
        page.click(f"#chart-{chart}", position={"x": box["width"] / 2, "y": box["height"] / 2})
        page.wait_for_selector(READY)
        assert 25 <= int(page.inner_text("#headline")) <= 35
        set_rank(page, 2)
    page.click("#play")
    page.wait_for_selector(f"{READY}[data-rank='4']")
    assert page.get_attribute("#play", "aria-pressed") == "true"
    page.click("#play")
    assert page.get_attribute("#play", "aria-pressed") == "false"


def test_one_layer_is_one(make, visit):
    page = visit(make(picture("L", 24, 36)))
    for k, said in ((1, "1 layer"), (2, "2 layers")):
        set_rank(page, k)
        assert page.inner_text("#headline-terms") == said


def test_a_rank_beyond_the_break_even_stores_more_than_the_matrix(make, visit):
    page = visit(make(picture("L", 24, 36)))
    set_rank(page, 24)
    stored, whole = 24 * (24 + 36 + 1), 24 * 36
    assert number(page, "stored") == stored
    assert page.inner_text("#stored-of") == f"of {whole:,}: {stored / whole:.1%}".replace("%", " %")


def test_storage_calculator(make, visit):
    page = visit(make(picture("L", 60, 90)))
    for id, value in (("calc-m", 512), ("calc-n", 768), ("calc-k", 308)):
        page.fill(f"#{id}", str(value))
    said = page.inner_text("#calc-said")
    assert f"{308 * (512 + 768 + 1):,}" in said
    assert f"{512 * 768:,}" in said
    assert "307.0" in said
    assert "1.00 times as many" in said


def test_every_control_has_a_name_and_focus_shows(make, visit):
    page = visit(make(picture("RGB", 60, 90)))
    page.check("#swipe")
    assert page.evaluate(NAMELESS) == []
    page.keyboard.press("Tab")
    page.focus("#rank")
    page.keyboard.press("ArrowRight")
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_nothing_overflows_a_phone(make, visit):
    page = visit(make(picture("RGB", 60, 90)), viewport=(360, 740), color_scheme="light")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
        dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert (int(re.findall(r"\d+", dark)[0]) < 128) == (scheme == "dark")


@pytest.mark.parametrize(("height", "width"), [(90, 400), (90, 60), (400, 60)])
def test_picture_caption_and_slider_are_seen_together(make, visit, height, width):
    path = make(picture("L", height, width))
    screens = [(1280, 720), (1024, 1366), (360, 740)]
    first = [(90, 400), (90, 60), (400, 60)].index((height, width))
    screens = screens[first:] + screens[:first]  # each is once the one that the page opens on
    page = visit(path, viewport=screens[0])
    for screen in screens:
        page.set_viewport_size({"width": screen[0], "height": screen[1]})
        page.wait_for_selector(READY)
        page.locator(".bench").scroll_into_view_if_needed()
        frame, caption, dock = (
            page.locator(x).bounding_box() for x in ("#frame", "#caption", ".dock")
        )
        assert frame["width"] >= 20, screen
        assert frame["width"] / frame["height"] == pytest.approx(width / height, rel=0.05), screen
        tall = frame["height"] + caption["height"] + dock["height"]
        assert tall <= screen[1], screen
        if screen[0] > screen[1]:  # with all that is above them, where there is room beside
            assert caption["y"] + caption["height"] <= dock["y"] + 1, screen


def test_caption_of_a_file_in_colour_is_not_under_the_slider(make, visit, tmp_path):
    """Which has the most buttons above its picture."""
    original = picture("RGB", 512, 768)
    lowrank.compress(original.samples, quality=60).save(tmp_path / "in.lrk")
    path = make(original, file=tmp_path / "in.lrk")
    for screen in ((1280, 900), (1280, 720)):
        page = visit(path, viewport=screen)
        caption, dock = (page.locator(x).bounding_box() for x in ("#caption", ".dock"))
        assert "What in.lrk decodes to" in page.inner_text("#caption")
        assert caption["y"] + caption["height"] <= dock["y"] + 1, screen
    assert str(tmp_path) not in path.read_text("utf-8")  # where it lay is nobody's business


def test_u_beside_a_layer_is_as_tall_as_the_layer(make, visit):
    path = make(picture("L", 90, 60))
    for screen in ((1280, 720), (390, 844)):
        page = visit(path, viewport=screen)
        page.check("input[value=layer]")
        down, frame, canvas = (
            page.locator(x).bounding_box()["height"] for x in ("#down", "#frame", "#picture")
        )
        assert down == frame == canvas, screen


def test_a_page_is_printed_in_black_on_white_and_whole(make, visit):
    page = visit(make(picture("RGB", 60, 90), ranks=(5,)), viewport=(700, 900))
    page.emulate_media(media="print", color_scheme="dark")
    paper = "getComputedStyle(document.documentElement).getPropertyValue('--paper')"
    assert page.evaluate(paper).strip() == "#fbfaf7"
    wide = page.eval_on_selector_all("table", "xs => xs.map(x => x.getBoundingClientRect().right)")
    assert max(wide) <= 700
    page.emulate_media(media="screen", color_scheme="light")


# -- what is shown ---------------------------------------------------------------------


def test_page_of_a_file_opens_at_its_rank(make, visit, cli, small_png):
    cli("compress", small_png, "-k", "7", "-o", "x.lrk").succeeded()
    page = visit(make(small_png.read_bytes(), file=small_png.parent / "x.lrk"))
    assert page.get_attribute("#stage", "data-rank") == "7"
    assert page.locator("input[value=file]").count() == 0
    assert "Proved: no matrix of rank k" in page.inner_text(".report")


def number(page, id):
    """The first number of an element's text."""
    return float(page.inner_text(f"#{id}").split()[0].replace(",", ""))


def test_page_opens_on_a_packed_file_with_its_numbers(make, visit, cli, small_png):
    cli("compress", small_png, "-q", "50", "-o", "x.lrk").succeeded()
    cli("decompress", "x.lrk", "-o", "x.png").succeeded()
    told = json.loads(cli("report", small_png, "x.lrk", "--json").succeeded().text)
    page = visit(make(small_png.read_bytes(), file=small_png.parent / "x.lrk"))
    with Image.open(small_png.parent / "x.png") as image:
        assert np.array_equal(canvas(page)[:, :, :3], np.asarray(image.convert("RGB")))
    for id in ("caption", "title"):
        assert "x.lrk" in page.inner_text(f"#{id}")
    matrices = told["channels"]
    norm = np.linalg.norm([c["frobenius_error"] / c["relative_error"] for c in matrices])
    error = np.linalg.norm([c["frobenius_error"] for c in matrices])
    assert number(page, "energy") == pytest.approx(100 * error / norm, abs=6e-4)
    assert number(page, "frobenius") == pytest.approx(error, rel=1e-4)
    spectral = max(c["spectral_error"] for c in matrices)
    assert number(page, "spectral") == pytest.approx(spectral, rel=1e-4)
    assert number(page, "psnr") == pytest.approx(told["pixels"]["psnr_db"], abs=6e-3)
    assert number(page, "stored") == told["file"]["bytes"]
    set_rank(page, 4)  # the slider leaves the file, and so do the numbers
    assert page.is_checked("input[value=sum]")
    A = np.asarray(Image.open(small_png).convert("RGB")).astype(float)
    tails = [np.linalg.svd(A[:, :, c], compute_uv=False)[4:] for c in range(3)]
    assert number(page, "frobenius") == pytest.approx(np.linalg.norm(tails), rel=1e-3)
    assert page.is_hidden("#whose")
    page.check("input[value=file]")
    assert number(page, "frobenius") == pytest.approx(error, rel=1e-4)


def test_page_of_a_file_at_given_ranks_still_opens_on_the_file(make, visit, cli, small_png):
    cli("compress", small_png, "-k", "2", "--layout", "patches", "-o", "x.lrk").succeeded()
    told = json.loads(cli("report", small_png, "x.lrk", "--json").succeeded().text)
    page = visit(make(small_png.read_bytes(), file=small_png.parent / "x.lrk", ranks=[1]))
    assert number(page, "psnr") == pytest.approx(told["pixels"]["psnr_db"], abs=6e-3)


def test_measured_ladder_shows_what_was_measured(make):
    data = pillow.write(picture("L", 60, 90), format="PNG")
    text = make(data, ranks=[5, 60], store="float16").read_text("utf-8")
    ladder = text[text.index("Ranks: as measured") :].split("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", ladder.split("<tbody>")[1])
    loaded = pillow.read(data, name="in.png", max_pixels=1 << 24)
    found = [r.matrices[0] for r in ask.of_ranks(loaded, [5, 60], store="float16").reports]
    for row, c in zip(rows, found, strict=True):
        cells = [re.sub("<.*?>", "", x) for x in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)]
        assert cells[0] == str(c.k)
        assert float(cells[1]) == pytest.approx(c.spectral_error, rel=1e-4)
        assert float(cells[2]) == pytest.approx(c.spectral_bound, rel=1e-4, abs=1e-9)
        assert cells[3] == f"{c.relative_error:.3%}"
    assert found[1].frobenius_bound < 1e-6 * found[1].norm  # all terms: what is left is rounding,
    assert f"{found[1].relative_error:.3%}" != "0.000%"  # and it shows


def whole_errors(A, k):
    """Spectral and Frobenius error of the best rank k, from numpy's decomposition."""
    s = np.linalg.svd(A.astype(float), compute_uv=False)
    return s[k], np.linalg.norm(s[k:]), 1 - np.linalg.norm(s[k:]) ** 2 / np.linalg.norm(s) ** 2


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("ranks", [(), (5,)])
def test_colours_of_any_type_have_a_page(make, visit, cli, dtype, ranks, tmp_path):
    """They are shown in 8 bits; the numbers in front are those of the samples themselves."""
    colours = picture("RGB", 60, 90).samples.astype(np.float64)
    A = (colours * 90 - 5e3 * (dtype[0] != "u")).astype(dtype)
    low, high = A.min().astype(float), A.max().astype(float)
    source = a_tiff(A)
    lowrank.compress(A, rank=5).save(tmp_path / "in.lrk")
    file = None if ranks else tmp_path / "in.lrk"
    path = make(source, name="in.tif", file=file, ranks=ranks)
    told = json.loads(cli("report", "in.tif", "in.lrk", "--json").succeeded().text)
    data, parts = embedded(path)
    page = visit(path)
    E = A - lowrank.open(tmp_path / "in.lrk").to_array().astype(float)
    psnr = 20 * np.log10((high - low) / np.sqrt(np.mean(E**2)))
    assert told["pixels"]["psnr_db"] == pytest.approx(psnr, rel=1e-6)
    if file:  # it is what is seen first
        decoded = lowrank.open(file).to_array()
        assert_within_a_level(canvas(page), displayed(decoded, "RGB", low, high))
        page.check("input[value=sum]")
    set_rank(page, 5)
    wanted = codec.decode(parts, rank=5).picture.samples
    assert_within_a_level(canvas(page), displayed(wanted, "RGB", 0, 255))
    assert number(page, "psnr") == pytest.approx(psnr, abs=6e-3)
    frobenius = np.sqrt(sum(c["frobenius_error"] ** 2 for c in told["channels"]))
    assert number(page, "frobenius") == pytest.approx(frobenius, rel=1e-4)
    assert np.linalg.norm(E) == pytest.approx(frobenius, rel=1e-2)  # which rounding is no part of
    copy = pillow.read(base64.b64decode(data["png"]), name="x", max_pixels=1 << 24).picture.samples
    off = copy.astype(float) - wanted
    said = page.inner_text("#copy-said")
    of_copy = 20 * np.log10(255 / np.sqrt(np.mean(off**2)))
    assert float(re.search(r"PSNR ([\d.]+)", said)[1]) == pytest.approx(of_copy, abs=0.02)
    page.check("input[value=original]")
    assert_within_a_level(canvas(page), displayed(A, "RGB", low, high))
    assert f"peak {data['peak']:,.5g}"[:7] == page.inner_text("#psnr-kind")[:7]
    assert "8 bits" in page.inner_text("footer")
    assert f"90 × 60 3 x {dtype}" in page.inner_text("header")


def test_pages_of_other_numbers_of_channels_say_what_has_one(make):
    source = a_tiff(np.ones((9, 8, 5), np.uint16))
    with pytest.raises(lowrank.UsageError, match=r"three as red, green and blue.*--axis -1"):
        make(source, name="in.tif", ranks=[1])


@pytest.mark.parametrize("ranks", [(), (20,), (3, 20)])
def test_numbers_of_a_large_picture_are_its_own(make, visit, ranks):
    """In front those of the picture itself, measured or from its spectrum; then the copy's."""
    original = picture("L", *LARGE)
    A = original.samples[:, :, 0]
    path = make(original, ranks=list(ranks))
    page = visit(path)
    data, _ = embedded(path)
    copy = canvas_of(path)
    for k in (20, 7, 3):
        set_rank(page, k)
        spectral, frobenius, kept = whole_errors(A, k)
        assert number(page, "spectral") == pytest.approx(spectral, rel=2e-4)
        assert number(page, "frobenius") == pytest.approx(frobenius, rel=2e-4)
        assert number(page, "energy") == pytest.approx(100 * kept, abs=0.01)
        assert number(page, "stored") == k * (sum(LARGE) + 1)
        psnr = 20 * np.log10(255 * np.sqrt(A.size) / frobenius)
        assert number(page, "psnr") == pytest.approx(psnr, abs=0.1)
        measured = k in (ranks or (20,))
        assert ("not measured" in page.inner_text("#spectral-ratio")) != measured
        assert ("not measured" in page.inner_text("#psnr-kind")) != measured
        said = re.findall(r"\d[\d,]*\.?\d*", page.inner_text("#say-spectral"))
        assert any(float(x.replace(",", "")) == pytest.approx(spectral, rel=2e-4) for x in said)
        said = page.inner_text("#copy-said")
        assert said.startswith("Measured in this page, of the copy of 768 × 150")
        of_copy = whole_errors(copy, k)
        values = [float(x.replace(",", "")) for x in re.findall(r"error ([\d,.]+\d)", said)]
        assert values == pytest.approx(of_copy[:2], rel=2e-3)
        assert float(re.search(r"kept ([\d.]+)", said)[1]) == pytest.approx(
            100 * of_copy[2], abs=0.01
        )
        assert "of the copy of 768 × 150" in page.inner_text("#caption")
    assert "1536 × 300" in page.inner_text("#whose")
    assert [page.input_value(f"#calc-{x}") for x in "mn"] == ["300", "1536"]
    dots = page.locator("#chart-spectral circle").count()
    assert dots == max(len(ranks), 1)
    assert data["spectra"][0] == pytest.approx(
        np.linalg.svd(A.astype(float), compute_uv=False), rel=1e-6, abs=0.02
    )


def canvas_of(path):
    """Samples of the copy that a page carries."""
    data, _ = embedded(path)
    return pillow.read(base64.b64decode(data["png"]), name="x", max_pixels=1 << 24).picture.samples[
        :, :, 0
    ]


def test_file_of_a_large_picture_is_seen_and_measured_whole(make, visit, cli, tmp_path):
    """A float file too: a rank of the copy is not the file's picture reduced."""
    original = picture("L", *LARGE)
    (tmp_path / "in.png").write_bytes(pillow.write(original, format="PNG"))
    cli("compress", "in.png", "-k", "6", "-o", "x.lrk").succeeded()
    told = json.loads(cli("report", "in.png", "x.lrk", "--json").succeeded().text)
    page = visit(make(original, file=tmp_path / "x.lrk"))
    assert page.is_checked("input[value=file]")
    decoded = lowrank.open(tmp_path / "x.lrk").to_array().astype(float)
    means = decoded.reshape(150, 2, 768, 2).mean(axis=(1, 3))
    assert np.abs(canvas(page)[:, :, 0] - means).max() <= 0.51
    channel = told["channels"][0]
    assert number(page, "spectral") == pytest.approx(channel["spectral_error"], rel=1e-4)
    assert number(page, "psnr") == pytest.approx(told["pixels"]["psnr_db"], abs=6e-3)
    assert "the copy of 768 × 150" in page.inner_text("#caption")
    assert "1536 × 300" in page.inner_text("#whose")
    assert page.is_hidden("#copy-said")


def test_large_picture_is_reduced_and_says_so(make, visit):
    page = visit(make(picture("L", *LARGE)))
    pixels = canvas(page)
    assert pixels.shape == (150, 768, 4)
    footer = page.inner_text("footer")
    assert "1536 × 300" in footer
    assert "768 × 150" in footer
    means = picture("L", *LARGE).samples[:, :, 0].reshape(150, 2, 768, 2).mean(axis=(1, 3))
    page.check("input[value=original]")
    assert np.abs(canvas(page)[:, :, 0] - means).max() <= 0.51


@pytest.mark.parametrize("orientation", range(1, 9))
def test_picture_stands_upright(make, request, tmp_path, orientation):
    original = Image.fromarray(picture("RGB", 30, 40).samples)
    exif = Image.Exif()
    exif[0x0112] = orientation
    original.save(tmp_path / "turned.png", exif=exif)
    path = make((tmp_path / "turned.png").read_bytes())
    with Image.open(tmp_path / "turned.png") as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    with Image.open(io.BytesIO(base64.b64decode(embedded(path)[0]["png"]))) as carried:
        assert np.array_equal(carried, upright)
        assert not carried.getexif()  # so that no browser turns it again
    if orientation in (1, 6):
        page = request.getfixturevalue("visit")(path)
        page.check("input[value=original]")
        assert np.array_equal(canvas(page)[:, :, :3], upright)


def test_constant_and_tiny_pictures(make, visit):
    for shape, value in (((1, 1), 200), ((1, 40), 0), ((40, 2), 200)):
        original = picture("L", *shape)
        original.samples[...] = value
        page = visit(make(original))
        assert np.all(canvas(page)[:, :, 0] == value)
        assert "NaN" not in page.inner_text("main")


def test_a_bound_of_almost_nothing_is_not_called_zero(make, visit):
    exact = np.add.outer(np.arange(20), np.arange(30)).astype(np.float32)  # of rank 2
    noisy = exact + 1e-6 * np.random.default_rng(0).standard_normal(exact.shape).astype(np.float32)
    for A, k, said in ((exact, 20, "zero"), (noisy, 2, "next to nothing")):
        file = io.BytesIO()
        np.save(file, A)
        page = visit(make(file.getvalue(), name="in.npy", ranks=(k,)))
        assert (
            page.inner_text("#frobenius-ratio") == f"the bound is {said}: what is left is rounding"
        )


# -- safety ----------------------------------------------------------------------------

NAMES = (
    "<script>alert(1)<script>.png",
    '"><img src=x onerror=alert(1)>.png',
    "<!--<script>.png",
    "$name ${start} $$.png",
    "&lt;b&gt;.png",
)


@pytest.mark.parametrize("name", NAMES)
def test_name_is_text_and_nothing_else(make, visit, name):
    page = visit(make(picture("L", 20, 30), name=name))
    assert page.inner_text(".facts b") == name
    assert page.title().startswith(name)
    assert page.locator("img").count() == 0


def test_reversed_writing_in_a_name_is_taken_out(make):
    text = make(picture("L", 20, 30), name="a\u202egnp.png").read_text("utf-8")
    assert "\u202e" not in text


def test_policy_forbids_what_is_not_ours(make, browser):
    path = make(picture("L", 20, 30))
    text = path.read_text("utf-8")
    assert "default-src 'none'" in text
    assert "unsafe" not in text.split("</title>")[0]
    assert set(re.findall(r"https?://[^\s\"'<>]+", text)) == {"http://www.w3.org/2000/svg"}
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert set(re.findall(r"(?:src|href)=.", markup + " ")) == {'href="'}
    assert re.findall(r'href="([^"]*)"', markup) == ["#rank"]
    # Were a name ever to become markup: a script that is not ours does not run.
    broken = path.with_name("broken.html")
    broken.write_text(text.replace("<main>", "<main><script>document.title = 'ran'</script>"))
    context = browser.new_context()
    page = context.new_page()
    page.goto(broken.as_uri())
    page.wait_for_selector(READY)
    title = page.title()
    context.close()
    assert title == "in.png, as a sum of layers"


def test_command_line_writes_pages(cli, visit, small_png):
    cli("compress", small_png, "-k", "7").succeeded()
    for arguments, k in (([], 20), (["in.lrk"], 7), (["-k", "3"], 3), (["-k", "4,9"], 4)):
        quiet = cli("report", "in.png", *arguments, "--html", "page.html", "--quiet", "--force")
        assert quiet.succeeded().out == b""
        page = visit(small_png.parent / "page.html")
        assert page.get_attribute("#stage", "data-rank") == str(k)
    told = cli("report", "in.png", "--html", "page.html", "--force", "--json").succeeded()
    assert json.loads(told.text)["source"]["path"] == "in.png"


def test_page_is_not_replaced_unasked(cli, small_png):
    (small_png.parent / "page.html").write_text("mine")
    line = cli("report", small_png, "--html", "page.html").failed()
    assert "-f replaces it" in line
    assert (small_png.parent / "page.html").read_text() == "mine"
    cli("report", small_png, "--html", "page.html", "--force").succeeded()
    assert cli("report", small_png, "--html", small_png, "--force").failed(2)
    cli("compress", small_png, "-k", "3").succeeded()
    assert cli("report", "in.lrk", "--html", "other.html").failed(2)


# -- the second reader -----------------------------------------------------------------


@pytest.fixture
def reader(make, visit):
    """Run the page's own reader of `.lrk` on bytes: what it read, or the error's text."""
    page = visit(make(picture("L", 8, 9)))

    def each(files):
        return page.evaluate(
            """(texts) => texts.map((text) => {
              const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
              try {
                const file = Lrk.parse(bytes);
                return {...file, matrices: file.matrices.map(x => ({...x, s: [...x.s],
                  u: x.u.map(y => [...y]), v: x.v.map(y => [...y])}))};
              } catch (error) { return error.message; }
            })""",
            [base64.b64encode(data).decode() for data in files],
        )

    def read(data):
        return each([data])[0]

    read.each = each
    return read


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_readers_agree(reader, mode):
    source = pillow.write(picture(mode, 12, 17), format="PNG")
    for store in ("float16", "float32", "float64"):
        image = lowrank.compress(source, rank=5, layout="channels", store=store)
        found = reader(image.to_bytes())
        parts = image.parts
        assert (found["width"], found["height"], found["mode"]["name"]) == (17, 12, mode)
        for matrix, f in zip(found["matrices"], parts.body.factors, strict=True):
            assert (matrix["k"], matrix["norm"], matrix["tail"]) == (f.k, f.norm, f.tail)
            assert matrix["sigmaNext"] == f.sigma_next
            assert matrix["s"] == f.s.tolist()
            assert np.array_equal(np.array(matrix["u"]).T, f.U)
            assert np.array_equal(np.array(matrix["v"]), f.Vt)


def test_float16_is_decoded_as_numpy_does(reader):
    """Every float16 up to 2 in magnitude, subnormals and zeros included, as u and v."""
    bits = np.arange(0x4001, dtype=np.uint16)
    values = np.concatenate([bits.view(np.float16), (bits | 0x8000).view(np.float16)])
    image = lowrank.compress(np.ones((len(values) - 1, 1), np.uint8), rank=1, store="float16")
    data = bytearray(image.to_bytes())
    at = data.index(b"TERM")
    data[at + 4 : at + 4 + 2 * len(values)] = values.astype("<f2").tobytes()
    end = at + 4 + 2 * len(values)
    data[end : end + 4] = zlib.crc32(data[at:end]).to_bytes(4, "little")
    matrix = reader(bytes(data))["matrices"][0]
    assert np.array_equal(matrix["u"][0] + matrix["v"][0], values.astype(float))


def test_second_reader_refuses_damage(reader):
    data = lowrank.compress(picture("RGB", 12, 17).samples, rank=2, store="float16").to_bytes()
    bad = {"appended": data + b"\0"}
    for at in range(0, len(data), 5):
        broken = bytearray(data)
        broken[at] ^= 0x10
        bad[f"bit at {at}"] = bytes(broken)
    bad |= {f"cut to {length}": data[:length] for length in range(0, len(data), 37)}
    whole, *refused = reader.each([data, *bad.values()])
    assert not isinstance(whole, str)
    assert [
        name for name, said in zip(bad, refused, strict=True) if not isinstance(said, str)
    ] == []


def test_other_codecs_that_were_asked_for_stand_on_the_page(tmp_path):
    source, packed = tmp_path / "a.png", tmp_path / "a.lrk"
    source.write_bytes(pillow.write(picture("RGB", 40, 50), format="PNG"))
    lowrank.compress(source, quality=60).save(packed)
    found = ask.report(
        str(source), str(packed), ranks=[], store=None, max_pixels=1 << 24, against=("jpeg",)
    )
    text = view.page(found, exhibit.of(found))
    assert "Other codecs" in text
    assert f'<th scope="row">jpeg</th><td>{found.peers[0].psnr_db:.2f}</td>' in text
