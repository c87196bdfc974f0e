"""The site in a real browser: a picture of one's own, decomposed there, as the tool does it."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import runpy
import sys
import threading
import urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from chromium import NAMELESS
from conftest import ROOT, picture
from PIL import Image
from test_page import assert_within_a_level, canvas, displayed, set_rank

from lowrank import codec
from lowrank import format as lrk
from lowrank.io import pillow
from lowrank.picture import Picture, array_mode
from lowrank.targets import Target

DONE = "#page[data-picture='{}']"


class Quiet(SimpleHTTPRequestHandler):
    """Serves the site, half of `slow.lrk`, and `late.lrk`; the rest, and their end, when let go."""

    slow: bytes = b""
    let_go = threading.Event()

    def do_GET(self):
        if not self.path.endswith(("slow.lrk", "late.lrk")):
            super().do_GET()
            return
        there = len(self.slow) // (2 if self.path.endswith("slow.lrk") else 1)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.slow[:there])
        self.wfile.flush()
        self.let_go.wait(60)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(self.slow[there:])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built and served: its address, and what was asked for in vain."""
    folder = tmp_path_factory.mktemp("site") / "site"
    arguments, sys.argv = sys.argv, ["build.py", str(folder)]
    try:
        runpy.run_path(str(ROOT / "site" / "build.py"), run_name="__main__")
    finally:
        sys.argv = arguments
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def tab(browser, site):
    """One page for all tests, and what went wrong in it or left this machine."""
    context = browser.new_context(accept_downloads=False)
    page, events = context.new_page(), []
    page.on("console", lambda message: events.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: events.append(f"error: {error}"))
    page.on(
        "request",
        lambda x: None if x.url.startswith((site, "blob:", "data:")) else events.append(x.url),
    )
    yield page, events
    context.close()


@pytest.fixture
def visit(tab, site):
    """Open the site with a small picture of its gallery."""
    page, events = tab

    def visit(state="picture=flag.png", *, viewport=(1280, 800), color_scheme="light"):
        page.set_viewport_size(dict(zip(("width", "height"), viewport, strict=True)))
        page.emulate_media(color_scheme=color_scheme)
        page.goto("about:blank")
        page.goto(f"{site}#{state}")
        name = dict(x.split("=") for x in state.split("&"))["picture"]
        page.wait_for_selector(DONE.format(name))
        return page

    yield visit
    assert not events


def give(page, name, data):
    page.set_input_files("#choose", {"name": name, "mimeType": "", "buffer": data})
    page.wait_for_selector(DONE.format(name))


def jpeg(samples):
    out = io.BytesIO()
    Image.fromarray(samples).save(out, "JPEG", quality=90)
    return out.getvalue()


def smooth(height, width, *, channels=3, peak=255):
    """A picture as a camera makes them: no sample of a JPEG then hangs on an exact rounding."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(7 * x + 5 * y * c) * np.cos(9 * y - c * x) for c in range(1, channels + 1)]
    return np.rint((np.stack(waves, axis=2) * 0.45 + 0.5) * peak)


def test_a_picture_of_ones_own_is_what_the_tool_decodes(visit):
    page = visit()
    rgb = smooth(60, 90).astype(np.uint8)
    kinds = {
        "plain.png": pillow.write(picture("RGB", 60, 90), format="PNG"),
        "camera.jpg": jpeg(rgb),
        "deep.png": pillow.write(picture("I;16", 50, 70), format="PNG"),
        "tall.png": pillow.write(picture("L", 90, 40), format="PNG"),
    }
    for name, data in kinds.items():
        give(page, name, data)
        assert page.inner_text("#facts").endswith(", 16 bits") is (name == "deep.png")
        original = pillow.read(data, name=name).picture
        low, high = (0, 255) if original.mode.bits == 8 else (
            float(original.samples.min()), float(original.samples.max()))  # fmt: skip
        for k in (1, 4, 20, 33):
            set_rank(page, k)
            parts = codec.encode(original, Target("rank", k)).parts
            wanted = displayed(codec.decode(parts).picture.samples, original.mode.name, low, high)
            assert_within_a_level(canvas(page), wanted)


def test_what_a_browser_leaves_out_is_said(visit):
    page, inks, deep = visit(), io.BytesIO(), io.BytesIO()
    Image.fromarray(smooth(30, 40).astype(np.uint8)).convert("CMYK").save(inks, "JPEG")
    turned = Image.Exif()
    turned[0x0112] = 6
    samples = smooth(30, 40, channels=1, peak=65535)[:, :, 0].astype(np.uint16)
    Image.fromarray(samples).save(deep, "PNG", exif=turned)
    kinds = {
        "inks.jpg": (inks.getvalue(), "four inks"), "deep.png": (deep.getvalue(), "16 bits"),
        "two.png": (pillow.write(picture("1", 30, 40), format="PNG"), "half-way"),
        "plain.jpg": (jpeg(smooth(30, 40).astype(np.uint8)), ""),
    }  # fmt: skip
    for name, (data, words) in kinds.items():
        give(page, name, data)
        said = page.inner_text("#progress").partition("is shown.")[2]
        assert words in said, name
        assert bool(words) == bool(said), (name, said)


def test_its_numbers_are_those_of_numpy(visit):
    original = picture("RGB", 60, 90)
    page = visit()
    give(page, "a.png", pillow.write(original, format="PNG"))
    spectra = [
        np.linalg.svd(original.samples[:, :, c].astype(float), compute_uv=False) for c in range(3)
    ]
    found = page.evaluate("Session.now().data.spectra")
    assert np.abs(np.array(found) - spectra).max() < 1e-6 * spectra[0][0]
    A = original.samples.astype(float)
    i, j = np.ogrid[:60, :60]
    C = np.cos(np.pi * (j + 0.5) * i / 60) * np.sqrt(2 / 60)
    C[0] /= np.sqrt(2)
    rival = [np.linalg.norm(np.tensordot(C[k:], A, 1)) for k in range(61)]
    assert page.evaluate("Session.now().data.rival") == pytest.approx(rival, rel=1e-7, abs=1e-4)
    set_rank(page, 5)
    tail = np.sqrt(sum(float(s[5:] @ s[5:]) for s in spectra))
    assert float(page.inner_text("#frobenius").replace(",", "")) == pytest.approx(tail, rel=2e-4)
    assert page.get_attribute("#rank", "max") == "60"  # all ranks are known


def test_a_larger_picture_is_seen_coarse_first(visit):
    page = visit()
    page.evaluate(
        """() => {
          window.seen = [];
          window.said = [];
          const main = document.querySelector("main");
          new MutationObserver(() => seen.push(document.getElementById("picture").width))
            .observe(main, {childList: true});
          const told = () => document.getElementById("say-frobenius").textContent;
          new MutationObserver(() => said.push(told()))
            .observe(main, {childList: true, subtree: true});
        }"""
    )
    original = smooth(300, 400, channels=1)[:, :, 0].astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(original).save(out, "PNG")
    give(page, "large.png", out.getvalue())
    assert page.evaluate("seen")[0] < 200
    assert page.evaluate("seen").pop() == 400
    page.wait_for_selector("#say-frobenius:has-text('the rival')")
    said = list(filter(None, page.evaluate("said")))
    assert "rival" not in said[0]  # it is not known yet
    assert not any("the rival 0" in x for x in said)


def test_a_picture_does_not_wait_for_one_that_was_left(visit):
    page = visit()
    page.evaluate(
        """() => {
          window.ended = 0;
          const terminate = Worker.prototype.terminate;
          Worker.prototype.terminate = function () { ended++; terminate.call(this); };
        }"""
    )
    large = io.BytesIO()
    Image.fromarray(smooth(500, 700).astype(np.uint8)).save(large, "PNG", compress_level=1)
    page.set_input_files(
        "#choose", {"name": "large.png", "mimeType": "", "buffer": large.getvalue()}
    )
    page.wait_for_selector("#facts-name:text-is('large.png')")
    page.wait_for_timeout(100)  # its coarse view is there, the workers have begun
    give(page, "small.png", pillow.write(picture("L", 40, 30), format="PNG"))
    assert page.evaluate("ended") > 0
    page.wait_for_timeout(300)
    assert page.inner_text("#facts-name") == "small.png"
    give(page, "next.png", pillow.write(picture("L", 30, 40), format="PNG"))  # by workers anew


def test_a_lrk_file_is_opened_and_what_is_none_is_refused_in_words(visit, small_png):
    page = visit()
    original = pillow.read(small_png.read_bytes(), name="in.png").picture
    packed = lrk.serialize(codec.encode(original, Target("quality", 60)).parts)
    give(page, "x.lrk", packed)
    page.check("input[value=original]")
    decoded = codec.decode(lrk.parse(packed, name="x", max_pixels=1 << 24)).picture.samples
    assert np.array_equal(canvas(page)[:, :, :3], decoded)
    page.set_input_files("#choose", {"name": "y.lrk", "mimeType": "", "buffer": packed[:-40]})
    page.wait_for_selector("#trouble:not([hidden])")
    assert "y.lrk cannot be shown: the file ends" in page.inner_text("#trouble")


def test_a_stack_of_ones_own_is_decomposed(visit):
    t, y, x = np.arange(12)[:, None, None], *np.mgrid[0:20, 0:31]
    A = np.rint(120 + 60 * np.sin(t + x / 9) * np.cos(y / 5) + 30 * np.cos(2 * t) * x / 31)
    frames = [Image.fromarray(a) for a in A.astype(np.uint8)]
    npy, tiff, deflated = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(npy, A.astype(np.int16))
    frames[0].save(tiff, "TIFF", save_all=True, append_images=frames[1:])
    frames[0].save(deflated, "TIFF", save_all=True, append_images=frames[1:],
                   compression="tiff_adobe_deflate")  # fmt: skip
    kept = Picture(A[..., None].astype(np.uint8), array_mode("uint8", 1))
    lrk_ = lrk.serialize(codec.encode(kept, Target("rank", 12)).parts)
    tail = np.linalg.norm(np.linalg.svd(A.reshape(12, -1), compute_uv=False)[3:])
    page = visit()
    for name, data in (("a.npy", npy.getvalue()), ("b.tif", tiff.getvalue()),
                       ("c.tif", deflated.getvalue()), ("d.lrk", lrk_)):  # fmt: skip
        give(page, name, data)
        for id in ("error", "bound"):
            found = float(page.inner_text(f"#{id}").replace(",", ""))
            assert found == pytest.approx(tail, rel=1e-3), (name, id)
    page.fill("#frame", "7")
    assert page.inner_text("#frame-said") == "7"
    page.click("#sum", position={"x": 5, "y": 5})
    assert page.inner_text("#trace-said").startswith("Pixel 0, 0")
    page.click("#gallery >> text=Stack")
    page.wait_for_selector(DONE.format("light.npy"))
    assert float(page.inner_text("#error").replace(",", "")) < 0.1  # a matte sphere has rank 3


def test_dropped_and_pasted(visit):
    page = visit()
    for kind, name in (("drop", "dropped.png"), ("paste", "pasted.png")):
        data = list(pillow.write(picture("L", 20, 30), format="PNG"))
        page.evaluate(
            """([kind, name, data]) => {
              const files = new DataTransfer();
              files.items.add(new File([new Uint8Array(data)], name, {type: "image/png"}));
              const event = kind === "drop"
                ? new DragEvent("drop", {dataTransfer: files, cancelable: true})
                : new ClipboardEvent("paste", {clipboardData: files});
              dispatchEvent(event);
            }""",
            [kind, name, data],
        )
        page.wait_for_selector(DONE.format(name))


def test_a_link_holds_what_is_seen_and_keys_need_no_focus(visit):
    page = visit("picture=tartan.png&k=2&view=layer&channel=green")
    assert page.get_attribute("#stage", "data-rank") == "2"
    assert page.is_checked("input[value=layer]")
    assert page.is_visible("#along")
    assert "green alone" in page.inner_text("#caption")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#stage[data-rank='3']")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_selector("#stage[data-rank='13']")
    page.check("input[value=difference]")
    assert page.url.endswith("#picture=tartan.png&k=13&view=difference&channel=green")


def test_the_track_is_logarithmic(visit):
    page = visit("picture=noise.png")
    most = int(page.get_attribute("#rank", "max"))
    page.locator("#track").scroll_into_view_if_needed()
    box = page.locator("#track").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert int(page.input_value("#rank")) == pytest.approx(np.sqrt(most), abs=1)
    page.keyboard.press("ArrowLeft")  # the click focused it
    assert int(page.input_value("#rank")) == pytest.approx(np.sqrt(most) - 1, abs=1)


def test_two_ranks_are_held_side_by_side_and_enlarged(visit):
    page = visit("picture=text.png&k=3")
    page.check("#swipe")
    page.click("#hold")
    three = canvas(page)
    set_rank(page, 30)
    assert "rank 3 is left of it" in page.inner_text("#caption")
    under = page.evaluate(
        """() => Array.from(document.getElementById("under").getContext("2d")
             .getImageData(0, 0, 400, 1).data)"""
    )
    assert np.array_equal(np.reshape(under, (400, 4)), three[0])
    page.click("#closer")
    page.click("#closer")
    assert "scale(2.56)" in page.evaluate("document.getElementById('zoomed').style.transform")
    for _ in range(2):
        page.click("#farther")
    assert page.is_disabled("#farther")


def test_the_path_asks_and_answers(visit):
    page = visit()
    page.click("#path-start")
    page.wait_for_selector(DONE.format("flag.png"))
    page.fill("#path-number", "2")
    page.keyboard.press("Enter")
    assert page.inner_text("#path-told").startswith("Right. 2.")
    page.click("#path-next")
    page.wait_for_selector(DONE.format("tartan.png"))
    page.click("#path-answers >> text=More")
    assert page.inner_text("#path-told").startswith("No: as many. It has rank 2.")
    page.click("#path-next")
    page.wait_for_selector(DONE.format("diagonal.png"))
    page.click("#path-answers >> text=Nearly all")
    assert page.get_attribute("#path-told", "data-right") == "true"
    page.click("#path-back")
    page.wait_for_selector(DONE.format("tartan.png"))


# -- the custom element ----------------------------------------------------------------------

ELEMENT = """<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src 'none';
script-src 'self'; connect-src 'self'; img-src 'self'"><title>x</title>
<link rel="icon" href="gallery/flag.png">
<script type="module" src="img-lrk.js"></script><img-lrk src="slow.lrk" alt="A picture"></img-lrk>
"""
PIXELS = """() => {
  const canvas = document.querySelector("img-lrk").shadowRoot.firstChild;
  const copy = new OffscreenCanvas(canvas.width, canvas.height)
    .getContext("2d", {willReadFrequently: true});
  copy.drawImage(canvas, 0, 0);
  const {height, width} = canvas;
  return [height, width, ...copy.getImageData(0, 0, width, height).data];
}"""


def element_pixels(page):
    height, width, *data = page.evaluate(PIXELS)
    return np.reshape(data, (height, width, 4))


@pytest.mark.parametrize("kind", ["packed", "float"])
def test_the_element_draws_while_bytes_arrive(tab, site, kind, tmp_path):
    page, events = tab
    original = picture("RGB", 64, 96)
    target = Target("quality", 90) if kind == "packed" else Target("rank", 40)
    Quiet.slow = lrk.serialize(codec.encode(original, target).parts)
    Quiet.let_go.clear()
    page.route(
        "**/element.html", lambda route: route.fulfill(body=ELEMENT, content_type="text/html")
    )
    try:
        page.goto(f"{site}element.html", wait_until="commit")
        page.wait_for_function(
            "() => document.querySelector('img-lrk')?.shadowRoot?.firstChild.width === 96"
        )
        early = element_pixels(page)
        assert not page.evaluate("() => document.querySelector('img-lrk').complete")
    finally:
        Quiet.let_go.set()
    page.wait_for_function("() => document.querySelector('img-lrk').complete")
    parts = lrk.parse(Quiet.slow, name="x", max_pixels=1 << 24)
    wanted = codec.decode(parts).picture.samples
    late = element_pixels(page)
    assert np.array_equal(late[:, :, :3], wanted)
    assert np.abs(early - late).mean() > 0.5
    page.evaluate("() => document.querySelector('img-lrk').setAttribute('k', '2')")
    two = codec.decode(parts, rank=2).picture.samples
    assert np.array_equal(element_pixels(page)[:, :, :3], two)
    assert page.get_by_role("img", name="A picture").count() == 1
    page.unroute("**/element.html")
    assert not events


def test_the_example_of_the_readme_draws_a_file(visit):
    page = visit()
    text = (ROOT / "js" / "README.md").read_text("utf-8")
    (example,) = re.findall(r"```js\n(.*?)```", text, re.DOTALL)
    example = re.sub(r"import (\{.*?\}) from (.*?);", r"const \1 = await import(\2);", example)
    original = picture("RGB", 40, 60)
    parts = codec.encode(original, Target("rank", 30)).parts
    page.route("**/photo.lrk", lambda route: route.fulfill(body=lrk.serialize(parts)))
    found = page.evaluate(
        f"""async () => {{
          {example}
          canvas.remove();
          const {{data}} = canvas.getContext("2d").getImageData(0, 0, width, height);
          return [parts.channels, parts.frames, ...data];
        }}"""
    )
    page.unroute("**/photo.lrk")
    assert found[:2] == [3, None]
    pixels = np.reshape(found[2:], (40, 60, 4))
    assert np.array_equal(pixels[:, :, :3], codec.decode(parts, rank=20).picture.samples)


COUNT_DRAWINGS = """() => {
  window.drawings = 0;
  const draw = CanvasRenderingContext2D.prototype.putImageData;
  CanvasRenderingContext2D.prototype.putImageData = function (...all) {
    drawings++;
    return draw.apply(this, all);
  };
}"""


def test_the_element_draws_a_picture_once_and_as_it_is_asked_for_last(tab, site):
    page, events = tab
    Quiet.slow = lrk.serialize(codec.encode(picture("RGB", 64, 96), Target("rank", 40)).parts)
    body = ELEMENT.replace("slow.lrk", "late.lrk")
    page.route("**/element.html", lambda route: route.fulfill(body=body, content_type="text/html"))
    complete = "() => document.querySelector('img-lrk').complete"
    Quiet.let_go.clear()
    try:
        page.goto(f"{site}element.html", wait_until="commit")
        page.wait_for_function(
            "() => document.querySelector('img-lrk')?.shadowRoot?.firstChild.width === 96"
        )
        # Drawn whole before it has ended, and then asked for otherwise.
        assert not page.evaluate(complete)
        page.evaluate("() => document.querySelector('img-lrk').setAttribute('k', '2')")
    finally:
        Quiet.let_go.set()
    page.wait_for_function(complete)
    parts = lrk.parse(Quiet.slow, name="x", max_pixels=1 << 24)
    two = codec.decode(parts, rank=2).picture.samples
    assert np.array_equal(element_pixels(page)[:, :, :3], two)
    page.evaluate(COUNT_DRAWINGS)
    page.evaluate("() => document.querySelector('img-lrk').setAttribute('src', 'again/late.lrk')")
    page.wait_for_function("() => drawings && document.querySelector('img-lrk').complete")
    assert np.array_equal(element_pixels(page)[:, :, :3], two)
    assert page.evaluate("drawings") == 1
    page.unroute("**/element.html")
    assert not events


# -- for everybody -----------------------------------------------------------------------------


def contrast(one, other):
    """Of two colours as `#rrggbb`, as WCAG 2 defines it."""

    def luminance(colour):
        c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_colours_of_text_stand_out():
    """What no checker can say of the labels in a plot, over a blurred dock, of one letter."""
    css = (ROOT / "lowrank" / "views" / "page" / "page.css").read_text("utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", scheme))
        for text in ("ink", "soft", "accent", "warm"):
            for ground in ("paper", "card"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["soft"], colours["field"]) >= 4.5
        assert contrast(colours["on-accent"], colours["accent"]) >= 4.5


@pytest.mark.parametrize("viewport", [(360, 740), (740, 360)])
def test_nothing_overflows_a_phone_either_way(visit, viewport):
    page = visit("picture=text.png", viewport=viewport)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= viewport[0]
        cut = page.evaluate(
            """() => [...document.querySelectorAll("svg text")].filter((text) => {
                const {x, width} = text.getBBox();
                return x < 0 || x + width > text.ownerSVGElement.clientWidth;
            }).map((text) => text.textContent)"""
        )
        assert cut == []


def test_every_control_has_a_name(visit):
    page = visit()
    page.click("#path-start")
    page.wait_for_selector("#path-number")
    assert page.evaluate(NAMELESS) == []
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map((x) => x.id)")
    assert len(ids) == len(set(ids))


def test_the_policy_lets_nothing_out(site):
    with urllib.request.urlopen(site) as page:
        text = page.read().decode("utf-8")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    assert text.index(policy) < text.index("<script")  # and what follows is under it
    rules = dict(x.strip().split(" ", 1) for x in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == rules["worker-src"] == "'self'"
    assert "unsafe" not in policy
    assert "http" not in policy
    assert site.startswith("http://127.0.0.1")
