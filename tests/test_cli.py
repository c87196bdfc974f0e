"""The command line keeps its conventions, seen from outside: each run is a process of its own."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, files_below, picture, strictly
from PIL import Image

import lowrank
from lowrank import signals
from lowrank.io import formats, pillow
from lowrank.picture import MODES

COMMANDS = ("compress", "decompress", "report")
SOURCE = {"path", "format", "mode", "width", "height", "bytes"}
FILE = {"path", "bytes", "layout", "store", "bits_per_pixel"}
CHANNEL = {
    "name", "m", "n", "k", "norm", "sigma_1", "sigma_next", "spectral_error", "spectral_bound",
    "frobenius_error", "frobenius_bound", "relative_error", "energy", "certified",
}  # fmt: skip
STORAGE = {
    "floats", "original_floats", "float_ratio", "bytes", "raw_bytes", "byte_ratio",
    "source_ratio", "break_even_rank",
}  # fmt: skip
PIXELS = {"psnr_db", "rmse", "max_abs_error", "peak"}


@pytest.fixture
def tree(tmp_path):
    """A folder `photos` of two images, one of them in a folder below, and a text file."""
    for seed, name in enumerate(("a.png", "below/b.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pillow.write(picture("RGB", 20, 24, seed), format="PNG"))
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def image_of(path_or_bytes):
    source = io.BytesIO(path_or_bytes) if isinstance(path_or_bytes, bytes) else path_or_bytes
    with Image.open(source) as image:
        return np.asarray(image)


# -- outputs -----------------------------------------------------------------------------------


def test_the_whole_path_with_the_usual_names(cli, small_png, tmp_path):
    done = cli("compress", "in.png", "-k", 5).succeeded()
    assert "in.png -> in.lrk" in done.text
    os.rename(small_png, tmp_path / "original.png")
    assert "in.lrk -> in.png" in cli("decompress", "in.lrk").succeeded().text
    expected = lowrank.compress(tmp_path / "original.png", rank=5).to_array()
    np.testing.assert_array_equal(image_of(small_png), expected)
    report = cli("report", "original.png", "in.lrk").succeeded().text
    assert "Proved" in report
    assert files_below(tmp_path) == ["in.lrk", "in.png", "original.png"]


def test_an_output_may_be_named_or_be_a_folder(cli, small_png, tmp_path):
    cli("compress", "in.png", "-k", 2, "-o", "other.lrk").succeeded()
    (tmp_path / "there").mkdir()
    cli("compress", "in.png", "-k", 2, "-o", "there").succeeded()
    cli("compress", "in.png", "-k", 2, "-o", "new/").succeeded()
    cli("decompress", "other.lrk", "-o", "there").succeeded()
    cli("decompress", "other.lrk", "-o", "out.tif").succeeded()
    assert files_below(tmp_path) == [
        "in.png", "new/in.lrk", "other.lrk", "out.tif", "there/in.lrk", "there/other.png",
    ]  # fmt: skip
    assert len({(tmp_path / x).read_bytes() for x in ("other.lrk", "new/in.lrk")}) == 1


@pytest.mark.parametrize("mode", sorted(MODES))
def test_every_mode_comes_back_in_a_format_that_holds_it(cli, tmp_path, mode):
    lossless = formats.default_suffix(MODES[mode])
    A = picture(mode, 12, 17)
    source = tmp_path / f"in{lossless}"
    source.write_bytes(pillow.write(A, format=formats.format_for(lossless, A.mode)))
    cli("compress", source.name, "-k", 99, "--store", "float64").succeeded()
    source.unlink()
    cli("decompress", "in.lrk").succeeded()
    back = pillow.read(source.read_bytes(), name="x").picture
    assert back.mode == A.mode
    np.testing.assert_allclose(back.samples, A.samples, rtol=1e-6, atol=1e-6)


def test_standard_input_and_output_carry_the_same_bytes(cli, small_png, small_lrk, tmp_path):
    packed = cli("compress", "-", "-k", 6, "-o", "-", stdin=small_png.read_bytes()).succeeded()
    assert packed.out == small_lrk.read_bytes()
    same = cli("compress", "in.png", "-k", 6, "-o", "-").succeeded()
    assert same.out == packed.out
    for extra in ((), ("--format", "tif"), ("--format", "jpg")):
        done = cli("decompress", "-", *extra, stdin=packed.out).succeeded()
        assert image_of(done.out).shape == (30, 40, 3)
        if "jpg" in extra:
            assert done.out.startswith(b"\xff\xd8")
    assert files_below(tmp_path) == ["in.lrk", "in.png"]


def test_a_file_is_kept_unless_force_replaces_it(cli, small_png, small_lrk):
    before = small_lrk.read_bytes()
    line = cli("compress", "in.png", "-k", 2).failed()
    assert "in.lrk exists" in line
    assert "-f replaces it" in line
    assert small_lrk.read_bytes() == before
    assert "exists" in cli("decompress", "in.lrk").failed()
    for flag in ("-f", "--force"):
        cli("compress", "in.png", "-k", 2, flag).succeeded()
        assert lowrank.open(small_lrk).ranks == (2, 2, 2)


def test_quiet_prints_nothing_but_errors(cli, small_png, tmp_path):
    runs = [
        ("compress", "in.png", "-k", 99),
        ("decompress", "in.lrk", "-o", "out.png"),
        ("report", "in.png", "in.lrk"),
    ]
    for run in runs:
        done = cli(*run, "--quiet").succeeded()
        assert (done.out, done.err) == (b"", "")
    cli("compress", "none.png", "-k", 2, "--quiet").failed()


def test_a_rank_beyond_the_image_is_said_on_stderr(cli, small_png):
    done = cli("compress", "in.png", "-k", 1000).succeeded()
    assert "lowrank: note: " in done.err
    assert "kept 30" in done.err


def test_decompress_takes_fewer_terms(cli, small_lrk, tmp_path):
    cli("decompress", "in.lrk", "-k", 2, "-o", "rough.png").succeeded()
    expected = lowrank.open(small_lrk).to_array(rank=2)
    np.testing.assert_array_equal(image_of(tmp_path / "rough.png"), expected)


@pytest.mark.parametrize("stack", [False, True])
@pytest.mark.parametrize("store", ["float16", "packed"])
def test_decompress_says_that_a_file_has_no_more_terms(cli, tmp_path, store, stack):
    samples = np.random.default_rng(1).integers(0, 255, (5, 24, 32), np.uint8)
    image = lowrank.compress(samples if stack else samples[0], stack=stack, rank=4, store=store)
    image.save(tmp_path / "in.lrk")
    for rank in (4, 5, 99):
        done = cli("decompress", "in.lrk", "-k", rank, "-o", "all.npy", "-f").succeeded()
        assert ("it has 4 terms of a matrix at most: decoded all" in done.err) == (rank > 4)
        np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), image.to_array())
    if stack and store == "packed":
        assert "leave out -k" in cli("decompress", "in.lrk", "-k", 3, "-o", "few.npy").failed(2)
    else:
        assert "decoded all" not in cli("decompress", "in.lrk", "-k", 3).succeeded().err


def test_compress_shortens_a_lrk_without_its_image(cli, small_lrk, small_png, tmp_path):
    small_png.unlink()
    cli("compress", "in.lrk", "-k", 3, "-o", "short.lrk").succeeded()
    short = lowrank.open(tmp_path / "short.lrk")
    assert short.to_bytes() == lowrank.open(small_lrk).truncate(3).to_bytes()
    said = strictly(cli("compress", "in.lrk", "-k", 3, "-o", "told.lrk", "--json").succeeded().text)
    assert said == strictly(cli("report", "told.lrk", "--json").succeeded().text)
    needs = (("--store", "float32"), ("--tune", "eye"), ("--weights", "noise"), ("--certify",))
    for needed in needs:
        assert needed[0] in cli("compress", "in.lrk", "-k", 3, *needed, "-o", "x.lrk").failed(2)
    assert "kept all" in cli("compress", "in.lrk", "-k", 999, "-o", "all.lrk").succeeded().err


def test_a_cut_file_is_refused_but_decodes_with_partial(cli, small_lrk, tmp_path):
    cut = tmp_path / "cut.lrk"
    cut.write_bytes(small_lrk.read_bytes()[:-400])
    line = cli("decompress", "cut.lrk").failed()
    assert "--partial" in line
    assert not (tmp_path / "cut.png").exists()
    done = cli("decompress", "cut.lrk", "--partial").succeeded()
    assert "ends early" in done.err
    expected = lowrank.open(cut, partial=True).to_array()
    np.testing.assert_array_equal(image_of(tmp_path / "cut.png"), expected)


# -- targets -----------------------------------------------------------------------------------


def test_targets_exclude_each_other(cli, small_png, tmp_path):
    wishes = (("-k", 3), ("--energy", 0.9), ("--error", "5%"), ("--psnr", 30), ("--size", "9k"))
    for one, two in itertools.pairwise(wishes):
        assert "exclude each other" in cli("compress", "in.png", *one, *two).failed(2)
    assert files_below(tmp_path) == ["in.png"]


@pytest.mark.parametrize(
    ("option", "same"),
    [
        (("--energy", "99%"), ("--energy", "0.99")),
        (("--error", "5%"), ("--error", ".05")),
        (("--size", "3k", "--store", "float16"), ("--size", "3000", "--store", "float16")),
        (("--size", "0.003M", "--store", "float16"), ("--size", "3000", "--store", "float16")),
        (("--rank", "4"), ("-k", "4")),
    ],
)
def test_percent_and_size_suffixes_mean_what_they_say(cli, small_png, option, same):
    runs = [cli("compress", "in.png", *x, "-o", "-").succeeded().out for x in (option, same)]
    assert runs[0] == runs[1]
    if "--size" in option:
        assert 2500 < len(runs[0]) <= 3000


def test_auto_is_a_rank(cli, small_png, small_lrk):
    done = cli("compress", "in.png", "-k", "auto", "-o", "-").succeeded()
    assert done.out == lowrank.compress(small_png, rank="auto").to_bytes()


WRONG_VALUES = [
    ("-k", "0"), ("-k", "-3"), ("-k", "2.5"), ("-k", "many"), ("--energy", "200%"),
    ("--energy", "nan"), ("--error", "x"), ("--psnr", "-4"), ("--psnr", "inf"),
    ("--size", "0"), ("--size", "12q"), ("--size", "nan"), ("-q", "101", "--store", "packed"),
    ("-k", "3", "--store", "float8"), ("-k", "3", "--layout", "spiral"),
    ("-k", "3", "--max-pixels", "none"), ("-k", "3", "-j", "0"), ("--nonsense",), ("-k",),
    ("-k", "3", "--store", "float16", "-q", "5"), ("-k", "3", "-o", ""),
]  # fmt: skip
WRONG_REQUESTS = [
    ("compress",), ("decompress",), ("report",), ("nonsense",), ("--nonsense",),
    ("report", "in.png", "-k", "2,x"), ("report", "in.lrk", "-k", "2"),
    ("decompress", "in.lrk", "-k", "0"), ("decompress", "in.lrk", "--png-level", "11"),
    ("decompress", "in.lrk", "--format", "doc", "-o", "x"),
    ("decompress", "in.lrk", "-o", "x.doc"), ("report", "in.png", "in.lrk", "--store", "float16"),
    ("compress", "in.png", "./in.png", "-k", "2"),
]  # fmt: skip


def test_wrong_values_and_requests_are_usage_errors(cli, small_png, small_lrk, tmp_path):
    before = small_lrk.read_bytes()
    runs = [("compress", "in.png", "-f", *wrong) for wrong in WRONG_VALUES] + WRONG_REQUESTS
    for run, done in zip(runs, cli.together(runs), strict=True):
        assert done.code == 2, (run, done.err)
        done.failed(2)
    assert files_below(tmp_path) == ["in.lrk", "in.png"]
    assert small_lrk.read_bytes() == before


# -- JSON --------------------------------------------------------------------------------------


def test_the_json_of_a_report_is_the_contract(cli, small_png, small_lrk):
    whole = strictly(cli("report", "in.png", "in.lrk", "--json").succeeded().text)
    assert set(whole) == {"source", "file", "channels", "storage", "pixels"}
    assert set(whole["source"]) == SOURCE
    assert set(whole["file"]) == FILE
    assert [set(x) for x in whole["channels"]] == [CHANNEL] * 3
    assert set(whole["storage"]) == STORAGE
    assert set(whole["pixels"]) == PIXELS
    assert whole["source"] == {
        "path": "in.png", "format": "PNG", "mode": "RGB", "width": 40, "height": 30,
        "bytes": small_png.stat().st_size,
    }  # fmt: skip
    assert whole["file"]["bytes"] == small_lrk.stat().st_size
    assert whole["storage"]["floats"] == 3 * 6 * (30 + 40 + 1)
    for channel in whole["channels"]:
        assert channel["certified"] is True
        assert channel["spectral_error"] >= channel["spectral_bound"] * (1 - 1e-4)


def test_compress_prints_the_same_object_for_what_it_wrote(cli, small_png, small_lrk):
    wrote = strictly(cli("compress", "in.png", "-k", 6, "--json", "-f").succeeded().text)
    found = strictly(cli("report", "in.png", "in.lrk", "--json").succeeded().text)
    assert wrote.keys() == found.keys()
    assert wrote["file"] == found["file"]
    assert wrote["storage"] == found["storage"]
    assert wrote["pixels"] == pytest.approx(found["pixels"])
    for a, b in zip(wrote["channels"], found["channels"], strict=True):
        assert a.pop("name") == b.pop("name")
        assert a == pytest.approx(b, rel=1e-6)


def test_the_json_of_several_ranks_holds_one_object_each(cli, small_png):
    several = strictly(cli("report", "in.png", "-k", "2,5", "--json").succeeded().text)
    assert set(several) == {"source", "ranks"}
    one = strictly(cli("report", "in.png", "-k", "5", "--json").succeeded().text)
    assert [x["channels"][0]["k"] for x in several["ranks"]] == [2, 5]
    assert several["ranks"][1].keys() == one.keys()
    assert several["ranks"][1]["storage"] == one["storage"]
    assert one["file"] is None


def test_the_json_of_a_file_alone_states_and_measures_nothing(cli, small_lrk):
    stated = strictly(cli("report", "in.lrk", "--json").succeeded().text)
    assert stated["source"] is None
    assert stated["pixels"] is None
    assert {x["frobenius_error"] for x in stated["channels"]} == {None}
    assert [set(x) for x in stated["channels"]] == [CHANNEL] * 3


def test_the_json_of_exact_files_has_null_where_nothing_is_finite(cli, tmp_path):
    Image.new("RGB", (9, 7)).save(tmp_path / "black.png")
    found = strictly(cli("compress", "black.png", "-k", 1, "--json").succeeded().text)
    assert found["pixels"]["psnr_db"] is None


def test_json_and_output_cannot_share_stdout(cli, small_png):
    cli("compress", "in.png", "-k", 2, "-o", "-", "--json").failed(2)


# -- help, version, tables ---------------------------------------------------------------------


def test_version_and_help_answer_on_stdout(cli):
    for flag in ("--version", "-V"):
        assert cli(flag).succeeded().text == f"lowrank {lowrank.__version__}\n"
    for done in cli.together([("-h",), ("--help",), *((x, "--help") for x in COMMANDS)]):
        assert done.succeeded().text.startswith("Usage: lowrank")
        assert done.err == ""
    for done in cli.together([(x, "--version") for x in COMMANDS]):
        assert done.succeeded().text.startswith("lowrank ")


def test_no_command_is_a_usage_error_with_the_help_on_stderr(cli):
    done = cli()
    assert (done.code, done.out) == (2, b"")
    for command in COMMANDS:
        assert command in done.err


@pytest.mark.parametrize("mode", sorted(MODES))
def test_tables_fit_80_columns_in_every_mode(cli, tmp_path, mode):
    A = picture(mode, 50, 60)
    name = f"in{formats.default_suffix(A.mode)}"
    (tmp_path / name).write_bytes(
        pillow.write(A, format=formats.format_for(name, A.mode)),
    )
    lowrank.compress(tmp_path / name, rank=12).save(tmp_path / "in.lrk")
    runs = [("report", name), ("report", name, "-k", "1,12,50"), ("report", name, "in.lrk")]
    if mode == "RGBA":
        runs += [("report", "in.lrk"), ("compress", name, "-k", 12, "--certify", "-f")]
    for run, done in zip(runs, cli.together(runs), strict=True):
        lines = done.succeeded().text.splitlines()
        assert len(lines) > 5
        assert max(map(len, lines)) <= 80, run
        assert not any("…" in line for line in lines), run


def test_tables_are_the_same_in_a_terminal_without_unicode(cli, small_png, small_lrk):
    done = cli("report", "in.png", "in.lrk", environment={"PYTHONIOENCODING": "ascii"}).succeeded()
    assert done.out.isascii()
    assert b"Proved" in done.out


# -- bad input ---------------------------------------------------------------------------------


def test_bad_input_is_one_line_and_leaves_nothing(cli, tmp_path):
    contents = (
        b"",
        b"junk",
        b"\x89PNG\r\n\x1a\n",
        b"\x89LRK\r\n\x1a\n",
        b"\x89LRK\r\n\x1a\n\x09xxxx",
    )
    for i, content in enumerate(contents):
        (tmp_path / f"bad{i}.png").write_bytes(content)
    before = files_below(tmp_path)
    runs = [(x, f"bad{i}.png") for x in COMMANDS for i in range(len(contents) + 1)]
    for run, done in zip(runs, cli.together(runs), strict=True):
        assert run[1] in done.failed()
    assert files_below(tmp_path) == before


def test_images_above_max_pixels_are_refused(cli, small_png, small_lrk):
    for run in (
        ("compress", "in.png", "-k", 2, "-f"),
        ("decompress", "in.lrk"),
        ("report", "in.png"),
    ):
        line = cli(*run, "--max-pixels", 1199, "-f").failed()
        assert "1199" in line.replace(",", "")
    cli("compress", "in.png", "-k", 2, "-f", "--max-pixels", "1.2k").succeeded()


def test_an_image_that_is_not_the_files_own_is_refused(cli, small_lrk, tmp_path):
    Image.new("L", (9, 7)).save(tmp_path / "other.png")
    assert "was made from" in cli("report", "other.png", "in.lrk").failed(2)


# -- the input is never the output -------------------------------------------------------------


@pytest.mark.parametrize("link", [os.symlink, os.link, None])
def test_the_input_is_never_the_output(cli, small_png, small_lrk, tmp_path, link):
    for source, command in ((small_png, ("compress", "-k", 2)), (small_lrk, ("decompress",))):
        before = source.read_bytes()
        name = f"link{source.suffix}" if link else f"../{tmp_path.name}/{source.name}"
        if link:
            link(source, tmp_path / name)
        runs = [(source.name, name), (name, source.name), (name, name)]
        for done in cli.together([(*command, x, "-o", y, "-f") for x, y in runs]):
            done.failed(2)
        assert source.read_bytes() == before


# -- several inputs ----------------------------------------------------------------------------


def test_one_bad_input_does_not_stop_the_others(cli, small_png, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"junk")
    Image.new("L", (9, 7), 50).save(tmp_path / "good.png")
    done = cli("compress", "in.png", "bad.png", "none.png", "good.png", "-k", 2)
    assert done.code == 1
    errors = [x for x in done.err.splitlines() if x.startswith("lowrank: error: ")]
    assert len(errors) == 2
    assert {"bad.png", "none.png"} == {n for n in ("bad.png", "none.png") if n in " ".join(errors)}
    assert (tmp_path / "in.lrk").exists()
    assert (tmp_path / "good.lrk").exists()
    assert not (tmp_path / "bad.lrk").exists()


def test_folders_keep_their_tree(cli, tree, tmp_path):
    cli("compress", "photos", "-k", 3, "-o", "flat").succeeded()
    assert files_below(tmp_path / "flat") == ["a.lrk"]
    cli("compress", "photos", "-r", "-k", 3, "-o", "deep").succeeded()
    assert files_below(tmp_path / "deep") == ["a.lrk", "below/b.lrk"]
    cli("decompress", "deep", "-r", "-o", "back").succeeded()
    assert files_below(tmp_path / "back") == ["a.png", "below/b.png"]
    cli("compress", "photos", "-r", "-k", 3).succeeded()
    assert files_below(tree) == ["a.lrk", "a.png", "below/b.lrk", "below/b.png", "notes.txt"]


def test_two_jobs_write_what_one_writes(cli, tree, tmp_path):
    (tree / "bad.png").write_bytes(b"junk")
    found = []
    for jobs in (1, 2):
        done = cli("compress", "photos", "-r", "-k", 3, "-o", f"out{jobs}", "-j", jobs)
        done.failed(1)
        folder = tmp_path / f"out{jobs}"
        found.append({name: (folder / name).read_bytes() for name in files_below(folder)})
    assert found[0] == found[1]
    assert set(found[0]) == {"a.lrk", "below/b.lrk"}


def test_existing_outputs_are_passed_over_on_request(cli, tree, tmp_path):
    cli("compress", "photos/a.png", "-k", 3).succeeded()
    before = (tree / "a.lrk").stat()
    done = cli("compress", "photos", "-r", "-k", 2, "--skip-existing").succeeded()
    assert "skipped" in done.text
    assert (tree / "a.lrk").stat() == before
    assert lowrank.open(tree / "below" / "b.lrk").ranks == (2, 2, 2)


def test_ambiguous_batches_are_refused_before_anything_is_done(cli, tree, small_png, tmp_path):
    before = files_below(tmp_path)
    (tmp_path / "empty").mkdir()
    for run, code in (
        (("in.png", "photos/a.png", "-o", "-"), 2),
        (("in.png", "photos/a.png", "-o", "in.png"), 2),
        (("in.png", "-", "-o", "out"), 2),
        (("empty",), 1),
    ):
        cli("compress", *run, "-k", 2).failed(code)
        assert files_below(tmp_path) == before


# -- output that cannot be ---------------------------------------------------------------------


@pytest.mark.parametrize("output", ["none/out.lrk", "in.png/out.lrk", "folder", "x" * 300])
def test_an_output_that_cannot_be_written_is_one_line(cli, small_png, tmp_path, output):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in.lrk").mkdir()
    done = cli("compress", "in.png", "-k", 2, "-o", output, "-f")
    done.failed(done.code or 1)
    assert done.code in (1, 2)
    assert files_below(tmp_path) == ["in.png"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_without_permission_is_one_line(cli, small_png, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "permission" in cli("compress", "in.png", "-k", 2, "-o", "closed/x.lrk").failed().lower()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
@pytest.mark.parametrize(
    "run",
    [
        ("compress", "in.png", "-k", "2", "-o", "-"),
        ("compress", "in.png", "-k", "2", "-f"),
        ("compress", "in.png", "-k", "2", "-f", "--json"),
        ("report", "in.png", "in.lrk"),
        ("--help",),
    ],
)
def test_a_full_disk_behind_stdout_is_one_line(cli, small_png, small_lrk, run):
    with open("/dev/full", "wb") as full:
        line = cli(*run, stdout=full).failed(1)
    assert "space" in line


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
def test_a_full_disk_behind_a_file_is_one_line(cli, small_png):
    assert "space" in cli("compress", "in.png", "-k", 2, "-o", "/dev/full", "-f").failed()


@pytest.mark.parametrize(
    "run", [("compress", "in.png", "-k", "20", "-o", "-"), ("report", "in.png")]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_fault(samples, tmp_path, run, unbuffered):
    (tmp_path / "in.png").write_bytes((samples / "photographer.png").read_bytes())
    command = [sys.executable, "-m", "lowrank", *run]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        process.stdout.close()
        err = process.stderr.read().decode()
        process.wait(60)
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
    assert process.returncode in (0, 1, 141)


# -- interruption ------------------------------------------------------------------------------

SLOW_WRITE = """
import sys, time
from lowrank import files
def slowly(stream, pieces):
    stream.write(b"half of ")
    stream.flush()
    print("writing", flush=True)
    time.sleep(60)
files._write_all = slowly
from lowrank.__main__ import main
main()
"""


ENDINGS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
if hasattr(signal, "SIGHUP"):
    ENDINGS.append((signal.SIGHUP, 129))


def _hear_ctrl_c():
    """A shell that starts the tests in the background has them ignore Ctrl-C, nohup SIGHUP."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def interrupted(arguments, number, tmp_path, code=SLOW_WRITE):
    """Send a signal to a run that is in the midst of writing its output."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - the tests run in one thread
    ) as process:
        assert process.stdout.readline() == b"writing\n"
        os.killpg(process.pid, number)
        err = process.stderr.read().decode()
        process.wait(30)
    assert "Traceback" not in err
    return process.returncode


@pytest.mark.parametrize(("number", "code"), ENDINGS)
def test_an_interruption_leaves_the_old_file_and_no_other(
    small_png, small_lrk, tmp_path, number, code
):
    before = small_lrk.read_bytes()
    for run in (
        ["compress", "in.png", "-k", "3", "-f"],
        ["compress", "in.png", "-k", "3", "-o", "new.lrk"],
        ["decompress", "in.lrk", "-o", "new.png"],
        ["report", "in.png", "--html", "new.html"],
    ):
        assert interrupted(run, number, tmp_path) == code
        assert files_below(tmp_path) == ["in.lrk", "in.png"], run
    assert small_lrk.read_bytes() == before


START = """
import sys
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            print("writing", flush=True)
            import time
            try:
                time.sleep(60)
            except BaseException:
                pass  # as some modules do with whatever happens while they load
sys.meta_path.insert(0, Slow())
from lowrank.__main__ import main
main()
"""


@pytest.mark.parametrize(("number", "code"), ENDINGS)
def test_an_interruption_while_modules_load_ends_the_run(small_png, tmp_path, number, code):
    assert interrupted(["compress", "in.png", "-k", "3"], number, tmp_path, START) == code
    assert files_below(tmp_path) == ["in.png"]


@pytest.mark.parametrize("number", [number for number, _ in ENDINGS])
def test_an_interrupted_batch_leaves_whole_files_only(samples, tmp_path, number):
    count = 40  # far more than are done before the signal comes, however busy the machine is
    for i in range(count):
        (tmp_path / f"{i}.png").write_bytes((samples / "parrots.png").read_bytes())
    with subprocess.Popen(
        [sys.executable, "-m", "lowrank", "compress", ".", "-o", "out", "-k", "60", "-j", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
        preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - the tests run in one thread
    ) as process:
        assert b".lrk" in process.stdout.readline()  # the first is done, others are under way
        os.killpg(process.pid, number)
        err = process.stderr.read().decode()
        process.wait(60)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    written = files_below(tmp_path / "out")
    assert 1 <= len(written) < count
    for name in written:
        assert name.endswith(".lrk")
        assert lowrank.open(tmp_path / "out" / name).ranks == (60, 60, 60)


def test_ctrl_c_waits_for_processes_that_are_being_started():
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with signals.held():
        inside = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    outside = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (inside.stdout.strip(), outside.stdout.strip()) == (b"True", b"False")


# -- what is loaded ----------------------------------------------------------------------------


def loaded(arguments, cwd):
    """Modules that a run of the command line loads."""
    code = (
        "import sys\nfrom lowrank.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('LOADED ' + ' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    err = done.stderr.decode()
    assert "Traceback" not in err, err
    return {name.split(".")[0] for name in err.split("LOADED ")[1].split()}


LIGHT = [
    ("--help",), ("--version",), ("compress", "--help"), ("report", "-h"), (), ("compress",),
    ("compress", "in.png", "-k", "x"), ("compress", "in.png", "--nonsense"), ("nonsense",),
    ("report", "in.png", "-k", "0"), ("compress", "in.png", "--size", "much"),
    ("decompress", "in.lrk", "-k", "none"),
]  # fmt: skip


def test_help_and_usage_errors_load_nothing_heavy(small_png, tmp_path):
    for arguments in LIGHT:
        heavy = loaded(arguments, tmp_path) & {"numpy", "scipy", "PIL", "rich", "pydantic"}
        assert not heavy, arguments


def test_decoding_loads_no_scipy_and_draws_nothing(small_png, small_lrk, tmp_path):
    lowrank.compress(small_png).save(tmp_path / "packed.lrk")
    for run in (("decompress", "in.lrk", "-o", "out.png"), ("decompress", "packed.lrk")):
        found = loaded(run, tmp_path)
        assert "numpy" in found
        assert not found & {"scipy", "rich"}
    for run in (("report", "in.lrk"), ("report", "packed.lrk")):
        assert "scipy" not in loaded(run, tmp_path)


def test_the_library_loads_no_http_for_what_is_here(small_png, small_lrk, tmp_path):
    code = (
        "import lowrank, numpy as np, sys\n"
        "image = lowrank.compress('in.png', rank=2)\n"
        "image.report('in.png')\n"
        "np.save('frames.npy', np.ones((3, 20, 30), np.uint8))\n"
        "lowrank.compress('frames.npy', stack=True, rank=1).save('frames.lrk')\n"
        "lowrank.open('frames.lrk')[1], lowrank.open('in.lrk').to_array()\n"
        "assert not {'http.client', 'urllib.request'} & set(sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True)


def test_rich_is_loaded_only_where_something_is_drawn(small_png, small_lrk, tmp_path):
    for run in (
        ("compress", "in.png", "-k", "2", "-f"),
        ("compress", "in.png", "-k", "2", "-f", "--json"),
        ("compress", "in.png", "-k", "2", "-o", "-"),
        ("report", "in.png", "--json"),
        ("report", "in.png", "in.lrk", "--quiet"),
    ):
        assert "rich" not in loaded(run, tmp_path), run
    assert "rich" in loaded(("report", "in.lrk"), tmp_path)


PEAKS = {
    "bool": (1, (9, 12, 14)), "uint8": (255, (24, 30)), "uint8 colour": (255, (24, 30, 3)),
    "uint16": (65535, (24, 30)), "uint16 colour": (None, (24, 30, 3)), "int16": (None, (24, 30)),
    "float32": (None, (24, 30)), "int8": (255, (9, 12, 14)), "uint16 stack": (None, (9, 12, 14)),
}  # fmt: skip


@pytest.mark.parametrize("kind", PEAKS)
def test_every_table_page_and_object_says_the_peak_of_its_psnr(cli, tmp_path, kind):
    """The peak of the type, or the range of the data, which 9 frames of a stack have as well."""
    peak, shape = PEAKS[kind]
    A = np.random.default_rng(0).normal(60, 20, shape).clip(1, 120)
    A = A > 60 if kind == "bool" else A.astype(kind.split()[0])
    span = float(A.max()) - float(A.min())
    peak = peak or span
    np.save(tmp_path / "a.npy", A)
    cli("compress", "a.npy", "-k", "3", "--store", "float32", "--quiet").succeeded()
    page = [] if kind == "uint16 colour" else ["--html", "a.html"]  # which has none
    told = cli("report", "a.npy", "a.lrk", "--json", *page).succeeded().text
    said = json.loads(told)["pixels"]
    assert said["peak"] == pytest.approx(peak)
    error = A.astype(float) - lowrank.open(tmp_path / "a.lrk").to_array()
    assert said["psnr_db"] == pytest.approx(10 * np.log10(peak**2 / np.mean(error**2)))
    one = json.loads(cli("verify", "a.lrk", "--against", "a.npy", "--json").succeeded().text)
    assert one["peak"] == said["peak"]
    sentence = f"PSNR has the peak {peak:.9g}"
    for arguments in (["a.lrk"], ["-k", "1,2"], []):
        shown = " ".join(cli("report", "a.npy", *arguments).succeeded().text.split())
        assert sentence in shown, arguments
    if page:
        assert sentence in (tmp_path / "a.html").read_text("utf-8")


@pytest.mark.parametrize("scale", [1e-33, 1e-3, 1.0, 1e30])
def test_errors_of_any_size_are_numbers_of_a_few_digits(cli, tmp_path, scale):
    A = (np.random.default_rng(0).random((24, 30)) * scale).astype(np.float32)
    np.save(tmp_path / "a.npy", A)
    cli("compress", "a.npy", "-k", "3", "--quiet").succeeded()
    error = A.astype(float) - lowrank.open(tmp_path / "a.lrk").to_array()
    rmse = float(np.sqrt(np.mean(error**2)))
    cli("report", "a.npy", "a.lrk", "--html", "a.html", "--quiet").succeeded()
    table = cli("report", "a.npy", "a.lrk").succeeded().text
    (row,) = (line for line in table.splitlines() if line.startswith("rounded and clipped"))
    assert float(row.split()[-2]) == pytest.approx(rmse, rel=5e-3)
    said = (tmp_path / "a.html").read_text("utf-8").partition("root mean square error ")[2]
    assert float(said.partition(",")[0]) == pytest.approx(rmse, rel=5e-3)
    assert max(map(len, row.split())) <= 12
