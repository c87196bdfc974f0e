"""What is said reads well: one of a thing is one, verbs go with their number, names are names."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from conftest import picture
from PIL import Image

import lowrank
from lowrank.errors import number_of
from lowrank.io import pillow

ONE_AS_MANY = re.compile(r"(?<![\d.,/:x-])1 (?!of\b|is\b|as\b|has\b|was\b)[a-z]*[^su\W]s\b")


def test_a_number_of_things():
    assert number_of(1, "frame") == "1 frame"
    assert number_of(0, "frame") == "0 frames"
    assert number_of(2000, "term", "stands", "stand") == "2,000 terms stand"
    assert number_of(1, "term", "stands", "stand") == "1 term stands"


@pytest.fixture
def ones(tmp_path):
    """Files of one frame, one pixel, one term, one sample that is odd."""
    rng = np.random.default_rng(5)
    np.save(tmp_path / "frame.npy", rng.integers(-90, 90, (1, 6, 8)).astype(np.int16))
    np.save(tmp_path / "pixel.npy", np.full((1, 1), 7, np.uint8))
    gap = np.add.outer(np.arange(20.0), np.arange(30.0)).astype(np.float32)
    gap[4, 5] = -9999
    np.save(tmp_path / "gap.npy", gap)
    np.save(tmp_path / "rgb.npy", np.where(np.arange(60).reshape(4, 5, 3) == 7, 250, 3))
    lowrank.compress(picture("L", 20, 24).samples[..., 0], rank=2).save(tmp_path / "two.lrk")
    (tmp_path / "cut.lrk").write_bytes((tmp_path / "two.lrk").read_bytes()[:-40])
    lowrank.compress(picture("L", 20, 24).samples[..., 0], rank=1).save(tmp_path / "one.lrk")
    (tmp_path / "a.png").write_bytes(pillow.write(picture("RGB", 20, 24), format="PNG"))
    noisy = np.outer(np.arange(1, 31), rng.random(400) + 1).reshape(30, 20, 20)
    np.save(tmp_path / "noisy.npy", (noisy + rng.normal(0, 0.01, noisy.shape)).astype(np.float32))
    colours = [np.dstack([rng.integers(0, 256, (20, 30))] * 3).astype(np.uint8) for _ in range(2)]
    colours[1][..., :2] = rng.integers(0, 256, (20, 30, 2))
    np.save(tmp_path / "colours.npy", np.stack(colours))
    return tmp_path


RUNS = (
    ("compress frame.npy -k 3 -o frame.lrk", 0, "a stack of 1 frame of 8x6"),
    ("report frame.npy frame.lrk", 0, "1 frame of 8x6 int16"),
    ("decompress frame.lrk -o back.npy", 0, "1 frame of 8x6"),
    ("decompress frame.lrk -o back/", 0, "1 frame"),
    ("decompress frame.lrk --pixel 1,2 -o trace.csv", 0, "over 1 frame"),
    ("decompress frame.lrk -o back.png", 2, "no stack of 1 frame"),
    ("decompress frame.lrk --frames 3:9", 2, "none of 1 frame"),
    ("decompress frame.lrk --frames 3", 2, "give 0"),
    ("compress pixel.npy -k 3 -o pixel.lrk", 0, "no 1x1 matrix has a rank above 1"),
    ("compress gap.npy -k 2 -o gap.lrk", 0, "1 sample of -9999 lies far"),
    ("compress gap.npy -k 2 --nodata -9999 -o gaps.lrk", 0, "1 of 600 pixels has no data"),
    ("compress a.png --size 1", 2, "1 byte cannot"),
    ("compress a.png --size 1 --store float16", 2, "1 byte cannot"),
    ("compress one.lrk -k 5 -o more.lrk", 0, "it has 1 term "),
    ("decompress cut.lrk -o cut.png", 1, "after 1 of 2 terms"),
    ("decompress cut.lrk --partial -o cut.png", 0, "decoded 1 of 2 terms"),
    ("compress noisy.npy -k 1 -o noisy.lrk", 0, ""),
    ("report noisy.npy noisy.lrk", 0, "1 term stands above the noise"),
    ("compress colours.npy -k 2 -o colours.lrk", 0, ""),
    ("decompress colours.lrk -o colours.gif", 0, "1 frame has more than 256 colours"),
    ("compress a.png -k 1 --stack -o stack.lrk", 0, "24x20 RGB: 1 picture."),
)


def test_one_of_a_thing_is_one(cli, ones):
    for line, code, said in RUNS:
        done = cli(*line.split())
        assert done.code == code, (line, done.err)
        told = done.text + done.err
        assert said in told, (line, told)
        assert not ONE_AS_MANY.search(told), (line, told)


def test_what_is_no_image_is_told_all_that_is_read(cli, tmp_path):
    (tmp_path / "notes.png").write_text("no image")
    for line in ("compress notes.png", "report notes.png"):
        said = cli(*line.split()).failed()
        for name in ("PNG", "TIFF", "GIF", "AVIF", ".npy", ".npz", "a folder of them"):
            assert name in said


def test_a_file_without_a_name_is_called_one_thing():
    packed = lowrank.compress(picture("RGB", 20, 24).samples, quality=60).to_bytes()
    with pytest.raises(lowrank.UsageError, match=r"^the file given as bytes is packed, and "):
        lowrank.open(packed).truncate(1)
    with pytest.raises(lowrank.LowrankError, match="the file given as bytes"):
        lowrank.open(b"notes")


def test_one_choice_is_no_list(cli):
    assert "give noise" in cli("compress", "a.png", "--weights", "loud").failed(2)
    assert "give one of psnr, eye" in cli("compress", "a.png", "--tune", "ear").failed(2)


@pytest.mark.parametrize("text", ["x", "1.5", "", "2k"])
def test_what_is_no_number_is_not_called_out_of_range(cli, text):
    said = cli("compress", "a.png", "-j", text).failed(2)
    assert "is not understood; give a whole number from 1 on" in said
    assert "is out of range" in cli("compress", "a.png", "-j", "0").failed(2)


def test_what_is_said_of_some_frames_says_of_which(cli, tmp_path):
    pages = [Image.fromarray(picture("RGB", 12, 14, seed).samples) for seed in range(4)]
    for name in ("a.png", "c.png"):
        pages[0].save(tmp_path / name)
    pages[1].save(tmp_path / "b.gif", save_all=True, append_images=pages[2:])
    pages[1].quantize(8).save(tmp_path / "d.png")
    err = (
        cli("compress", "a.png", "b.gif", "c.png", "d.png", "--stack", "-k", 2, "-o", "x.lrk")
        .succeeded()
        .err
    )
    assert "a.png: b.gif: Only the first of 3 images was read" in err
    assert "a.png: b.gif and 1 other: The palette is stored as RGB samples" in err
    for name in ("e.png", "f.png"):
        pages[2].quantize(8).save(tmp_path / name)
    err = cli("compress", "e.png", "f.png", "--stack", "-k", 2, "-o", "y.lrk").succeeded().err
    assert "e.png: The palette is stored as RGB samples" in err  # of all


def test_a_palette_of_greys_is_not_called_colour(cli, tmp_path):
    pages = [Image.fromarray(picture("L", 12, 14, seed).samples[..., 0]) for seed in range(3)]
    pages[0].save(tmp_path / "grey.gif", save_all=True, append_images=pages[1:])
    err = cli("compress", "grey.gif", "-k", 2).succeeded().err
    assert "stack of 3 frames of 14x12 L" in err
    assert "RGB" not in err


@pytest.mark.parametrize("order", [">", "<", "="])
@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3), (4, 6, 8), (4, 6, 8, 3)])
def test_a_type_has_one_name_in_either_order_of_bytes(cli, tmp_path, order, shape):
    for kind, name in (("u2", "uint16"), ("f8", "float64"), ("c8", "complex64"), ("U2", "str64")):
        np.save(tmp_path / "in.npy", np.zeros(shape).astype(order + kind))
        done = cli("compress", "in.npy", "-k", 2, "-f")
        assert name in done.err
        assert not re.search(r"[<>|=][a-zA-Z]\d", done.err), done.err
        assert "(s)" not in done.err


def test_samples_that_no_file_holds_say_of_which_file_they_are(cli, tmp_path):
    for name, value in (("large", 1e300), ("small", 1e-300)):
        np.save(tmp_path / f"{name}.npy", np.full((4, 5), value))
        np.save(tmp_path / f"{name}s.npy", np.full((3, 4, 5), value))
        for file in (f"{name}.npy", f"{name}s.npy"):
            for run in (("compress", file, "-k", 2), ("report", file), ("report", file, "-k", 1)):
                assert f"{file}: samples" in cli(*run).failed()
    data = (tmp_path / "large.npy").read_bytes()
    assert "standard input: samples" in cli("compress", "-", "-k", 2, stdin=data).failed()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e5, 1e30])
def test_an_error_is_read_in_digits_not_in_zeros(cli, tmp_path, scale):
    samples = picture("F", 20, 24).samples[..., 0] * np.float32(scale)
    np.save(tmp_path / "in.npy", samples)
    cli("compress", "in.npy", "-k", 2).succeeded()
    text = cli("report", "in.npy", "in.lrk").succeeded().text
    (row,) = [x.split() for x in text.splitlines() if x.startswith("rounded and clipped")]
    decoded = lowrank.open(tmp_path / "in.lrk").to_array()
    error = np.sqrt(np.mean((decoded.astype(float) - samples) ** 2))
    assert float(row[4]) == pytest.approx(error, rel=1e-3)
    assert len(row[4]) <= 11


def test_a_stack_is_whole_as_a_stack(cli, ones):
    for name in ("noisy", "frame"):
        cli("compress", f"{name}.npy", "-k", 1).succeeded()
    assert "30 frames of 20x20 F, rank 1" in cli("verify", "noisy.lrk").succeeded().text
    assert "1 frame of 8x6 int16, rank 1" in cli("verify", "frame.lrk").succeeded().text


ADVICE = (
    ("compress a.png --axis 7 -k 2", "leave it out"),
    ("compress noisy.npy --axis 7 -k 2", "give 0 to 2"),
    ("compress noisy.npy --store packed -k auto", "give -q"),
    ("compress noisy.npy --layout patches", "channels or patches"),
    ("report - -", "by its name"),
    ("report deep.npy deep.lrk --against png", "leave --against out"),
    ("compress a.png two.lrk -o notes", "give -o another"),
    ("compress a.png gap.npy --stack -o x.lrk --manifest l.csv -k 2", "leave it out"),
)


def test_what_is_refused_says_what_to_do(cli, ones):
    (ones / "notes").write_text("")
    np.save(ones / "deep.npy", np.arange(60, dtype=np.uint16).reshape(6, 10))
    cli("compress", "deep.npy", "-k", 1).succeeded()
    for line, said in ADVICE:
        told = cli(*line.split()).failed(2)
        assert ";" in told, told
        assert said in told, told


def test_an_empty_name_is_seen(cli, small_png):
    for command in ("compress", "decompress", "report", "verify"):
        assert "cannot read ''" in cli(command, "").failed(1)
    assert "is empty; give it" in cli("report", "in.png", "").failed(2)  # "$UNSET" in a script


@pytest.mark.parametrize(
    ("words", "help_"),
    [(("report", "a.png", "-q"), "lowrank report --help lists its options"),
     (("compress",), "lowrank compress --help lists its options"),
     (("compress", "a.png", "-k"), "lowrank compress --help lists its options"),
     (("report", "a.png", "--html"), "lowrank report --help lists its options"),
     (("nonsense",), "lowrank --help lists commands and options")],
)  # fmt: skip
def test_who_mistypes_is_sent_to_the_help_of_the_command(cli, words, help_):
    assert cli(*words).failed(2).endswith(help_)


def test_who_leaves_the_command_out_is_told_one(cli, small_png):
    assert cli("in.png").failed(2).endswith("lowrank compress in.png")


def test_a_file_that_looks_like_an_option_is_told_how_it_is_given(cli, small_png, tmp_path):
    (tmp_path / "-dash.png").write_bytes(small_png.read_bytes())
    told = cli("compress", "-dash.png", "-k", 2).failed(2)
    given = told.split("is given as ")[1]
    assert given == os.path.join(".", "-dash.png")
    cli("compress", given, "-k", 2).succeeded()
    assert "lists its options" in cli("compress", "-absent.png", "-k", 2).failed(2)


def test_a_folder_that_is_reported_on_is_told_what_it_may_be(cli, small_png, tmp_path):
    (tmp_path / "d").mkdir()
    small_png.rename(tmp_path / "d" / "in.png")
    assert "--stack" in cli("report", "d").failed(1)
    cli("report", "d", "--stack").succeeded()


def test_a_report_calls_standard_input_what_messages_do(cli, small_png, tmp_path):
    cli("compress", "in.png", "-k", 2).succeeded()
    packed = (tmp_path / "in.lrk").read_bytes()
    for words, data in (
        (("-",), small_png.read_bytes()),
        (("in.png", "-"), packed),
        (("-", "in.lrk"), small_png.read_bytes()),
        (("-",), packed),
    ):
        lines = cli("report", *words, stdin=data).succeeded().text.splitlines()
        assert any(line.startswith("standard input  ") for line in lines[:2])


def test_no_line_of_a_table_ends_in_spaces(cli, small_png):
    cli("compress", "in.png", "-k", 2).succeeded()
    for words in (("report", "in.png"), ("report", "in.png", "in.lrk"), ("report", "in.lrk")):
        text = cli(*words).succeeded().text
        assert len(text.splitlines()) > 8
        assert not re.search(r" $", text, re.MULTILINE)


def test_an_empty_number_is_seen(cli, small_png):
    for option in ("-k", "--psnr", "--size"):
        assert f"{option} '' is not understood" in cli("compress", "in.png", option, "").failed(2)


def test_options_before_the_command_are_told_their_place(cli, small_png):
    said = cli("-k", 20, "compress", "in.png").failed(2)
    assert said.endswith("options stand after a command: lowrank --help")


def test_a_file_that_is_compressed_already_says_what_shortens_it(cli, ones):
    for target in ((), ("-q", 60), ("--max-error", 3)):
        said = cli("compress", "one.lrk", *target, "-o", "out.lrk").failed(2)
        assert "one.lrk is compressed already; -k, --energy or --error shorten it" in said


def test_a_folder_that_is_missing_is_named(cli, small_png, tmp_path):
    said = cli("compress", "in.png", "-k", 2, "-o", "no/such/out.lrk").failed(1)
    assert "no folder no/such; make it first" in said
    assert not (tmp_path / "no").exists()


def test_the_list_of_commands_says_each_in_full(cli):
    listed = cli("--help").succeeded().text.partition("Commands:")[2].partition("Examples:")[0]
    assert listed.count(".") == 4 + listed.count(".lrk")
    assert "..." not in listed


def test_in_python_a_number_is_asked_for_as_python_has_it():
    for said, target in (("error 5", {"error": 5}), ("energy 99", {"energy": 99})):
        with pytest.raises(lowrank.UsageError, match=rf"^{said} is out of range; [^%]*$"):
            lowrank.compress(picture("L", 20, 24).samples[..., 0], **target)


@pytest.mark.parametrize("name", ["out.png", "OUT.TIF", "out.npy"])
def test_save_writes_no_lrk_file_under_the_name_of_another_format(tmp_path, name):
    image = lowrank.compress(picture("L", 20, 24).samples[..., 0], rank=2)
    with pytest.raises(lowrank.UsageError, match=r"give .*\.lrk, or save what to_image\(\) or"):
        image.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    for other in ("out", "out.LRK", "a.b.c"):
        image.save(tmp_path / other)
        assert lowrank.open(tmp_path / other) == image


@pytest.mark.parametrize("what", ["empty", "text", "cut", "late", "damaged", "too large", "other"])
@pytest.mark.parametrize("command", ["compress", "decompress", "report", "verify"])
def test_standard_input_is_called_that_in_every_error(cli, command, what, tmp_path):
    whole = lowrank.compress(picture("RGB", 30, 40).samples, rank=4).to_bytes()
    data = {
        "empty": b"", "text": b"hello", "cut": whole[:20], "late": whole[:-40],
        "damaged": whole[:300] + bytes([whole[300] ^ 1]) + whole[301:],
    }.get(what, whole)  # fmt: skip
    np.save(tmp_path / "other.npy", np.zeros((4, 5, 6, 7), np.uint8))
    options = {
        "too large": {"": ["--max-pixels", "9"]},
        "other": {
            "compress": ["--store", "packed"], "decompress": ["--frames", "1"],
            "report": ["-k", "2"], "verify": ["--against", "other.npy"],
        },
    }.get(what, {})  # fmt: skip
    out = ["-o", "out.png" if command == "decompress" else "out.lrk"]
    more = options.get(command, options.get("", [])) + (out if command[-1] == "s" else [])
    done = cli(command, "-", *more, stdin=data)
    assert done.code in (1, 2)
    assert done.err.count("\n") == 1
    assert "standard input" in done.err
    assert not re.search(r"(^|[ :])-([ :;,]|$)", done.err.strip())
