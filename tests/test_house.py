"""The plan of the house: imports run only downward, and every module is read in one sitting."""

from __future__ import annotations

import ast

import pytest
from conftest import ROOT

PACKAGE = ROOT / "lowrank"
LINES = 450

# From the bottom up; a module imports from the storeys below it, and from its own room.
STOREYS = (
    ("errors", "limits", "picture", "signals", "threads", "krylov", "tridiagonal"),
    ("files", "jobs", "options", "parts", "pixels", "matrix", "wall", "packed", "thumbnail"),
    ("certificate", "rank", "layout", "metadata"),
    ("triplets", "format", "modes"),
    ("linalg", "images", "packing", "truncation"),
    ("search",),
    ("codec",),
    ("bounds", "rivals"),
    ("api",),
    ("batch", "plugin", "__init__"),
    ("reporting", "cluster", "pool"),
    ("exhibit",),
    ("views",),
    ("console",),
    ("cli",),
    ("__main__",),
)
STOREY = {room: i for i, rooms in enumerate(STOREYS) for room in rooms}

# Whatever a foreign library raises is turned into one of our errors here, and only here.
WALLS = {"wall", "cli"}
PILLOW = {"images", "metadata", "modes", "wall", "plugin", "rivals", "api"}
DRAWING = {"views", "cli"}
SCIPY = {"certificate", "triplets", "linalg", "matrix", "tridiagonal"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    """The module's name below the package; a folder is one room."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def for_types_only(tree):
    """Nodes below `if TYPE_CHECKING`, which nothing runs."""
    return {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }


def imports(path):
    """Every dotted name that a module imports, wherever in it."""
    tree = parsed(path)
    ignored = for_types_only(tree)
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def rooms_used(path):
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "lowrank":
            yield parts[1] if parts[1] in STOREY else "__init__"


def where(path):
    return str(path.relative_to(PACKAGE))


def test_every_module_has_a_storey_and_every_room_a_module():
    assert {room(path) for path in MODULES} == set(STOREY)


@pytest.mark.parametrize("path", MODULES, ids=where)
def test_imports_run_only_downward(path):
    here = room(path)
    for used in rooms_used(path):
        if used == here:
            continue
        if here == "__init__":
            continue  # it names what loads on first use, from any storey
        if used == "__init__":
            assert here in {"cli", "views"}, "only the version is imported from above"
            continue
        assert STOREY[used] < STOREY[here], f"{here} imports {used}, which is not below it"


@pytest.mark.parametrize("path", MODULES, ids=where)
def test_foreign_libraries_stay_in_their_rooms(path):
    roots = {name.split(".")[0] for name in imports(path)}
    for library, rooms in (
        ("PIL", PILLOW),
        ("rich", DRAWING),
        ("scipy", SCIPY),
        ("typer", {"cli"}),
        ("dask", {"cluster"}),
        ("distributed", {"cluster"}),
    ):
        assert library not in roots or room(path) in rooms, f"{library} in {where(path)}"


@pytest.mark.parametrize("path", [*MODULES, *sorted(PACKAGE.rglob("*.js"))], ids=where)
def test_a_module_is_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("path", MODULES, ids=where)
def test_only_the_walls_catch_everything(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, "a bare except"
            caught = {x.id for x in ast.walk(node.type) if isinstance(x, ast.Name)}
            assert "Exception" not in caught or room(path) in WALLS
            if "BaseException" in caught:  # to tidy up only
                assert ast.unparse(node.body[-1]) == "raise", "it must raise what it caught"


def calls_itself_for_types(node):
    """Whether an assertion only tells the type checker what Pillow sets: `x is not None`."""
    return isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], ast.IsNot)


@pytest.mark.parametrize("path", MODULES, ids=where)
def test_no_print_no_assertion_no_global_random_state(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Assert):
            assert room(path) == "plugin", "an assertion is no validation"
            assert calls_itself_for_types(node)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called != "print"
            if called.startswith(("np.random.", "random.")):
                assert called == "np.random.default_rng"
                assert node.args, "a generator without a seed"


@pytest.mark.parametrize("path", MODULES, ids=where)
def test_every_module_and_public_name_says_what_it_is(path):
    tree = parsed(path)
    assert ast.get_docstring(tree), f"{where(path)} has no docstring"
    for node in tree.body:
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        assert not public or ast.get_docstring(node), f"{node.name} has no docstring"
