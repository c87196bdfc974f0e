"""How `make docs` builds these pages.

Sphinx, since the docstrings are numpydoc, whose home it is, and since it has a future: MkDocs and
its theme Material take no more than repairs. MyST, since the pages are Markdown, which people read
where the code is. A name or a link that leads nowhere is an error.
"""

from __future__ import annotations

import lowrank

project = "lowrank"
author = "The lowrank authors"
release = version = lowrank.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"lowrank {release}"
html_copy_source = False

nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!lowrank\.).*"),  # what numpydoc says of types is prose: "(m, n) ndarray"
    ("py:.*", r"lowrank\.(codec|format|picture|stores)\..*"),  # the rooms inside, not the library
]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes and units, too
autodoc_default_options = {"members": True, "special-members": "__array__"}
numpydoc_show_class_members = False  # autodoc shows them
