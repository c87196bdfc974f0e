"""The documentation is true: every command and every Python block in it is run."""

from __future__ import annotations

import doctest
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import run_lowrank

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    return [body for name, body in FENCE.findall((ROOT / page).read_text()) if name == language]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder as the documentation supposes it: the samples, and photo.png."""
    for samples in ("sample_images", "sample_stacks"):
        shutil.copytree(ROOT / samples, tmp_path / samples)
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


OURS = re.compile(r"lowrank( [^|<>&;$`*?~(]+?)(?: 2> (\S+))? ?(?:> (\S+)|\|((?:(?!lowrank).)+))?")


def run(command: str, workplace: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    """Run a command as a shell would; one of ours without its start-up, also before a filter."""
    ours = OURS.fullmatch(command)
    if ours:
        arguments, errors, output, then = ours.groups()
        done = run_lowrank(*shlex.split(arguments), cwd=workplace)
        if errors:
            (workplace / errors).write_text(done.err)
        if output:
            (workplace / output).write_bytes(done.out)
        if not then:
            return done.code, "" if output else done.text, "" if errors else done.err
        command, given = then, done.text
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env=environment, check=False,
        input=given if ours else None,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_every_terminal_session_prints_what_the_page_shows(page, workplace):
    environment = os.environ | {
        "COLUMNS": "80",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for session in blocks(page, "console"):
        commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
        assert len(commands) == len(re.findall(r"^\$ ", session, re.MULTILINE)) > 0
        for command, expected in commands:
            code, out, err = run(command, workplace, environment)
            assert code == 0, f"{command}\n{err}"
            if "..." not in expected:
                assert same(expected, out), f"{command}\n{out}"


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_gives_what_the_page_shows(page, workplace):
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    source = "\n".join(blocks(page, "pycon"))
    test = parser.get_doctest(source, {}, page, page, 0)
    output: list[str] = []
    runner.run(test, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


def made_by(page):
    """Names of the files that the sessions of a page make, unless they may be there already."""
    for session in blocks(page, "console"):
        for command in re.findall(
            r"^\$ (lowrank (?:compress|decompress) .*)$", session, re.MULTILINE
        ):
            words = shlex.split(re.sub(r"[<|>].*", "", command))
            if "--skip-existing" in words or words[2] == "-":
                continue
            suffix = ".lrk" if words[1] == "compress" else ".png"
            default = str(Path(words[2]).with_suffix(suffix))
            yield words[words.index("-o") + 1] if "-o" in words else default


def test_whoever_reads_page_after_page_in_one_folder_meets_no_file_that_exists():
    made = [(name, page) for page in PAGES for name in made_by(page)]
    assert len(made) > 20
    names = [name for name, _ in made]
    assert [(name, page) for name, page in made if names.count(name) > 1] == []


OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][a-z-]*(?![\w-])")
OF_TYPER = {"--help", "-h", "--install-completion", "--show-completion"}


def options():
    """Every command, and the names of each of its options."""
    import typer

    from lowrank.cli import app

    group = typer.main.get_command(app)
    found = {name: command.params for name, command in group.commands.items()}
    assert set(found) == {"compress", "decompress", "report", "verify"}
    return {
        name: [(p, {*p.opts, *p.secondary_opts}) for p in params if p.param_type_name == "option"]
        for name, params in found.items()
    }


def test_every_command_and_option_is_documented():
    """On some page each option stands by one of its names; and its help says what it is."""
    pages = "".join((ROOT / page).read_text() for page in PAGES)
    written = set(OPTION.findall(pages))
    for command, found in options().items():
        assert f"lowrank {command} " in pages
        assert len(found) > 8
        for option, names in found:
            assert names & written, f"{command} {'/'.join(sorted(names))} is on no page"
            assert option.help, f"{command} {'/'.join(sorted(names))} says nothing of itself"


def test_every_option_that_is_documented_is_there():
    """Of a command line of ours the command knows each option."""
    known = {name: set().union(*(names for _, names in found), OF_TYPER)
             for name, found in options().items()}  # fmt: skip
    seen = set()
    for page in PAGES:
        for line in re.findall(r"\blowrank (\w+)( [^`|\n]*)", (ROOT / page).read_text()):
            command, arguments = line
            if command in known:
                used = set(OPTION.findall(arguments.split("#")[0]))
                assert used <= known[command], f"{page}: lowrank {command}{arguments}"
                seen |= used
    assert len(seen) > 15


def test_every_page_is_found_and_most_have_something_to_run():
    assert {"README.md", "docs/cookbook.md", "docs/tutorial.md", "docs/FORMAT.md"} <= set(PAGES)
    sessions = {page for page in PAGES if blocks(page, "console")}
    assert sessions >= {"README.md", "docs/cookbook.md", "docs/scale.md"}
    both = {"README.md", "docs/cookbook.md", "docs/reports.md", "docs/tutorial.md"}
    assert {page for page in PAGES if blocks(page, "pycon")} >= both
    # Nothing that looks like a session stands in a block of another name, which nobody runs.
    for page in PAGES:
        for name, body in FENCE.findall((ROOT / page).read_text()):
            assert name == "console" or not re.search(r"^\$ ", body, re.MULTILINE), page
            assert name == "pycon" or ">>> " not in body, page
