"""What other programs of a desktop are told of `.lrk`: its type, its magic, thumbnails, napari."""

from __future__ import annotations

import configparser
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from importlib import import_module

import numpy as np
import pytest
import yaml
from conftest import ROOT, picture
from PIL import Image

import lowrank
from lowrank import format as lrk
from lowrank import napari

DESKTOP = ROOT / "desktop"
MIME = "image/x-lrk"


def test_the_mime_type_is_that_of_pillow_and_of_the_signature():
    tree = ET.parse(DESKTOP / "lowrank.xml")
    space = {"": "http://www.freedesktop.org/standards/shared-mime-info"}
    (kind,) = tree.getroot().findall("mime-type", space)
    assert kind.get("type") == MIME
    assert [glob.get("pattern") for glob in kind.findall("glob", space)] == ["*.lrk"]
    (match,) = kind.findall("magic/match", space)
    assert (match.get("type"), match.get("offset")) == ("string", "0")
    value = match.get("value").encode().decode("unicode_escape").encode("latin-1")
    assert value == lrk.SIGNATURE
    lowrank.register_lrk_opener()
    assert Image.MIME["LRK"] == MIME


@pytest.mark.skipif(not shutil.which("update-mime-database"), reason="no update-mime-database")
def test_the_database_of_types_takes_it(tmp_path):
    packages = tmp_path / "packages"
    packages.mkdir()
    shutil.copy(DESKTOP / "lowrank.xml", packages)
    done = subprocess.run(
        ["update-mime-database", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "parse" not in done.stderr
    assert f"{MIME}:*.lrk" in (tmp_path / "globs").read_text().splitlines()


@pytest.mark.skipif(not shutil.which("file"), reason="no file(1)")
def test_file_says_what_it_is(tmp_path):
    said = {
        "a": ({"rank": 2, "store": "float32"}, "RGB, channels, float32"),
        "b": ({"quality": 50}, "RGB, patches, packed"),
    }
    for name, (wish, _) in said.items():
        lowrank.compress(picture("RGB", 30, 40).samples, **wish).save(tmp_path / name)
    command = ["file", "-b", "-m", DESKTOP / "magic"]
    for name, (_, facts) in said.items():
        done = subprocess.run([*command, tmp_path / name], capture_output=True, text=True)
        assert done.stdout.strip() == f"Low-rank image data, version 1, 40 x 30, {facts}"
    done = subprocess.run([*command, "-i", tmp_path / "a"], capture_output=True, text=True)
    assert done.stdout.startswith(f"{MIME};")


def test_thumbnails_are_drawn_by_a_program_that_is_there(tmp_path):
    entry = configparser.ConfigParser(interpolation=None)
    entry.optionxform = str
    entry.read(DESKTOP / "lowrank.thumbnailer")
    fields = dict(entry["Thumbnailer Entry"])
    assert fields["MimeType"] == f"{MIME};"
    program, *arguments = fields["Exec"].split()
    assert fields["TryExec"] == program
    assert os.access(DESKTOP / program, os.X_OK)
    lowrank.compress(picture("F", 30, 40).samples.squeeze(), rank=2).save(tmp_path / "a.lrk")
    places = {"%i": tmp_path / "a.lrk", "%o": tmp_path / "a.png", "%s": "16"}
    command = [sys.executable, DESKTOP / program, *(places[x] for x in arguments)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=env, check=True)
    with Image.open(tmp_path / "a.png") as thumbnail:
        assert thumbnail.size == (16, 12)
    (tmp_path / "a.lrk").write_bytes(b"none")
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_every_file_says_how_it_is_installed():
    for name in ("lowrank.xml", "magic", "lowrank.thumbnailer"):
        text = (DESKTOP / name).read_text()
        assert re.search(r"(install -Dt|cat desktop/)", text), name


def test_napari_reads_what_its_manifest_promises(tmp_path):
    manifest = yaml.safe_load((ROOT / "lowrank" / "napari.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["napari.manifest"] == {manifest["name"]: "lowrank:napari.yaml"}
    assert manifest["name"] == project["name"]
    (command,), (reader,) = (manifest["contributions"][x] for x in ("commands", "readers"))
    assert reader["command"] == command["id"]
    assert reader["filename_patterns"] == ["*.lrk"]
    module, _, function = command["python_name"].partition(":")
    get = getattr(import_module(module), function)
    paths = []
    for mode in ("RGB", "I;16"):
        A = picture(mode, 12, 16).samples.squeeze()
        paths.append(str(tmp_path / f"{mode[0]}.lrk"))
        lowrank.compress(A, rank=12, store="float64").save(paths[-1])
        ((found, facts, kind),) = get(paths[-1])(paths[-1])
        np.testing.assert_array_equal(found, A)
        assert (facts, kind) == ({"name": mode[0], "rgb": mode == "RGB"}, "image")
    assert [facts["name"] for _, facts, _ in get(paths)(paths)] == ["R", "I"]
    for shape, axis in (((12, 16, 5), -1), ((3, 12, 16), None), ((3, 12, 16, 2), -1)):
        A = np.arange(math.prod(shape), dtype=np.uint16).reshape(shape)
        lowrank.compress(A, rank=9, stack=axis is None or len(shape) > 3).save(paths[-1])
        ((found, facts, _),) = get(paths[-1])(paths[-1])
        assert (found.shape, facts.get("channel_axis")) == (shape, axis)
    assert get("a.png") is None
    assert get([]) is None
    assert get([*paths, "a.png"]) is None
    assert napari.napari_get_reader is get
