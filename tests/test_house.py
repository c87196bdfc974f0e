"""The plan of the house: imports run only downward, and every module is read in one sitting.

One test a promise, not one a file: what breaks it is listed.
"""

from __future__ import annotations

import ast
import tokenize
from functools import cache

import pytest
from conftest import ROOT

PACKAGE = ROOT / "lowrank"
CODE = 350
"""Lines of code that a module has at most; docstrings, comments and blank lines apart."""
AT_THE_TOP = 20
"""Python files directly in the package, at most."""

# From the bottom up; a room imports from the floors below its own, and a folder is a room.
FLOORS = (
    ("errors", "limits", "moves", "names", "pace", "picture", "signals", "threads"),
    ("files", "format", "io", "layouts", "linalg", "targets"),
    ("stores",),
    ("codec",),
    ("notebook", "report", "streams"),
    ("objects",),
    ("api", "runs"),
    ("__init__", "chunks", "napari", "plugin", "views"),
    ("console", "options"),
    ("verifying",),
    ("cli",),
    ("__main__",),
)
# The same inside the folders that have floors of their own.
INSIDE = {
    "picture": (("__init__",), ("axis", "gaps", "lazy", "levels", "thumbnail"), ("distance",)),
    "linalg": (
        ("krylov", "matrix", "tridiagonal"),
        ("basis", "certificate", "slabs"),
        ("passes", "triplets"),
        ("space", "svd"),
        ("spans",),
        ("streamed",),
        ("__init__",),
    ),
    "io": (
        (
            *("dtypes", "endings", "formats", "heif", "nodata", "pngwriter", "resolution"),
            *("taking", "urls", "wall"),
        ),
        ("tiff",),
        (
            *("folders", "jp2", "jxl", "matrices", "metadata", "npy", "png", "pnm"),
            *("tiffwriter", "web", "zarr"),
        ),
        ("cloud", "described", "known", "modes"),
        ("arrays", "pillow", "states"),
        ("tifffile",),
        ("images", "pages"),
        ("framewriter", "largetiff", "sources"),
        ("lazy",),
    ),
    "layouts": (("colour", "lapped"), ("turn",), ("__init__",)),
    "format": (
        ("fields", "parts"),
        ("header", "writing"),
        ("chunks", "streaming"),
        ("reading",),
        ("mapped",),
        ("__init__",),
    ),
    "targets": (("__init__",), ("spectrum",)),
    "stores": (
        ("__init__",),
        ("growing", "packed", "rounding", "spread", "sums"),
        ("largest",),
        ("truncation",),
        ("floats", "widths"),
        ("passes",),
    ),
    "stores.packed": (
        ("coding",),
        ("channels", "patches"),
        ("frames",),
        ("search", "tries"),
        ("steps",),
        ("dial",),
        ("__init__",),
    ),
    "stores.packed.frames": (
        ("basis", "classes", "edges", "order", "profile", "steering", "trellis"),
        ("klt", "noise"),
        ("models",),
        ("rates", "walk"),
        ("levels", "samples", "select"),
        ("apart", "forecast", "header", "learn", "plain"),
        ("closed", "wanted"),
        ("codec", "rehearsal"),
        ("encoder",),
        ("tiles",),
        ("tiled",),
    ),
    "stores.packed.coding": (
        ("few", "payload", "range_coder", "smoothing", "tokens", "wavelet"),
        ("rans", "start"),
        ("collected",),
        ("ranswriter",),
    ),
    "stores.packed.patches": (
        ("contexts", "rotations", "select", "weights"),
        ("cutting", "forecast", "models", "order", "prediction", "synthesis"),
        ("chroma", "hiding"),
        ("phases",),
        ("means",),
        ("eye", "header"),
        ("luminance", "walk"),
        ("norms", "samples"),
        ("codec", "encoder"),
    ),
    "stores.packed.channels": (
        ("blocks", "header", "mixture", "sums"),
        ("rows", "vectors"),
        ("factorise", "symbols"),
        ("terms", "walk"),
        ("samples",),
        ("codec", "encoder"),
    ),
    "objects": (("indexing", "kept", "loading", "naming"), ("image", "stack")),
    "chunks": (("__init__",), ("numcodecs", "zarr")),
    "report": (
        ("__init__",),
        ("klt", "stacks"),
        ("peers",),
        ("measure",),
        ("passes",),
        ("compared",),
        ("ask",),
        ("exhibit", "gallery"),
    ),
    "runs": (
        ("journal", "manifest", "plan"),
        ("originals", "proof", "tasks"),
        ("listed", "outputs"),
        ("work",),
        ("afar", "reread"),
        ("cluster", "frames", "large", "pool", "verify"),
    ),
    "views": (
        ("markup", "sixel", "words"),
        ("as_json", "completion", "html_tables", "preview", "progress", "stacks", "waiting"),
        ("html", "stack_page", "tables"),
    ),
}

# Whatever a foreign library raises is turned into one of our errors here, and only here.
WALLS = {"io.wall", "cli"}
FOREIGN = {
    "PIL": {"io", "plugin", "report.klt", "report.peers", "objects.loading"},
    "pillow_heif": {"io.heif"},
    "pillow_jxl": {"io.jxl"},
    "tifffile": {"io.tifffile"},
    "fsspec": {"io.cloud"},
    "imagecodecs": {"io.jxl", "io.png"},
    "rich": {"views"},
    "scipy": {"linalg"},
    "numcodecs": {"chunks.numcodecs"},
    "zarr": {"chunks.zarr", "io.zarr"},
    "typer": {"cli", "options"},
    "distributed": {"runs.cluster", "stores.spread"},
}
# Rooms that are loaded before a command runs: `--help` and wrong options answer at once.
LIGHT = {
    "__init__",
    "__main__",
    "cli",
    "console",
    "errors",
    "limits",
    "names",
    "options",
    "signals",
    "targets.__init__",
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    """The module's dotted name below the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


NAMES = {name_of(path): path for path in MODULES}


@cache
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


@cache
def imports(path, *, early=False):
    """Every dotted name that a module imports: wherever in it, or while it loads."""
    tree = parsed(path)
    ignored = for_types_only(tree)
    found = []
    for node in tree.body if early else ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def resolved(name):
    """The module of ours that an imported name is of, or None."""
    parts = name.split(".")
    if parts[0] != "lowrank":
        return None
    for end in range(len(parts), 0, -1):
        below = ".".join(parts[1:end])
        for module in (below, f"{below}.__init__" if below else "__init__"):
            if module in NAMES:
                return module
    raise AssertionError(f"{name} is no module of ours")


def floor_of(floors, room):
    return next(i for i, rooms in enumerate(floors) if room in rooms)


def folders():
    """Every folder with modules, by its dotted name; the package itself is ""."""
    found = {""}
    for name in NAMES:
        parts = name.split(".")[:-1]
        found |= {".".join(parts[:i]) for i in range(1, len(parts) + 1)}
    return found


def rooms_in(folder):
    below = len(folder.split(".")) if folder else 0
    inside = [n for n in NAMES if n.startswith(f"{folder}.") or not folder]
    rooms = {n.split(".")[below] for n in inside}
    empty = folder and not parsed(NAMES[f"{folder}.__init__"]).body[1:]
    return rooms - {"__init__"} if empty else rooms


def floors_in(folder):
    return FLOORS if not folder else INSIDE[folder]


def test_every_room_has_a_floor_and_every_floor_its_rooms():
    assert folders() - {""} == set(INSIDE)
    for folder in folders():
        assert rooms_in(folder) == {r for rooms in floors_in(folder) for r in rooms}, folder
    assert len(FLOORS) <= 12
    assert len(list(PACKAGE.glob("*.py"))) <= AT_THE_TOP


def split_at(folder, name):
    """The room of a module inside a folder, or None if it is elsewhere."""
    prefix = f"{folder}." if folder else ""
    return name[len(prefix) :].split(".")[0] if name.startswith(prefix) else None


@pytest.mark.parametrize("folder", sorted(folders()), ids=lambda x: x or "lowrank")
def test_imports_run_only_downward(folder):
    floors, wrong = floors_in(folder), []
    for name, path in NAMES.items():
        here = split_at(folder, name)
        if here is None or (not folder and here == "__init__"):
            continue  # the package names what loads on first use, from any floor
        for used in map(resolved, imports(path)):
            there = used and split_at(folder, used)
            if there is None or there == here or (there == "__init__" and not folder):
                continue
            if floor_of(floors, there) >= floor_of(floors, here):
                wrong.append(f"{name} imports {used}, which is not below it")
    assert not wrong


def test_only_the_version_is_imported_from_above():
    users = {
        name.split(".")[0]
        for name, path in NAMES.items()
        if "__init__" in map(resolved, imports(path)) and name != "__init__"
    }
    assert users == {"options", "views"}


def within(name, rooms):
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


@pytest.mark.parametrize("library", FOREIGN)
def test_foreign_libraries_stay_in_their_rooms(library):
    users = {n for n, path in NAMES.items() if library in {x.split(".")[0] for x in imports(path)}}
    assert users, f"nothing uses {library}"
    assert not {n for n in users if not within(n, FOREIGN[library])}


def test_what_answers_help_loads_nothing_heavy():
    heavy = {"numpy", "scipy", "PIL", "rich"}
    for name in LIGHT:
        early = imports(NAMES[name], early=True)
        assert not heavy & {x.split(".")[0] for x in early}, name
        assert {resolved(x) for x in early} - {None} <= LIGHT, name


def lines_of_code(path):
    """Lines that hold code; those of docstrings, comments and nothing apart."""
    with tokenize.open(path) as stream:
        tokens = list(tokenize.generate_tokens(stream.readline))
    quiet = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines = set()
    for token in tokens:
        alone = token.type == tokenize.STRING and not token.line[: token.start[1]].strip()
        if token.type not in quiet and token.type != tokenize.ENDMARKER and not alone:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines)


def test_a_module_is_read_in_one_sitting():
    long = {name: n for name, path in NAMES.items() if (n := lines_of_code(path)) > CODE}
    assert not long
    for path in PACKAGE.rglob("*.js"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= CODE, path.name


def test_only_the_walls_catch_everything():
    for name, path in NAMES.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"a bare except in {name}"
                caught = {x.id for x in ast.walk(node.type) if isinstance(x, ast.Name)}
                assert "Exception" not in caught or name in WALLS, name
                # To tidy up only, or to hand it to the thread that asked for the work.
                if "BaseException" in caught and name != "threads":
                    assert ast.unparse(node.body[-1]) == "raise", f"{name} must raise it again"


def tells_the_type_checker(node):
    """Whether an assertion only tells the type checker what Pillow sets: `x is not None`."""
    return isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], ast.IsNot)


def test_no_print_no_assertion_no_global_random_state():
    for name, path in NAMES.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Assert):
                assert name == "plugin", f"an assertion in {name} is no validation"
                assert tells_the_type_checker(node)
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called != "print", name
                if called.startswith(("np.random.", "random.")):
                    assert called == "np.random.default_rng", name
                    assert node.args, f"a generator without a seed in {name}"


def test_every_module_and_public_name_says_what_it_is():
    for name, path in NAMES.items():
        tree = parsed(path)
        assert ast.get_docstring(tree), f"{name} has no docstring"
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef)
            if public and any(ast.unparse(x) == "overload" for x in node.decorator_list):
                continue  # what a type checker reads before the function itself
            if public and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{name}.{node.name} has no docstring"


def test_a_store_is_told_from_another_by_its_room_alone():
    """What a store can do is asked of the store: no `store == "packed"` elsewhere."""
    asked = []
    for name, path in NAMES.items():
        if within(name, {"stores", "format", "names"}):
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Compare):
                values = [node.left, *node.comparators]
                if any(isinstance(v, ast.Constant) and v.value == "packed" for v in values):
                    asked.append(name)
    assert not asked


def test_every_store_has_the_five_functions_of_the_contract():
    from lowrank import stores

    (contract,) = (
        node
        for node in ast.walk(parsed(NAMES["stores.__init__"]))
        if isinstance(node, ast.ClassDef) and node.name == "Store"
    )
    promised = {node.name for node in contract.body if isinstance(node, ast.FunctionDef)}
    assert promised == {"encode", "decode", "factors", "stated", "shorten"}
    for store in ("float16", "packed"):
        module = stores.of(store)
        for function in promised:
            assert callable(getattr(module, function))


def test_the_map_names_every_room():
    """docs/ARCHITECTURE.md has a line for each module."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines()]
    for name in NAMES:
        file = name.rsplit(".", 1)[-1] + ".py"
        if file != "__init__.py":
            assert any(line.startswith(f"{file} ") for line in lines), f"{name} has no line"
