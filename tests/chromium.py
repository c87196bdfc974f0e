"""Chromium for the tests of pages: one for all, as it takes as long to start as ten tests."""

from __future__ import annotations

import shutil

import pytest

PATH = next(
    filter(
        None,
        map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser", "chrome")),
    ),
    None,
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--js-flags=--no-opt",  # a page is open for a second: V8's best code is not worth its making
]
MODULES = ("test_page.py", "test_stack_page.py", "test_axe.py", "test_site.py")
"""Whose tests stand first and together: what drives Chromium has an event loop of its own."""
NAMELESS = """
() => [...document.querySelectorAll("input, select, button, [role=img]")].filter(x =>
    !x.getAttribute("aria-label") && !x.textContent.trim() &&
    !(x.labels && [...x.labels].some(label => label.textContent.trim()))
).map(x => x.outerHTML)
"""
"""What a page says of its controls that have no name: there should be none."""

_running = []


def browser():
    """Headless Chromium, or a skip that says what is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    if PATH is None:
        pytest.skip("no Chromium on the path: install it to test the page in a browser")
    if not _running:
        playwright = api.sync_playwright().start()
        browser = playwright.chromium.launch(executable_path=PATH, args=FLAGS)
        _running.extend((browser, playwright))
    return _running[0]


def leave():
    """End it before tests that want an event loop themselves."""
    if _running:
        browser, playwright = _running
        _running.clear()
        browser.close()
        playwright.stop()
