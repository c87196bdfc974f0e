"""Faults that were, each with the promise that it broke: none of them comes back."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, picture
from PIL import Image, ImageFile
from rich.console import Console

import lowrank
from lowrank import files, layouts, targets
from lowrank import format as lrk
from lowrank.errors import FileError, LimitError, LowrankError, TruncatedError, UsageError
from lowrank.io import formats, images, modes, pillow
from lowrank.layouts import lapped, turn
from lowrank.picture import MODES, Metadata, Picture, thumbnail
from lowrank.report import ask
from lowrank.runs import tasks, work
from lowrank.runs.plan import Job
from lowrank.stores import packed
from lowrank.stores.packed.channels import codec as channels
from lowrank.stores.packed.patches import rotations
from lowrank.stores.packed.patches.header import read_header
from lowrank.views import tables

FORMS = {
    "patches": {"quality": 75},
    "channels": {"rank": 8, "store": "packed"},
    "floats": {"rank": 8},
}
PACKED = ("patches", "channels")


@pytest.fixture(scope="module")
def original(samples):
    """A part of a photograph, with more patches than a matrix of them has rows to spare."""
    with Image.open(samples / "parrots.png") as image:
        return image.convert("RGB").crop((300, 100, 460, 220))


@pytest.fixture(scope="module")
def files_of(original):
    """The part as a packed file of patches, one of channels, and one of floats."""
    return {form: lowrank.compress(original, **wishes) for form, wishes in FORMS.items()}


@pytest.fixture
def place(tmp_path, original, files_of):
    """A folder with p.png and patches.lrk, channels.lrk, floats.lrk."""
    original.save(tmp_path / "p.png")
    for form, image in files_of.items():
        image.save(tmp_path / f"{form}.lrk")
    return tmp_path


def opened(data, *, partial=True):
    return lowrank.LowRankImage(
        lrk.parse(data, name="cut.lrk", max_pixels=10**6, partial=partial),
    )


def cut_of(image, share):
    """The file cut within its payload or terms."""
    data = image.to_bytes()
    return opened(data[: int(len(data) * share)])


def damaged(image, payload):
    """A packed file with another payload, and checksums that hold."""
    body = replace(image.parts.body, payload=payload)
    return lrk.serialize(replace(image.parts, body=body))


# -- a rank is the terms of each matrix ----------------------------------------------------


def shown(B, head, turned):
    """The picture of a matrix for each channel or axis: rotated back, rounded and clipped."""
    if head.layout == "patches":
        A = layouts.samples_of_patches(B, head.height, head.width, turned)
    else:
        A = np.stack(B, axis=2)
        R = turn.axes(turned)
        if R is not None:
            A[..., :3] = A[..., :3] @ R
    return np.clip(np.floor(A + 0.5), 0, head.mode.peak)


def components_of_patches(parts):
    """Each matrix as the list of its terms, the first one first, then by scale.

    In the turned basis a term is a column of coefficients, and nothing else.
    """
    head, payload = parts.head, parts.body.payload
    shape = -(-head.height // 16), -(-head.width // 16)
    header, _ = read_header(payload, shape, len(head.mode.channels))
    _, whole = packed.factors(parts)
    found = []
    for c, B in enumerate(whole):
        C = B.T.copy()
        rotations.turn(C, header.turns[c])
        scale = header.scales[c].copy()
        order = [0, *(i for i in np.argsort(-scale[1:], kind="stable") + 1 if scale[i])]
        left = np.delete(C, order, axis=0)
        assert np.abs(left).max(initial=0) < 1e-9 * np.abs(C).max()  # there is nothing else
        terms = []
        for i in order:
            one = np.zeros_like(C)
            one[i] = C[i]
            rotations.turn(one, header.turns[c], inverse=True)
            terms.append(one.T)
        found.append(terms)
    return found


def components_of_channels(parts):
    """Each matrix as the list of its terms, made of their own vectors."""
    head = parts.head
    size = head.height, head.width, len(head.mode.channels)
    _, sums, _ = channels._sums(parts.body.payload, size, rank=None, partial=False)
    return [
        [np.outer(x._U[:, i], x._Vt[i]) * x.unit for i in range(x.rank)]
        for x in sums
    ]  # fmt: skip


TERMS = {"patches": components_of_patches, "channels": components_of_channels}


@pytest.mark.parametrize("layout", PACKED)
@pytest.mark.parametrize(("mode", "quality"), [("L", 75), ("RGB", 40), ("CMYK", 20)])
def test_a_rank_of_a_packed_file_is_so_many_terms_of_each_matrix(layout, mode, quality):
    drawn = picture(mode, *((120, 160) if layout == "patches" else (50, 60)))
    image = lowrank.compress(modes.to_image(drawn), layout=layout, store="packed", quality=quality)
    head = image.parts.head
    turned, whole = packed.factors(image.parts)
    terms = TERMS[layout](image.parts)
    for B, one in zip(whole, terms, strict=True):
        np.testing.assert_allclose(sum(one, np.zeros_like(B)), B, rtol=0, atol=1e-6)
    if head.layout == "channels" or max(map(len, terms)) <= min(head.shape):
        assert tuple(map(len, terms)) == image.ranks
    for k in {1, 2, 5, max(image.ranks) - 1} & set(range(1, max(image.ranks))):
        B = [sum(one[:k], np.zeros(head.shape)) for one in terms]
        wanted = shown(B, head, turned).reshape(image.to_array().shape)
        found = image.to_array(rank=k)
        off = np.abs(wanted - found)
        assert off.max() <= 1  # bases in whole numbers, and halves that fall either way
        assert np.mean(off) < 0.02
        assert not np.array_equal(found, image.to_array())
    # The whole file, smoothed as it asks for.
    for k in (max(image.ranks), max(image.ranks) + 1, 10_000):
        np.testing.assert_array_equal(image.to_array(rank=k), image.to_array())


@pytest.mark.parametrize("layout", PACKED)
def test_rank_one_shows_every_channel(files_of, layout):
    """Not the first of all components: green and blue have terms of their own."""
    one = files_of[layout].to_array(rank=1).astype(float)
    whole = files_of[layout].to_array().astype(float)
    for c in range(3):
        assert one[..., c].mean() == pytest.approx(whole[..., c].mean(), abs=8)
        assert one[..., c].std() > 1


def test_rank_one_of_patches_is_the_picture_of_their_means(files_of):
    image = files_of["patches"]
    turned, whole = packed.factors(image.parts)
    R = turn.axes(turned)
    C = lapped.analyse(image.to_array(rank=1), R, np.dtype(np.float64))
    strength = np.sqrt((C.reshape(256, 8, 3, 10) ** 2).sum(axis=(1, 3)))  # frequency, channel
    assert np.all(strength[1:] < 0.02 * strength[0].max())  # rounding of samples alone
    means = np.stack([B[:, 0].reshape(8, 10) for B in whole], axis=1)
    assert np.linalg.norm(C[0] - means) < 0.01 * np.linalg.norm(means)


@pytest.mark.parametrize("layout", PACKED)
def test_the_command_line_decodes_the_same_rank(cli, place, files_of, layout):
    for k in (1, 4, 8, 500):
        done = cli("decompress", f"{layout}.lrk", "-k", k, "-o", f"{k}.png").succeeded()
        with Image.open(place / f"{k}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), files_of[layout].to_array(rank=k))
        ranks = {min(k, one) for one in files_of[layout].ranks}
        assert f"rank {'/'.join(str(min(k, x)) for x in files_of[layout].ranks)}" in done.text or (
            len(ranks) == 1 and f"rank {ranks.pop()}," in done.text
        )


# -- packed files that were cut ------------------------------------------------------------


def components(parts):
    """How many components the matrices of a packed file are made of."""
    _, whole = packed.factors(parts)
    if parts.head.layout == "channels":
        return sum(int(np.linalg.matrix_rank(B)) for B in whole)
    shape = -(-parts.head.height // 16), -(-parts.head.width // 16)
    header, _ = read_header(parts.body.payload, shape, len(whole))
    found = 0
    for B, turns in zip(whole, header.turns, strict=True):
        C = B.T.copy()
        rotations.turn(C, turns)
        found += int(np.sum(np.abs(C).max(axis=1) > 1e-9 * np.abs(C).max()))
    return found


@pytest.mark.parametrize("layout", PACKED)
def test_partial_counts_components_and_no_bytes(cli, place, files_of, layout):
    whole = files_of[layout]
    total, data, counts = components(whole.parts), whole.to_bytes(), []
    for share in (0.5, 0.9):
        (place / "cut.lrk").write_bytes(data[: int(len(data) * share)])
        done = cli("decompress", "cut.lrk", "--partial", "-f").succeeded()
        counts.append(components(lowrank.open(place / "cut.lrk", partial=True).parts))
        assert f"decoded {counts[-1]} of {total} components" in done.err
        assert "terms" not in done.err
    assert 0 < counts[0] < counts[1] < total
    assert "--partial" not in cli("decompress", f"{layout}.lrk", "--partial", "-f").succeeded().err


def test_partial_counts_terms_of_a_file_of_floats(cli, place, files_of):
    data = files_of["floats"].to_bytes()
    (place / "cut.lrk").write_bytes(data[: len(data) // 2])
    kept = sum(lowrank.open(place / "cut.lrk", partial=True).ranks)
    done = cli("decompress", "cut.lrk", "--partial").succeeded()
    assert f"decoded {kept} of 24 terms" in done.err


@pytest.mark.parametrize("layout", PACKED)
def test_a_cut_packed_file_is_never_saved(files_of, tmp_path, layout):
    cut = cut_of(files_of[layout], 0.6)
    for call in (cut.to_bytes, lambda: cut.save(tmp_path / "x.lrk"), lambda: cut.truncate(2)):
        with pytest.raises(UsageError):
            call()
    assert not list(tmp_path.iterdir())
    with pytest.raises(TruncatedError):
        opened(files_of[layout].to_bytes()[:-20], partial=False)


def test_a_cut_file_of_floats_is_saved_as_the_shorter_file_that_it_is(files_of, tmp_path):
    cut = cut_of(files_of["floats"], 0.6)
    cut.save(tmp_path / "x.lrk")
    again = lowrank.open(tmp_path / "x.lrk")
    assert again.ranks == cut.ranks
    np.testing.assert_array_equal(again.to_array(), cut.to_array())


@pytest.mark.parametrize("form", FORMS)
def test_the_report_of_a_cut_file_is_of_what_is_there(original, files_of, form):
    cut = cut_of(files_of[form], 0.7)
    report = cut.report(original)
    turned, found = lowrank.codec.factors(cut.parts)
    A = layouts.of_samples(np.asarray(original), cut.layout, turned)
    for c, a, B in zip(report.channels, A, found, strict=True):
        B = (B[0].astype(float) * B[1]) @ B[2] if isinstance(B, tuple) else B
        assert c.frobenius_error == pytest.approx(np.linalg.norm(a - B), rel=1e-6)
        assert c.frobenius_error > c.frobenius_bound
    error = np.asarray(original).astype(float) - cut.to_array()
    assert report.pixels.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    whole = files_of[form].report(original)
    assert report.pixels.rmse > whole.pixels.rmse


@pytest.mark.parametrize("layout", PACKED)
def test_a_cut_file_of_which_nothing_is_there_gives_no_picture(cli, place, files_of, layout):
    """Not a black one: with --partial neither, and nobody is told to give it again."""
    data = files_of[layout].to_bytes()
    start = data.index(b"PACK")
    for end in (start + 2, start + 4, start + 20):
        (place / "cut.lrk").write_bytes(data[:end])
        assert "cut.lrk" in cli("decompress", "cut.lrk").failed()
        line = cli("decompress", "cut.lrk", "--partial").failed()
        assert "cut.lrk" in line
        assert "get the file again" in line
        assert "--partial" not in line
    assert not (place / "cut.png").exists()


def test_a_file_of_floats_cut_before_its_first_term_gives_no_picture(cli, place, files_of):
    data = files_of["floats"].to_bytes()
    first = data.index(b"TERM")
    for end in (data.index(b"SIGM") + 4, first - 4, first + 100):
        (place / "cut.lrk").write_bytes(data[:end])
        for options in ((), ("--partial",)):
            line = cli("decompress", "cut.lrk", *options).failed()
            assert "get the file again" in line
            assert "--partial" not in line  # there is nothing that it would decode


# -- damage behind checksums that hold -------------------------------------------------------


def damages(image):
    """Payloads that no encoder writes: none, cut, noise."""
    payload = image.parts.body.payload
    noise = np.random.default_rng(4).bytes(200)
    return b"", payload[:10], payload[: len(payload) // 2], noise, b"\xff" * 40


@pytest.mark.parametrize("layout", PACKED)
def test_errors_of_a_damaged_payload_name_the_file_and_a_remedy(cli, place, files_of, layout):
    for number, payload in enumerate(damages(files_of[layout])):
        (place / f"bad{number}.lrk").write_bytes(damaged(files_of[layout], payload))
        with pytest.raises(LowrankError, match=rf"in .*bad{number}\.lrk; get the file again"):
            lowrank.open(place / f"bad{number}.lrk").to_array()
    done = cli("decompress", *sorted(p.name for p in place.glob("bad*.lrk")))
    errors = [x for x in done.err.splitlines() if x.startswith("lowrank: error: ")]
    assert [re.search(r"in (bad\d\.lrk); ", x)[1] for x in errors] == [
        f"bad{number}.lrk" for number in range(len(errors))
    ]
    assert len(errors) == 5
    assert not any("--partial" in x for x in errors)  # every chunk is whole


@pytest.mark.parametrize("layout", PACKED)
def test_pillow_raises_what_its_callers_expect_of_a_damaged_payload(files_of, layout, monkeypatch):
    lowrank.register_lrk_opener()
    for partial in (False, True):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", partial)
        for payload in damages(files_of[layout]):
            with (
                Image.open(io.BytesIO(damaged(files_of[layout], payload))) as image,
                pytest.raises(OSError, match="packed stream"),
            ):
                image.load()


# -- streams that are closed -----------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_reason_to_write_nothing(place, closed):
    (place / "b.png").write_bytes((place / "p.png").read_bytes())
    command = f"""
        exec {closed}
        set -e
        lowrank() {{ "{sys.executable}" -m lowrank "$@"; }}
        lowrank compress p.png b.png -o d -k 1000
        lowrank decompress d/p.lrk
        lowrank report p.png d/p.lrk --html page.html
        if lowrank compress none.png; then exit 9; fi
    """
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done
    assert b"Traceback" not in done.stderr
    for name in ("d/p.lrk", "d/b.lrk", "d/p.png", "page.html"):
        assert (place / name).stat().st_size > 0


# -- names and formats of outputs --------------------------------------------------------------


def test_a_format_names_the_file_that_is_written(cli, place):
    before = (place / "p.png").read_bytes()
    cli("decompress", "patches.lrk", "--format", "jpg").succeeded()
    cli("decompress", "patches.lrk", "--format", "tif", "-o", "there/").succeeded()
    cli("decompress", "floats.lrk", "channels.lrk", "--format", ".JPG", "-o", "many").succeeded()
    cli("decompress", "floats.lrk", "--format", "jpg", "-o", "same.jpeg").succeeded()
    cli("decompress", "floats.lrk", "--format", "jpg", "-o", "bare").succeeded()
    found = {}
    for path in place.rglob("*"):
        if path.is_file() and path.suffix not in (".lrk", ".png"):
            with Image.open(path) as image:
                found[str(path.relative_to(place))] = image.format
    assert found == {
        "bare": "JPEG", "many/channels.jpg": "JPEG", "many/floats.jpg": "JPEG",
        "patches.jpg": "JPEG", "same.jpeg": "JPEG", "there/patches.tif": "TIFF",
    }  # fmt: skip
    assert (place / "p.png").read_bytes() == before
    assert not list(place.rglob("patches.png"))
    for name in ("x.png", "x.tif"):
        line = cli("decompress", "floats.lrk", "--format", "jpg", "-o", name).failed(2)
        assert "--format jpg" in line
        assert name in line
        assert not (place / name).exists()


@pytest.mark.parametrize("store", ["float16", "float32", "float64"])
def test_a_ladder_says_the_store_that_it_counts_in(cli, place, store):
    found = cli("report", "p.png", "--store", store).succeeded().text
    assert re.findall(r"float\d\d", found) == [store]
    assert "float16 factors" in cli("report", "p.png").succeeded().text


@pytest.mark.parametrize("mode", [x for x in MODES if x != "F"])
@pytest.mark.parametrize("layout", ["channels", "patches"])
def test_matrices_are_called_channels_just_where_they_are(layout, mode):
    """Whatever turned the colours: the names follow the matrices."""
    drawn = picture(mode, 18, 21)
    for wish in ({"quality": 50}, {"rank": 2}, {"rank": 2, "store": "packed"}):
        if wish.get("store") == "packed" and layout == "patches":
            continue
        image = lowrank.compress(modes.to_image(drawn), layout=layout, **(
            {"store": "packed", **wish} if "quality" in wish else wish
        ))  # fmt: skip
        turned, found = lowrank.codec.factors(image.parts)
        B = [(b[0].astype(float) * b[1]) @ b[2] if isinstance(b, tuple) else b for b in found]
        plain = layouts.of_samples(drawn.samples, layout, None)
        for name, b, own, said in zip(
            image.parts.head.mode.channels,
            B,
            plain,
            image.report(modes.to_image(drawn)).channels,
            strict=True,
        ):
            assert (said.name == name) == (turned is None or name in ("alpha", "black"))
            if said.name == name:
                error = np.linalg.norm(b - own)
                assert error == pytest.approx(said.frobenius_error, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16"])
def test_tables_of_packed_files_fit_80_columns(tmp_path, mode):
    drawn = picture(mode, 110, 170)
    name = f"in{formats.default_suffix(drawn.mode)}"
    path = tmp_path / name
    path.write_bytes(pillow.write(drawn, format=formats.format_for(name, drawn.mode)))
    for layout in ("channels", "patches"):
        file = tmp_path / "in.lrk"
        lowrank.compress(path, quality=30, layout=layout, store="packed").save(file)
        for pair in ((path, file), (file, None)):
            found = ask.report(
                *(x and str(x) for x in pair), ranks=[], store=None, max_pixels=10**6
            )
            shown = io.StringIO()
            table = tables._channels(found.reports[0].matrices)
            Console(file=shown, width=80).print(table)
            lines = shown.getvalue().splitlines()
            assert len(lines) == 2 + len(found.reports[0].matrices)
            assert max(map(len, lines)) <= 80
            assert "…" not in shown.getvalue()


# -- arguments -----------------------------------------------------------------------------------


def test_the_limit_on_pixels_holds_wherever_an_image_comes_from(original, place):
    A = np.asarray(original)
    encoded = (place / "p.png").read_bytes()
    for source in (A, A.tolist(), original, encoded, place / "p.png", str(place / "p.png")):
        with pytest.raises(LimitError):
            lowrank.compress(source, rank=1, max_pixels=160 * 120 - 1)
    for source in (A, original, encoded, place / "p.png"):
        assert lowrank.compress(source, rank=1, max_pixels=160 * 120).ranks == (1, 1, 1)


WRONG = [
    {"rank": "20"}, {"rank": 2.7}, {"rank": True}, {"rank": [3]}, {"rank": float("nan")},
    {"rank": float("inf")}, {"rank": "Auto"}, {"rank": 2**31}, {"rank": 10**400},
    {"quality": "80"}, {"quality": float("nan")}, {"quality": None, "rank": 0},
    {"energy": "99%"}, {"error": "5%"}, {"error": 1j}, {"psnr": "30"}, {"psnr": float("inf")},
    {"size": "20k"}, {"size": float("nan")}, {"size": 10**400}, {"size": 0},
    {"rank": 2, "layout": 5}, {"rank": 2, "store": b"packed"},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_a_number_that_is_none_is_a_usage_error(wrong):
    with pytest.raises(UsageError) as caught:
        lowrank.compress(np.zeros((4, 5), np.uint8), **wrong)
    assert ";" in str(caught.value)  # what to do instead


@pytest.mark.parametrize("wrong", ["2", 2.5, True, float("nan"), float("inf"), 0, -1])
def test_a_rank_to_decode_is_as_strict(files_of, wrong):
    for image in files_of.values():
        for call in (image.to_array, image.to_image, image.truncate):
            with pytest.raises(UsageError):
                call(wrong)


def test_whole_numbers_of_any_type_are_ranks(original):
    one = lowrank.compress(original, rank=3).to_bytes()
    for k in (3.0, np.int64(3), np.uint8(3), np.float32(3)):
        assert lowrank.compress(original, rank=k).to_bytes() == one


@pytest.mark.parametrize(
    "kind", ["rank", "energy", "error", "max_error", "psnr", "size", "quality"]
)
def test_what_an_error_advises_does(kind):
    """Every number that the advice gives is one that the option takes."""
    with pytest.raises(UsageError) as caught:
        targets.read({kind: "abc"})
    message, advice = str(caught.value).split("; give ")
    assert "abc" in message
    assert re.match(r"-([kq]|-[a-z-]+) abc ", message)
    examples = re.findall(r"(?<![\w^])[\d.]+[%kM]?", advice)
    assert examples
    for example in examples:
        assert targets.read({kind: example.rstrip(".")}).kind == kind


# -- outputs are checked first -------------------------------------------------------------------


@pytest.mark.parametrize("command", ["compress", "decompress"])
@pytest.mark.parametrize("output", ["none/x", "p.png/x", "folder", "x" * 300])
def test_an_output_that_cannot_be_is_refused_before_any_work(place, monkeypatch, command, output):
    monkeypatch.chdir(place)
    (place / "folder").mkdir()
    suffix = "" if output == "folder" else (".lrk" if command == "compress" else ".png")
    name = output + suffix

    def read(*_, **__):
        raise AssertionError("the input was read")

    with pytest.raises(FileError) as late:
        files.write_atomic(name, b"data", force=True)
    monkeypatch.setattr(files, "read_bytes", read)
    worker, settings = {
        "compress": (work.compress, tasks.Compressing(force=True)),
        "decompress": (work.decompress, tasks.Decompressing(force=True)),
    }[command]
    source = "p.png" if command == "compress" else "floats.lrk"
    with pytest.raises(FileError) as early:
        worker(Job(source, name), settings)
    assert str(early.value) == str(late.value)


def test_an_existing_output_is_refused_in_the_same_words_everywhere(cli, place):
    (place / "x.lrk").write_bytes(b"old")
    (place / "x.html").write_bytes(b"old")
    runs = [
        ("compress", "p.png", "-k", "2", "-o", "x.lrk"),
        ("decompress", "floats.lrk", "-o", "p.png"),
        ("report", "p.png", "--html", "x.html"),
    ]
    said = {cli(*run).failed().replace(run[-1], "#") for run in runs}
    assert len(said) == 1
    with pytest.raises(FileError) as caught:
        lowrank.open(place / "floats.lrk").save(place / "x.lrk", force=False)
    assert said.pop().endswith(str(caught.value).replace(str(place / "x.lrk"), "#"))
    assert (place / "x.lrk").read_bytes() == b"old"


def test_a_folder_takes_every_format_that_is_read(cli, tmp_path):
    """One image of each suffix: what compresses alone is not passed over in a folder."""
    folder = tmp_path / "in"
    folder.mkdir()
    suffixes = {s for f in formats.FORMATS.values() if not f.extra for s in f.suffixes}
    for suffix in sorted(suffixes):
        name = next(name for name, f in formats.FORMATS.items() if suffix in f.suffixes)
        holds = formats.FORMATS[name].suffixes[suffix] or ("L",)
        mode = next(m for m in ("RGB", "L", "1", "F") if m in holds)
        drawn = picture(mode, 20, 24)
        (folder / suffix[1:]).mkdir()
        path = folder / suffix[1:] / f"image{suffix}"
        if name == "NPZ":
            np.savez(path, drawn.samples)
        elif formats.FORMATS[name].modes:
            path.write_bytes(images.write(drawn, format=name))
        else:
            modes.to_image(drawn).save(path, name)
    assert {".pfm", ".png", ".gif"} <= {path.suffix for path in folder.rglob("*.*")}
    cli("compress", folder, "-r", "-o", "out", "-k", "2").succeeded()
    assert {path.parent.name for path in (tmp_path / "out").rglob("*.lrk")} == {
        suffix[1:] for suffix in suffixes
    }
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.PFM").write_bytes((folder / "pfm" / "image.pfm").read_bytes())
    cli("compress", "flat", "-k", "2").succeeded()
    assert (tmp_path / "flat" / "a.lrk").exists()


# -- names ---------------------------------------------------------------------------------------


def test_a_dash_is_a_file_in_the_library_and_a_stream_on_the_command_line(
    cli, place, files_of, monkeypatch
):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "stdin", None)  # which reading would need
    (place / "-").write_bytes((place / "p.png").read_bytes())
    assert lowrank.compress("-", rank=8).to_bytes() == files_of["floats"].to_bytes()
    files_of["floats"].save("-")
    assert (place / "-").read_bytes() == files_of["floats"].to_bytes()
    assert lowrank.open("-").ranks == (8, 8, 8)
    done = cli("compress", "-", "-k", "8", "-o", "-", stdin=(place / "p.png").read_bytes())
    assert done.succeeded().out == files_of["floats"].to_bytes()


@pytest.mark.parametrize("text", ["", ",", "5,", ",5", "5,,6", " "])
def test_a_list_of_ranks_that_is_empty_is_an_error(cli, place, text):
    assert "-k" in cli("report", "p.png", "-k", text).failed(2)


# -- what EXIF data say --------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["little", "big"])
def test_an_orientation_is_from_1_to_8_whatever_is_said(order):
    def exif(value):
        mark = b"II*\0" if order == "little" else b"MM\0*"
        fields = (8, 4), (1, 2), (0x0112, 2), (3, 2), (1, 4), (value, 2), (0, 2), (0, 4)
        return mark + b"".join(x.to_bytes(size, order) for x, size in fields)

    for value in range(1, 9):
        assert thumbnail.orientation(exif(value)) == value
    drawn = picture("RGB", 4, 6)
    for value in (0, 9, 255, 65535):
        assert thumbnail.orientation(exif(value)) == 1
        turned = Picture(drawn.samples, drawn.mode, Metadata(exif=exif(value)))
        np.testing.assert_array_equal(thumbnail.upright(turned).samples, drawn.samples)
