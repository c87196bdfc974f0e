"""What a terminal gives beside the output: help that shows how, and completion."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import run_lowrank

from lowrank.cli import app

COMMANDS = tuple(command.callback.__name__ for command in app.registered_commands)
BIN = Path(sys.executable).parent


OPTION = re.compile(r"(?<!\S)--?[a-zA-Z][a-z-]*")


@pytest.fixture(scope="module")
def helps():
    """The help of every command by its name, that of all commands by ""."""
    return {name: run_lowrank(*name.split(), "--help").succeeded().text for name in ("", *COMMANDS)}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_80_columns_and_shows_examples_of_what_there_is(helps, command):
    text = helps[command]
    assert max(map(len, text.splitlines())) <= 80
    assert "str" not in re.findall(r"\w+", text)  # what Python calls it
    assert "--output PATH" in text or command not in ("compress", "decompress")
    examples = text.split("Examples:\n")[1].strip().splitlines()
    assert len(examples) >= 3
    for example in examples:
        named = re.match(r" *lowrank (\w+) ", example)[1]
        assert command in ("", named)
        assert set(OPTION.findall(example)) <= set(
            OPTION.findall(helps[named].split("Examples:")[0])
        )


def in_bash(script, home):
    return subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "HOME": str(home), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
    ).stdout


@pytest.mark.skipif(
    not shutil.which("bash") or not (BIN / "lowrank").exists(),
    reason="no bash, or lowrank is not installed beside this Python",
)
def test_completion_installs_and_completes(tmp_path):
    # Not the last command: bash would put it in its own place, and so not be the shell.
    in_bash("lowrank --install-completion; true", tmp_path)
    assert (tmp_path / ".bashrc").exists()
    typed = """
        source ~/.bashrc
        try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); %s lowrank
                echo "${COMPREPLY[*]}"; }
        %s
    """
    function = re.search(
        r"-F (\S+) lowrank", in_bash("source ~/.bashrc; complete -p lowrank", tmp_path)
    )[1]
    out = in_bash(
        typed % (function, "try lowrank comp; try lowrank compress --skip; try lowrank ''"),
        tmp_path,
    )
    first, second, third = out.splitlines()
    assert first == "compress"
    assert second == "--skip-existing"
    assert set(third.split()) == set(COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_for_other_shells_too(cli, shell):
    shown = cli(
        "--show-completion",
        shell,
        environment={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert "_LOWRANK_COMPLETE" in shown.succeeded().text
