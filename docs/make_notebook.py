"""Run the cells of docs/notebook.ipynb again and put in what they show.

`python docs/make_notebook.py`, then read the difference: the tests hold the notebook to it. It
needs no Jupyter: a cell shows the value of its last line, as text and as what picture it has of
itself.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import re
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).with_name("notebook.ipynb")


def run(cells: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Run code cells, one after the other in the notebook's folder; the outputs of each."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.chdir(NOTEBOOK.parent):
        return [_outputs("".join(cell["source"]), names, i + 1) for i, cell in enumerate(cells)]


def _outputs(source: str, names: dict[str, Any], count: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    found: list[dict[str, Any]] = []
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "cell", "exec"), names)
        code = last and compile(ast.Expression(last.value), "cell", "eval")
        value = eval(code, names) if code else None
    if printed.getvalue():
        text = printed.getvalue().splitlines(keepends=True)
        found.append({"name": "stdout", "output_type": "stream", "text": text})
    if value is not None:
        result = {"data": _shown(value), "execution_count": count, "metadata": {}}
        found.append({**result, "output_type": "execute_result"})
    return found


def _shown(value: Any) -> dict[str, Any]:
    """What Jupyter asks a value for."""
    data: dict[str, Any] = {}
    if html := getattr(value, "_repr_html_", None):
        data["text/html"] = html().splitlines(keepends=True)
    elif png := getattr(value, "_repr_png_", None):
        data["image/png"] = base64.b64encode(png()).decode()
    text = re.sub(" at 0x[0-9A-F]+", "", repr(value))
    return data | {"text/plain": text.splitlines(keepends=True)}


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells that are run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def main() -> None:
    """Put the outputs into the notebook."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = code_cells(notebook)
    for count, (cell, outputs) in enumerate(zip(cells, run(cells), strict=True), 1):
        cell |= {"execution_count": count, "outputs": outputs}
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
    new = NOTEBOOK.with_name(f".{NOTEBOOK.name}.tmp")
    new.write_text(text + "\n", encoding="utf-8")
    os.replace(new, NOTEBOOK)


if __name__ == "__main__":
    main()
