"""What a run loads before it works, on the Typer that is there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import ROOT

RUNS = (
    ("compress", "in.png", "-k", "3", "-f"),
    ("compress", "in.png", "-q", "50", "-j", "2", "-o", "b.lrk", "-f"),
    ("decompress", "in.lrk", "-o", "b.png", "--png-level", "3", "-f"),
    ("report", "in.png", "in.lrk", "--no-preview"),
)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run[0] + run[2])
def test_no_option_is_converted_by_pydantic(cli, small_png, run):
    """Typer loads it to convert values; ours are texts, and to load it takes a third of a run."""
    cli("compress", small_png, "-k", "3", "-o", "in.lrk").succeeded()
    code = (
        "import sys\nfrom lowrank.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", code, *run]
    done = subprocess.run(command, cwd=small_png.parent, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_a_picture_in_a_file_is_compressed_without_what_arrays_of_zarr_need(small_png):
    code = (
        "import sys\nfrom lowrank.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'lowrank.io.zarr' not in sys.modules\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "compress", "in.png", "-q", "50"]
    subprocess.run(command, cwd=small_png.parent, env=env, capture_output=True, check=True)


@pytest.mark.parametrize("option", [("--jobs", "compress"), ("--png-level", "decompress")])
@pytest.mark.parametrize("value", ["", "x", "-1", "2.5", "1e1", "99999999999999999999x"])
def test_whole_numbers_are_refused_in_our_words(cli, small_png, option, value):
    name, command = option
    line = cli(command, "in.png", name, value).failed(2)
    assert "give a whole number from" in line
