"""What a project shows beside its code: links that lead somewhere, files that agree."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
import types

import pytest
from conftest import ROOT

from lowrank import __version__

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HOME = PYPROJECT["project"]["urls"]["Repository"]
PAGES = sorted(
    path
    for folder in (".", "docs", "js", "sample_images", "sample_stacks")
    for path in (ROOT / folder).glob("*.md")
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def prose(path):
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path):
    """Names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", h.lower()) for h in headings)
    return {h.strip().replace(" ", "-") for h in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_local_link_leads_somewhere(page):
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.is_relative_to(ROOT), target
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_every_page_is_linked_to():
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in LINK.findall(prose(page))
    }
    # Where people and hosts look first.
    alone = {ROOT / "README.md", ROOT / "CODE_OF_CONDUCT.md"}
    assert set(PAGES) - alone <= linked


def test_what_pages_name_is_there():
    """Targets of make, and files and folders of the repository, where a page says their names."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    tops = "benchmarks|conda|desktop|docs|fuzz|js|lowrank|sample_images|sample_stacks|site|tests"
    found = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"(?:`|^)make\s+([a-z-]+)", text, re.MULTILINE):
            assert target in targets, (page, target)
            found += 1
        for name in re.findall(rf"`((?:{tops})/[\w./-]*)`", text):
            assert (ROOT / name).exists(), (page, name)
            found += 1
    assert found > 40


def test_the_readme_is_short_and_shows_python_early():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 180
    assert any(line.startswith(">>> ") for line in lines[:100])
    assert any(line.startswith("$ lowrank ") for line in lines[:24])


@pytest.fixture
def hook(monkeypatch):
    """hatch_build.py, where hatchling itself is not installed."""
    name = "hatchling.metadata.plugin.interface"
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:i]), types.ModuleType(parts[i - 1]))
    sys.modules[name].MetadataHookInterface = type("MetadataHookInterface", (), {"root": str(ROOT)})
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_on_pypi_every_link_of_the_readme_is_absolute(hook):
    metadata = {"urls": {"Repository": "https://example.org/a"}}
    hook.Readme().update(metadata)
    text = FENCE.sub("", metadata["readme"]["text"])
    links = LINK.findall(text)
    assert len(links) >= 10
    assert all(x.startswith("https://") for x in links)
    here = {x for x in LINK.findall(prose(ROOT / "README.md")) if not x.startswith("https:")}
    blob, raw = "https://example.org/a/blob/HEAD/", "https://example.org/a/raw/HEAD/"
    assert {x.removeprefix(blob).removeprefix(raw) for x in links if "example.org" in x} == here
    assert all(x.endswith(".png") for x in links if x.startswith(raw))


def test_the_repository_has_one_address():
    """Whatever names a place on its host names the one of pyproject.toml."""
    owner, name = HOME.rsplit("/", 2)[1:]
    texts = [*PAGES, ROOT / "CITATION.cff", *ROOT.glob("conda/*"), *ROOT.glob(".github/**/*.yml")]
    ours = 0
    for path in [*texts, ROOT / "pyproject.toml"]:
        text = path.read_text(encoding="utf-8")
        for found in re.findall(rf"https://github\.com/([\w-]+)/{name}\b", text):
            assert found == owner, path
            ours += 1
    assert ours >= 6


def test_the_versions_of_python_agree():
    yaml = pytest.importorskip("yaml")
    classifiers = PYPROJECT["project"]["classifiers"]
    said = [x.rsplit(" ", 1)[1] for x in classifiers if re.search(r":: 3\.\d+$", x)]
    assert PYPROJECT["project"]["requires-python"] == f">={said[0]}"
    tests = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())
    matrix = tests["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == said
    assert {x.split("-")[0] for x in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_workflows_ask_for_what_there_is():
    yaml = pytest.importorskip("yaml")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    paths = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert len(paths) >= 3
    for path in paths:
        flow = yaml.safe_load(path.read_text())
        assert flow["permissions"] == {"contents": "read"}
        for job in flow["jobs"].values():
            steps = job.get("steps", ())
            assert "uses" in job or job["timeout-minutes"] <= 60
            for step in steps:
                assert ("uses" in step) is not ("run" in step)
                line = step.get("run", "")
                for group in re.findall(r"--group (\S+)", line):
                    assert group in PYPROJECT["dependency-groups"]
                for made in re.findall(r"^make (.*)$", line, re.MULTILINE):
                    assert set(made.split()) <= targets
                assert re.search(r"@[\w/.-]+$", step.get("uses", "x@v1"))
    forms = [yaml.safe_load(p.read_text()) for p in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")]
    assert sum("body" in form for form in forms) >= 2


def test_versions_and_dependencies_agree():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in changelog
    assert "## [Unreleased]" in changelog
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    recipe = (ROOT / "conda" / "meta.yaml").read_text(encoding="utf-8")
    assert f'version = "{__version__}"' in recipe
    run = re.search(r"^  run:\n((?:    - .*\n)+)", recipe, re.MULTILINE)[1]
    needed = {re.sub(r"[-\s]|^\s*- ", "", line) for line in run.splitlines()}
    project = PYPROJECT["project"]
    assert needed == {*project["dependencies"], f"python{project['requires-python']}"}


def test_the_sdist_names_what_there_is():
    build = PYPROJECT["tool"]["hatch"]["build"]["targets"]
    included = set(build["sdist"]["include"])
    assert all((ROOT / name).exists() for name in included)
    assert included >= {"SECURITY.md", "CHANGELOG.md", "CITATION.cff", "hatch_build.py", "tests"}
    assert PYPROJECT["build-system"]["requires"] == ["hatchling>=1.25"]
