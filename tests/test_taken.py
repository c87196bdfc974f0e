"""The same frames are the same stack, however they are given; what one leaves out is said."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import lowrank
from lowrank.errors import UsageError


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
