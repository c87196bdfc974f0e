"""Nothing that a file or a name contains steers the terminal, or breaks its line."""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import unicodedata
import zlib

import pytest
from conftest import on_a_terminal, picture, run_lowrank

from lowrank import errors
from lowrank import format as lrk
from lowrank.io import pillow
from lowrank.report import peers
from lowrank.views import as_json

posix = pytest.mark.skipif(os.name != "posix", reason="names of POSIX")

HOSTILE = {
    "esc": "\x1b[2J\x1b]0;owned\x07",
    "c1": "\x9b2J",
    "return": "a\rlowrank: error: fake",
    "newline": "a\nlowrank: error: fake",
    "bidi": "a\u202egnp\u2066\u200f",
    "separators": "a\u2028b\u2029c\x85d",
    "not utf-8": "a\udcff\udc9b",
    "delete": "a\x7f\x08b",
}


def steers(text):
    """Characters that no line of ours may hold; by category, not by `isprintable`."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"}


def test_printable_leaves_text_and_replaces_the_rest():
    for text in ("Grüße σₖ₊₁ ‖A‖ 日本 photo (1).png", "", "a b", "é"):
        assert errors.printable(text) == text
    for text in HOSTILE.values():
        shown = errors.printable(text)
        assert len(shown) == len(text)
        assert not steers(shown)
        assert "\n" not in shown
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    assert not steers(errors.printable(every)) | ({"\n"} & set(errors.printable(every)))


@pytest.mark.parametrize("kind", [errors.LowrankError, *errors.LowrankError.__subclasses__()])
def test_every_error_is_one_printable_line(kind):
    for text in HOSTILE.values():
        assert str(kind(f"cannot read {text}")).isprintable()


def test_the_reader_of_files_names_them_printably():
    for text in HOSTILE.values():
        for data in (
            b"",
            b"junk",
            lrk.SIGNATURE,
            lrk.SIGNATURE + b"\x09",
            lrk.SIGNATURE + b"\x01x",
        ):
            with pytest.raises(errors.FormatError) as caught:
                lrk.parse(data, name=text, max_pixels=100)
            assert str(caught.value).isprintable()


def raw(arguments, cwd):
    """Both streams of a run, as they were written."""
    done = run_lowrank(*arguments, cwd=cwd)
    return done.code, done.out.decode(), done.err


@posix
@pytest.mark.parametrize("stem", ["".join(HOSTILE.values()), HOSTILE["newline"]], ids=["all", "1"])
def test_a_name_stays_on_its_line_and_steers_nothing(tmp_path, stem):
    name = f"{stem}.png"
    image = pillow.write(picture("RGB", 30, 40), format="PNG")
    (tmp_path / name).write_bytes(image)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / name).write_bytes(image)
    (tmp_path / "d" / f"b{stem}").write_bytes(b"")
    (tmp_path / "d" / f"x.{stem}").write_bytes(b"")
    os.mkfifo(tmp_path / "d" / f"p{name}")
    (tmp_path / f"{stem}.bad").write_bytes(b"junk")
    lrk_name = f"{stem}.lrk"
    runs = [
        ("compress", name, "-k", 99),  # a note says 30
        ("compress", name, "-k", 99),  # it exists
        ("compress", name, "-k", 3, "-f", "--certify"),
        ("report", name),
        ("report", name, lrk_name),
        ("report", name, "-k", "1,2"),
        ("report", lrk_name),
        ("report", name, "--html", f"{stem}.html"),
        ("decompress", lrk_name, "-o", f"{stem}.tif"),
        ("decompress", lrk_name, "-o", stem, "--format", stem),
        ("decompress", f"{stem}.bad"),
        ("compress", f"{stem}.bad"),
        ("compress", stem + "none.png"),
        ("compress", "d", "-k", 1, "-o", f"{stem}-out"),
        ("compress", "d", "-k", 1, "-o", f"{stem}-out", "--skip-existing", "-j", 2),
        ("compress", name, "--store", stem),
        ("compress", name, "--layout", stem),
        ("compress", name, "-k", stem),
        ("compress", name, "--size", stem),
        ("compress", name, f"--{stem}"),
        ("compress", name, "-j", stem),
        ("compress", name, "--dask", stem),
        ("report", name, lrk_name, "--against", stem),
        (stem,),
    ]
    lines = []
    for run in runs:
        _, out, err = raw(run, tmp_path)
        for text in (out, err):
            assert not steers(text), run
            lines += [x for x in text.splitlines() if x.startswith("lowrank: ")]
    assert not [x for x in lines if x.startswith("lowrank: error: fake")]
    assert len(lines) >= 15


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("what", ["esc", "newline", "c1", "return"])
def test_a_keyword_in_a_picture_steers_nothing(cli, tmp_path, what):
    png = pillow.write(picture("L", 8, 8), format="PNG")
    key = HOSTILE[what].encode("latin-1")
    (tmp_path / "t.png").write_bytes(png[:33] + chunk(b"tEXt", key + b"\0hello") + png[33:])
    for run in (
        ("compress", "t.png", "-k", 1, "-f"),
        ("report", "t.png", "-k", 1),
        ("compress", "t.png", "-k", 1, "-f", "--json"),
    ):
        done = cli(*run).succeeded()
        assert not steers(done.text + done.err)
        assert all(line.startswith("lowrank: note: ") for line in done.err.splitlines())


@posix
def test_json_carries_every_name_without_loss(cli, tmp_path):
    image = pillow.write(picture("L", 8, 8), format="PNG")
    (tmp_path / "d").mkdir()
    there = {os.fsencode(f"{stem}.png") for stem in HOSTILE.values()} | {"grün.png".encode()}
    for name in there:
        with open(os.path.join(os.fsencode(tmp_path / "d"), name), "wb") as stream:
            stream.write(image)
    for environment in ({}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}):
        done = cli("compress", "d", "-k", 1, "-f", "--json", environment=environment).succeeded()
        text = done.out.decode("latin-1" if environment else "utf-8")
        assert not steers(text)
        *lines, last = text.splitlines()
        assert len(lines) == len(there)
        found = {os.fsencode(json.loads(x)["source"]["path"].removeprefix("d/")) for x in lines}
        assert found == there
        assert "summary" in json.loads(last)
        if not environment:
            assert "grün" in text  # what can be read is not escaped


def test_json_escapes_only_what_it_must():
    fields = {"a": "é日\x1b\u202e\ud800\U000e0001\U0001f600", "b": [1, None, 2.5]}
    text = as_json.dumps(fields, lines=True)
    assert json.loads(text) == fields
    assert "é日" in text
    assert "\U0001f600" in text
    assert text.isprintable()
    assert as_json.dumps(fields, lines=True, encoding="ascii").isascii()
    assert json.loads(as_json.dumps(fields)) == fields


@posix
def test_a_bar_and_tables_on_a_terminal_take_no_orders_from_names(tmp_path):
    (tmp_path / "d").mkdir()
    for i, stem in enumerate(HOSTILE.values()):
        image = pillow.write(picture("L", 20, 24, seed=i), format="PNG")
        (tmp_path / "d" / f"{i}{stem}.png").write_bytes(image)
    drawn = on_a_terminal(["compress", "d", "-k", 2], tmp_path)
    assert "owned\x07" not in drawn
    assert "\x1b[2J" not in drawn
    assert not steers(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)) - {"\r"}


# -- numbers are whole, however narrow the terminal ---------------------------------------------


@pytest.mark.parametrize("columns", [0, 1, 20, 40])
def test_no_digit_is_cut_however_narrow_the_terminal(cli, small_png, tmp_path, columns):
    cli("compress", "in.png", "-k", 2).succeeded()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.png").write_bytes(small_png.read_bytes())
    runs = [
        ("report", "in.png"),
        ("report", "in.png", "-k", "1,2,20"),
        ("report", "in.png", "in.lrk", "--against", "png"),
        ("report", "in.lrk"),
        ("compress", "in.png", "-k", 2, "--certify", "-f"),
        ("compress", "d", "-k", 2, "-f"),
    ]
    for run in runs:
        wide = cli(*run, environment={"COLUMNS": "1000"}).succeeded().text
        text = cli(*run, environment={"COLUMNS": str(columns)}).succeeded().text
        assert "…" not in text, run
        rows = [line.split() for line in wide.splitlines() if re.search(r"\d +\d", line)]
        narrow = [line.split() for line in text.splitlines()]
        for row in rows:
            if not row[0].endswith((".png", ".lrk")) and "A" not in row:
                assert row in narrow, (run, row)


def test_a_rival_that_cannot_hold_the_picture_gives_a_dash_and_why(cli, tmp_path):
    from PIL import Image

    Image.linear_gradient("L").resize((4, 70_000)).save(tmp_path / "tall.png")
    cli("compress", "tall.png", "-k", 1).succeeded()
    run = ("report", "tall.png", "tall.lrk", "--against", "jpeg, WebP,avif,png")
    done = cli(*run).succeeded()
    for codec in ("jpeg", "webp", "avif"):
        (row,) = [line.split() for line in done.text.splitlines() if line.startswith(f"{codec} ")]
        assert row[1:] == ["-", "-", "-"]
        assert f"{codec}: " in done.text
    assert "65,500" in done.text
    assert "16,383" in done.text
    (row,) = [line.split() for line in done.text.splitlines() if line.startswith("png ")]
    assert row[1] == "exact"  # it fits: the picture is tall and flat
    assert int(row[2].replace(",", "")) > 0
    found = json.loads(cli(*run, "--json").succeeded().text)["against"]
    assert [bool(x["why"]) for x in found] == [True, True, True, False]


def test_whatever_a_rival_raises_stays_in_its_row(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("line one\nline two \x1b[2J " + "x" * 500)

    from PIL import Image

    monkeypatch.setattr(Image.Image, "save", fail)
    (found,) = peers.against(picture("RGB", 20, 24), ["jpeg"], size=1000, psnr=30.0)
    assert (found.psnr_db, found.bytes) == (None, None)
    assert found.why.isprintable()
    assert "line one line two" in found.why
    assert len(found.why) < 250


def test_no_digit_is_cut_below_the_pictures_of_a_terminal(small_png, tmp_path):
    for columns in ("5", "20"):
        drawn = on_a_terminal(
            ["report", "in.png", "-k", "1,2,20"], tmp_path, environment={"COLUMNS": columns}
        )
        assert "▀" in drawn or columns == "5"  # no room
        assert "…" not in drawn
