"""The documentation is true: every command and every Python block in it is run."""

from __future__ import annotations

import doctest
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    return [body for name, body in FENCE.findall((ROOT / page).read_text()) if name == language]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder as the documentation supposes it: the samples, and photo.png."""
    shutil.copytree(ROOT / "sample_images", tmp_path / "sample_images")
    shutil.copy(ROOT / "sample_images" / "parrots.png", tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def same(expected: str, printed: str) -> bool:
    """Equal text, with numbers within 2%: other versions of zlib or BLAS differ a little."""
    words = [re.sub(r"\s+", " ", NUMBER.sub("#", text)).strip() for text in (expected, printed)]
    numbers = [
        [float(x.replace(",", "")) for x in NUMBER.findall(text)] for text in (expected, printed)
    ]
    return words[0] == words[1] and all(
        math.isclose(a, b, rel_tol=0.02, abs_tol=0.005) for a, b in zip(*numbers, strict=True)
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_terminal_session_prints_what_the_page_shows(page, workplace):
    environment = os.environ | {
        "COLUMNS": "80",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for session in blocks(page, "console"):
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE):
            out = subprocess.run(
                command, shell=True, capture_output=True, text=True, env=environment, check=False
            )
            assert out.returncode == 0, f"{command}\n{out.stderr}"
            if "..." not in expected:
                assert same(expected, out.stdout), f"{command}\n{out.stdout}"


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_gives_what_the_page_shows(page, workplace):
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    source = "\n".join(blocks(page, "pycon"))
    test = parser.get_doctest(source, {}, page, page, 0)
    output: list[str] = []
    runner.run(test, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


def test_every_command_and_option_is_documented():
    from lowrank.cli import app

    pages = "".join((ROOT / page).read_text() for page in PAGES)
    for command in app.registered_commands:
        assert f"lowrank {command.callback.__name__}" in pages
