"""The reference names what there is, links lead somewhere, and the notebook shows what it shows."""

from __future__ import annotations

import base64
import importlib
import importlib.util
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from test_docs import PAGES, same

import lowrank

REFERENCE = (ROOT / "docs" / "reference.md").read_text()
DIRECTIVES = re.findall(r"^\.\. auto(\w+):: (lowrank[\w.]*)$", REFERENCE, re.MULTILINE)


def test_the_reference_names_every_public_name():
    named = {path.removeprefix("lowrank.") for _, path in DIRECTIVES}
    assert set(lowrank.__all__) - named == {"__version__"}
    assert "`lowrank.__version__`" in REFERENCE
    assert len(DIRECTIVES) == len({path for _, path in DIRECTIVES})


@pytest.mark.parametrize(("kind", "path"), DIRECTIVES, ids=lambda x: x)
def test_what_the_reference_names_is_there_and_says_what_it_is(kind, path):
    if kind == "module":
        found = importlib.import_module(path)
    else:
        module, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(module), name)
    assert isinstance(found, type) == (kind in ("class", "exception"))
    assert found.__doc__
    if isinstance(found, type):  # each method and property that is its own has a docstring
        for name, member in vars(found).items():
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert member.__doc__, f"{path}.{name}"


LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")


def anchors(page):
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page):
    path = ROOT / page
    for link in LINK.findall(path.read_text()):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_links_are_found():
    assert sum(len(LINK.findall((ROOT / page).read_text())) for page in PAGES) > 20


# -- the notebook --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("maker", ROOT / "docs" / "make_notebook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figures(data):
    """The pictures of an output, decoded."""
    found = [data["image/png"]] if "image/png" in data else []
    found += re.findall(r'base64,([^"]+)"', "".join(data.get("text/html", "")))
    return [Image.open(io.BytesIO(base64.b64decode(png))) for png in found]


def alike(a, b):
    """Whether two pictures show the same: another BLAS may differ by a level here and there."""
    if (a.size, a.mode) != (b.size, b.mode):
        return False
    difference = np.asarray(a, float) - np.asarray(b, float)
    return math.sqrt(np.mean(difference**2)) < 2


def test_the_notebook_shows_what_it_shows(maker):
    notebook = json.loads(maker.NOTEBOOK.read_text())
    cells, shown = maker.code_cells(notebook), 0
    for cell, outputs in zip(cells, maker.run(cells), strict=True):
        assert [o["output_type"] for o in outputs] == [o["output_type"] for o in cell["outputs"]]
        for made, there in zip(outputs, cell["outputs"], strict=True):
            if "text" in made:
                assert same("".join(there["text"]), "".join(made["text"]))
                continue
            now, then = made["data"], there["data"]
            assert set(now) == set(then)
            for kind in set(now) - {"image/png"}:
                plain = [re.sub('base64,[^"]+', "", "".join(x[kind])) for x in (then, now)]
                assert same(*plain)
            pairs = list(zip(figures(now), figures(then), strict=True))
            assert all(alike(a, b) for a, b in pairs)
            shown += len(pairs)
    assert shown >= 6


def test_the_notebook_is_one_that_others_read(maker):
    notebook = json.loads(maker.NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[\w-]{1,64}", name) for name in ids)
    assert Path(maker.NOTEBOOK).stat().st_size < 10**6
    text = "".join("".join(cell["source"]) for cell in notebook["cells"])
    assert not re.search(r"[a-z]:\\|/home/|/tmp/", text)
