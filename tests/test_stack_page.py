"""The page of a stack: its sums are numpy's, its controls move them, and it is safe."""

from __future__ import annotations

import base64
import re
import zlib

import numpy as np
import pytest
from goldens import EXPECTED, known
from PIL import Image
from test_page import embedded, tab, visit  # noqa: F401 - fixtures

import lowrank
from lowrank import format as lrk
from lowrank.format.parts import Floats
from lowrank.io.taking import Taking
from lowrank.report import ask, gallery, stacks
from lowrank.views import stack_page

JSON = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def movie(shape=(14, 12, 16), dtype="int16", seed=0):
    rng = np.random.default_rng(seed)
    A = rng.random((shape[0], 3)) @ rng.random((3, int(np.prod(shape[1:])))) * 900
    return np.rint(A + 9 * rng.standard_normal(A.shape)).reshape(shape).astype(dtype)


@pytest.fixture
def make(tmp_path):
    def make(A, *, ranks=()):
        np.save(tmp_path / "in.npy", A)
        result = ask.report(
            str(tmp_path / "in.npy"), None, ranks=list(ranks), store=None, max_pixels=1 << 24,
            taking=Taking(stack=True),
        )  # fmt: skip
        page = tmp_path / "page.html"
        page.write_text(stack_page.page(result, gallery.of(result)), "utf-8")
        return page

    return make


def test_what_the_page_carries_is_the_stack(make):
    A = movie()
    data, parts = embedded(make(A, ranks=[4]))
    assert (parts.head.frames, parts.head.layout, data["start"]) == (14, "stack", 4)
    planes = np.frombuffer(zlib.decompress(base64.b64decode(data["frames"])), np.uint8)
    low, high = planes.reshape(2, -1).astype(int)
    np.testing.assert_array_equal((low + 256 * high) * data["scale"] + data["low"], A.reshape(-1))
    np.testing.assert_allclose(
        data["spectrum"], np.linalg.svd(A.reshape(14, -1).astype(float), compute_uv=False),
        rtol=1e-6,
    )  # fmt: skip


def test_large_stacks_are_thinned_out_and_that_is_said(make, monkeypatch):
    monkeypatch.setattr(gallery, "SAMPLES", 600)
    path = make(movie((30, 12, 16)), ranks=[2])
    data, parts = embedded(path)
    assert np.prod(data["shape"]) <= 2 * 600
    assert parts.head.frames == len(data["numbers"]) < 30
    assert "is shown" in path.read_text("utf-8")


def test_sums_errors_and_controls(make, visit):  # noqa: F811
    A = movie((14, 12, 16, 3), "uint8")
    path = make(A, ranks=[3])
    page = visit(path)
    _, parts = embedded(path)
    (f,) = parts.body.factors
    M = A.reshape(14, -1).astype(float)
    s = np.linalg.svd(M, compute_uv=False)
    for k in (3, 7, 2):
        page.eval_on_selector(
            "#rank", "(x, k) => { x.value = k; x.dispatchEvent(new Event('input')); }", k
        )
        B = np.array(page.evaluate("Array.from(frames_of_page.B)")).reshape(14, -1)
        exact = (f.U[:, :k].astype(float) * f.s[:k]) @ f.Vt[:k]
        np.testing.assert_allclose(B, exact, atol=1e-2)
        error = float(page.get_attribute("#stage", "data-error"))
        np.testing.assert_allclose(error, np.linalg.norm(s[k:]), rtol=1e-4)
        assert page.inner_text("#headline") == str(k)
    page.eval_on_selector("#frame", "x => { x.value = 9; x.dispatchEvent(new Event('input')); }")
    assert page.inner_text("label[for=frame]") == "Frame 9"
    page.click("#original", position={"x": 3, "y": 3})
    assert "Pixel 0, 0 (row, column), red:" in page.inner_text("#trace-said")
    assert "of the energy" in page.get_attribute("#rank", "aria-valuetext")
    assert page.locator("#eigenimages li.used").count() == 2
    page.click("#eigenimages li:nth-child(5) button")
    assert page.get_attribute("#stage", "data-rank") == "5"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_pixels_of_a_reduced_stack_are_those_of_the_stack(make, visit, monkeypatch):  # noqa: F811
    monkeypatch.setattr(gallery, "SAMPLES", 3000)
    path = make(movie((30, 24, 32), "float32"))
    data, _ = embedded(path)
    N, h, w, _ = data["shape"]
    assert (h, w) != (24, 32)
    page = visit(path)
    assert f"a copy: {N} of 30 frames, {w} × {h}." in page.inner_text("h1 + .intro")
    page.click("#original", position={"x": 1, "y": 1})
    assert int(page.input_value("#row")) <= 24 // h
    for row, column, pin in ((23, 31, (h - 1, w - 1)), (0, 0, (0, 0)), (99, -5, (h - 1, 0))):
        page.fill("#row", str(row))
        page.fill("#column", str(column))
        page.press("#column", "Enter")
        row, column = min(row, 23), max(column, 0)
        assert page.input_value("#row") == str(row)
        said = f"Pixel {row}, {column} (row, column), averaged with those around it:"
        assert said in page.inner_text("#trace-said")
        at = page.eval_on_selector(
            ".pin", "x => [parseFloat(x.style.top), parseFloat(x.style.left)]"
        )
        expected = [100 * (pin[0] + 0.5) / h, 100 * (pin[1] + 0.5) / w]
        np.testing.assert_allclose(at, expected, rtol=1e-4)


def test_black_and_white_reduced_is_measured_in_its_own_levels(make, monkeypatch):
    A = np.random.default_rng(0).random((6, 24, 32)) > 0.5
    monkeypatch.setattr(gallery, "SAMPLES", 2000)
    data, _ = embedded(make(A))
    assert data["shape"][1:3] != [24, 32]
    assert 0 <= data["low"] < data["high"] <= 1


def test_inks_are_shown_as_light(cli, visit, tmp_path):  # noqa: F811
    A = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 4)).astype(np.uint8)
    first, *others = (Image.frombytes("CMYK", (30, 20), a.tobytes()) for a in A)
    first.save(tmp_path / "ink.tif", save_all=True, append_images=others)
    done = cli("report", "ink.tif", "--html", "p.html")
    assert done.code == 0, done.err
    page = visit(tmp_path / "p.html")
    found = page.evaluate(
        """() => {
          const canvas = document.getElementById("original");
          return Array.from(canvas.getContext("2d").getImageData(0, 0, 30, 20).data);
        }"""
    )
    light = (255.0 - A[0, :, :, :3]) * (255 - A[0, :, :, 3:]) / 255
    assert np.abs(np.reshape(found, (20, 30, 4))[:, :, :3] - light).max() <= 1


def test_a_stack_of_few_frames_opens_at_a_rank_that_leaves_something_out(make):
    for frames, start in ((1, 1), (2, 1), (5, 4), (14, 5)):
        data, _ = embedded(make(movie((frames, 12, 16))))
        assert data["start"] == start


def test_sliders_are_as_wide_whatever_frames_are_called(make, visit, cli, tmp_path):  # noqa: F811
    labels = ["a", "a name that is as long as names of files are 2026-11-28.tif", *"abcdefghijkl"]
    lowrank.compress(movie(), stack=True, rank=2, labels=labels).save(tmp_path / "x.lrk")
    make(movie())
    done = cli("report", "in.npy", "x.lrk", "--html", "p.html")
    assert done.code == 0, done.err
    for viewport in ((1280, 900), (390, 844)):
        page = visit(tmp_path / "p.html", viewport=viewport)
        widths = []
        for frame in (0, 1):
            page.eval_on_selector(
                "#frame", "(x, i) => { x.value = i; x.dispatchEvent(new Event('input')); }", frame
            )
            assert labels[frame] in page.inner_text("label[for=frame]")
            widths.append(page.locator("#frame").bounding_box()["width"])
        assert widths[0] == widths[1] > 0.7 * viewport[0]


def test_what_is_written_in_plots_is_read_on_a_phone(make, visit):  # noqa: F811
    page = visit(make(movie()), viewport=(360, 740))
    for id in ("trace", "errors"):
        scale = page.eval_on_selector(f"#{id} svg", "x => x.getScreenCTM().a")
        size = page.eval_on_selector(f"#{id} text", "x => parseFloat(getComputedStyle(x).fontSize)")
        assert scale * size >= 10
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_sliders_of_tall_frames_are_in_sight(make, visit):  # noqa: F811
    for viewport in ((1280, 900), (390, 844)):
        page = visit(make(movie((30, 90, 6))), viewport=viewport)
        box = page.locator("#sum").bounding_box()
        assert box["height"] == pytest.approx(15 * box["width"], rel=0.02)
        assert box["height"] <= 0.71 * viewport[1]
        tallest = "xs => Math.max(...xs.map(x => x.getBoundingClientRect().height))"
        assert page.eval_on_selector_all("#eigenimages canvas", tallest) < 250
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_many_eigenimages_do_not_stand_before_the_report_on_a_phone(make, visit):  # noqa: F811
    A = np.random.default_rng(4).integers(0, 999, (40, 12, 16)).astype(np.int16)
    page = visit(make(A, ranks=[30]), viewport=(390, 844))
    images = page.locator("#eigenimages")
    assert page.locator("#eigenimages li").count() >= 30
    assert images.bounding_box()["height"] < 0.6 * 844
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#eigenimages li").last.locator("button").click()  # scrolled to
    assert page.locator("#eigenimages li:not(.used)").count() == 0
    assert images.evaluate("x => x.scrollLeft") > 0
    page.emulate_media(media="print")  # paper has no scroll bar
    assert images.evaluate("x => x.scrollWidth <= x.clientWidth")


def test_tables_have_the_heads_of_a_pictures(make, visit):  # noqa: F811
    page = visit(make(movie(), ranks=[2]))
    heads = page.locator(".report thead").all_inner_texts()
    assert [h.split("\t")[0] for h in heads] == ["channel", "compared"]
    assert page.locator(".report td").all_inner_texts()[8] == "yes"
    page = visit(make(movie()))
    (head,) = page.locator(".report thead").all_inner_texts()
    assert head.split("\t")[1:4] == ["σk+1", "relative error", "energy"]


def test_readers_agree_on_golden_stacks(make, visit):  # noqa: F811
    page = visit(make(movie(), ranks=[1]))
    names = [n for n, facts in EXPECTED.items() if n.startswith("stack") and not facts["partial"]]
    read = 0
    for name in names:
        data = known(name)
        parts = lrk.parse(data, name=name, max_pixels=10**6)
        if not isinstance(parts.body, Floats):
            continue
        found = page.evaluate(
            """text => {
              const f = Lrk.parse(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
              const [x] = f.matrices;
              return [f.frames, f.channels, Array.from(x.s), x.u.map((u) => Array.from(u)),
                x.v.map((v) => Array.from(v))];
            }""",
            base64.b64encode(data).decode(),
        )
        (f,) = parts.body.factors
        assert found[:2] == [parts.head.frames, len(parts.head.mode.channels)], name
        for ours, theirs in zip((f.s, f.U.T, f.Vt), found[2:], strict=True):
            np.testing.assert_array_equal(ours.astype(float), np.array(theirs), name)
        read += 1
    assert read >= 20


def test_names_and_labels_are_text(tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, "apart", lambda *_: None)  # which takes long
    A = movie()
    labels = ["</script><b>x", "\x1b[31m", "\u202e"] + ["a"] * 11
    stack = lowrank.compress(A, stack=True, rank=2, labels=labels)
    stack.save(tmp_path / "x.lrk")
    np.save(tmp_path / "<img>.npy", A)
    result = ask.report(
        str(tmp_path / "<img>.npy"), str(tmp_path / "x.lrk"), ranks=[], store=None,
        max_pixels=1 << 24,
    )  # fmt: skip
    text = stack_page.page(result, gallery.of(result))
    assert "<img>" not in text
    assert "</script><b>" not in text
    (data,) = JSON.findall(text)
    assert "<" not in data
    assert "\x1b" not in text
    assert "default-src 'none'" in text


def test_the_command_line_writes_the_page_of_a_stack(cli, tmp_path):
    np.save(tmp_path / "s.npy", movie())
    done = cli("report", "s.npy", "--html", "p.html")
    assert done.code == 0, done.err
    page = tmp_path / "p.html"
    assert lrk.SIGNATURE in base64.b64decode(embedded(page)[0]["lrk"])
    assert "Gavish-Donoho" in page.read_text("utf-8")


def test_one_term_is_one():
    from lowrank.views import stacks as said

    assert said.above_noise(1) == "1 term stands above the noise (Gavish-Donoho)."
    assert said.above_noise(2).startswith("2 terms stand")
