"""The same frames are the same stack, however they are given; what one leaves out is said."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

import lowrank
from lowrank.errors import UsageError
from lowrank.runs import journal
from lowrank.stores.packed.frames import tiled as tiles_of


@pytest.fixture
def frames():
    y, x = np.ogrid[0:12, 0:16]
    return [Image.fromarray((90 + 9 * i + 5 * y + x).astype(np.uint8)) for i in range(4)]


def test_pillows_images_are_frames_as_their_files_are(frames, tmp_path):
    for mode in ("1", "L", "P", "RGB", "CMYK"):
        held = [x.convert(mode) for x in frames]
        for i, image in enumerate(held):
            image.save(tmp_path / f"{i}.tif")
        paths = [tmp_path / f"{i}.tif" for i in range(4)]
        stack = lowrank.compress(held, stack=True, rank=2)
        named = lowrank.compress(paths, stack=True, rank=2)
        assert (stack.mode, len(stack)) == (named.mode, 4)
        np.testing.assert_array_equal(stack, named)
    alone = lowrank.compress(frames[0].convert("RGB"), stack=True, rank=1)
    assert alone.shape == (1, 12, 16, 3)
    with pytest.raises(lowrank.ArgumentError, match="no frames of one stack"):
        lowrank.compress([frames[0], frames[1].convert("RGB")], stack=True)


@pytest.mark.parametrize("suffix", [".gif", ".tif"])
def test_an_image_that_pillow_has_open_is_the_stack_of_its_file(suffix, frames, tmp_path):
    path = tmp_path / f"x{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    with Image.open(path) as image:
        image.seek(2)
        assert lowrank.compress(image, stack=True, rank=2) == lowrank.compress(path, rank=2)
        assert image.tell() == 2


def test_an_axis_is_that_of_an_array(frames, tmp_path, cli):
    path = tmp_path / "x.tif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    for source in (path, tmp_path, [path, path]):
        with pytest.raises(UsageError, match="axis"):
            lowrank.compress(source, axis=1, rank=1)
    assert "--axis" in cli("compress", tmp_path, "--stack", "--axis", "-1", "-k", "1").failed(2)


def test_a_picture_that_is_given_twice_is_two_frames_in_a_new_folder(frames, tmp_path, cli):
    frames[0].save(tmp_path / "a.png")
    cli("compress", "a.png", "a.png", "--stack", "-k", "1", "-o", "new/").succeeded()
    assert len(lowrank.open(tmp_path / "new" / "a.png.lrk")) == 2


def test_a_stack_is_as_old_as_its_newest_frame(frames, tmp_path, cli):
    folder = tmp_path / "in"
    folder.mkdir()
    for i, image in enumerate(frames):
        image.save(folder / f"{i}.png")
        os.utime(folder / f"{i}.png", (10**9, 10**9 + i))
    made = ("compress", "in", "--stack", "-k", "1", "-o", "x.lrk", "--skip-existing", "-p")
    assert "skipped" not in cli(*made).succeeded().text
    assert (tmp_path / "x.lrk").stat().st_mtime == 10**9 + 3
    assert "skipped" in cli(*made).succeeded().text
    os.utime(folder / "2.png", (10**9, 10**9 + 4))
    assert "skipped" not in cli(*made).succeeded().text


def test_what_only_later_pictures_have_is_left_out_with_a_note(frames, tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    for i, image in enumerate(frames):
        more = {"exif": turned, "icc_profile": b"another"} if i == 2 else {}
        image.save(tmp_path / f"{i}.jpg", **more)
        image.info.update(more and {"exif": turned.tobytes(), "icc_profile": b"another"})
    for source in (tmp_path, frames):
        notes = " ".join(lowrank.compress(source, stack=True, rank=1).notes)
        for said in ("EXIF and XMP", "as they are stored", "several colour profiles"):
            assert said in notes


def test_an_input_that_is_not_there_is_no_failure_to_write(cli):
    for command in ("compress", "decompress"):
        for name in ("gone/a.lrk", "gone/"):
            assert f"cannot read {name}" in cli(command, name).failed(1)


def test_every_error_of_a_batch_names_its_file(tmp_path, cli):
    tree = tmp_path / "in"
    tree.mkdir()
    bad = {
        "nan.npy": np.full((4, 5), np.nan),
        "line.npy": np.arange(5),
        "complex.npy": np.zeros((4, 5), complex),
        "empty.npy": np.zeros((0, 4, 5)),
        "large.npy": np.random.default_rng(1).random((40, 50)),
    }
    for name, samples in bad.items():
        np.save(tree / name, samples)
    done = cli("compress", "in", "-o", "out", "--size", "80")
    lines = [x for x in done.err.splitlines() if x.startswith("lowrank: error: ")]
    assert len(lines) == len(bad)
    for name in bad:
        assert sum(f"in{os.sep}{name}" in line for line in lines) == 1, name
        with pytest.raises(lowrank.LowrankError, match=name if name != "large.npy" else "80 bytes"):
            lowrank.compress(tree / name, size=80)
    (tree / "cut.npy").write_bytes((tree / "large.npy").read_bytes()[:-1])
    said = cli("compress", "in/cut.npy", "-k", "1", "--memory", "1M").failed()
    assert said.count("cut.npy") == 1
    few = cli("compress", "in/large.npy", "-k", "1", "--memory", "100").failed()
    assert f"{24 * 50**2:,} bytes" in few
    assert "standard input" in cli("compress", "-", stdin=(tree / "nan.npy").read_bytes()).failed()


def test_what_is_advised_in_python_is_taken(frames):
    for name in ("energy", "error", "size", "max_pixels", "rank"):
        with pytest.raises(UsageError, match="does not do; give") as caught:
            lowrank.compress(frames[0], **{name: "99%"})
        assert "%" not in str(caught.value).partition("does not do")[2]
        assert "such as" not in str(caught.value)


def test_memory_that_did_nothing_is_said(frames):
    A = np.stack([np.asarray(x) for x in frames])
    whole = lowrank.compress(A, stack=True, quality=60)
    told = lowrank.compress(A, stack=True, quality=60, memory="1G")
    assert told == whole
    assert told.notes[:-1] == whole.notes
    assert "memory did nothing" in told.notes[-1]
    in_passes = lowrank.compress(A, stack=True, rank=2, memory="1G")
    assert not any("nothing" in note for note in in_passes.notes)


@pytest.mark.parametrize("stack", [False, True])
@pytest.mark.parametrize("quality", [5, 75, 100])
def test_quality_counts_in_what_samples_use_of_16_bits(frames, stack, quality):
    """Those of a camera of 12 bits are as near as the same samples with a sign, or as floats."""
    A = np.stack([np.asarray(x) for x in frames])
    A = (A if stack else A[0]).astype(np.uint16)
    said = "quality counts in that range"
    for scale in (1, 16):
        dim = lowrank.compress(A * scale, stack=stack, quality=quality)
        assert any(said in note for note in dim.notes)
        signed = lowrank.compress((A * scale).astype(np.int16), stack=stack, quality=quality)
        off, same = (
            np.linalg.norm(np.asarray(x).reshape(A.shape).astype(float) - A * scale)
            for x in (dim, signed)
        )
        assert off <= 1.2 * same + 0.01 * np.linalg.norm(A)
    bright = (A - A.min()) * np.uint16(65535 // np.ptp(A))
    assert not any(said in x for x in lowrank.compress(bright, stack=stack, quality=75).notes)
    offset = lowrank.compress(A + np.uint16(32768), stack=stack, quality=quality)
    off = np.asarray(offset).reshape(A.shape).astype(int) - A - 32768
    assert np.abs(off).max() <= np.ptp(A)
    assert not any("16 bits" in x for x in lowrank.compress(A, stack=stack, rank=1).notes)


@pytest.mark.parametrize("dtype", ["int32", "uint16"])
@pytest.mark.parametrize("tiled", [False, True])
def test_a_step_that_samples_far_from_zero_do_not_have_is_said(dtype, tiled, monkeypatch):
    if tiled:
        monkeypatch.setattr(tiles_of, "LARGEST", 6 * 32 * 32)
    noise = np.random.default_rng(0).integers(0, 9, (6, 32, 64))
    for far in (0, 10**6 if dtype == "int32" else 60_000):
        A = (noise + far).astype(dtype)
        found = lowrank.compress(A, stack=True, quality=95)
        assert any("so far from 0" in note for note in found.notes) == bool(far)
        if not far:
            assert np.abs(np.asarray(found, float) - A).max() <= 1
        if far and not tiled:
            found = lowrank.compress(A, stack=True, size=100_000)
            assert any("Steps of" in note or "steps of" in note for note in found.notes)


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_what_quality_counts_in_is_said_of_integers_with_a_sign_and_of_colours(shape):
    A = np.random.default_rng(0).integers(0, 100, shape)
    dtype = np.int16 if len(shape) == 2 else np.uint16
    said = "Quality counts from 0 to"
    assert not any(said in x for x in lowrank.compress(A.astype(dtype), quality=75).notes)
    far = (A + 5000).astype(dtype)
    assert any(said in x for x in lowrank.compress(far, quality=75).notes)
    assert not any(said in x for x in lowrank.compress(far, psnr=40).notes)


@pytest.mark.parametrize("value", [0, 1, 4095, 65535])
@pytest.mark.parametrize("step", [0, 1])
def test_a_quality_of_samples_that_hardly_differ(value, step):
    A = np.full((40, 50), min(value, 65535 - step), np.uint16)
    A[::3, ::2] += step
    off = lowrank.compress(A, quality=100).to_array().reshape(A.shape).astype(int) - A
    assert np.abs(off).max() <= step


def test_samples_that_quality_hardly_sees_are_said():
    """One bright sample, and all others are next to nothing in 16 bits."""
    A = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint16)
    A[3, 4] = 65535
    notes = lowrank.compress(A, quality=75).notes
    assert any("most of these samples use little of them" in note for note in notes)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_what_is_made_in_pieces_of_a_private_file_is_private(frames, tmp_path, cli):
    np.save(tmp_path / "s.npy", np.stack([np.asarray(x) for x in frames]))
    os.chmod(tmp_path / "s.npy", 0o600)
    cli("compress", "s.npy", "-k", "1", "-o", "s.lrk").succeeded()
    cli("decompress", "s.lrk", "-o", "s.zarr").succeeded()
    assert (tmp_path / "s.zarr").stat().st_mode & 0o777 == 0o700
    files = [x for x in (tmp_path / "s.zarr").rglob("*") if x.is_file()]
    assert len(files) == 5
    assert not any(x.stat().st_mode & 0o077 for x in files)
    journal.Journal(str(tmp_path / "x.passes"), "key", 0o600)
    assert (tmp_path / "x.passes").stat().st_mode & 0o777 == 0o600
