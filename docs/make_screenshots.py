"""Take the screenshots of the documentation, of pages as they are today, in headless Chromium.

    python docs/make_screenshots.py

It needs playwright and a Chromium on the path, as the tests of the pages do.
"""

from __future__ import annotations

import functools
import runpy
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from lowrank.cli import app

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "sample_images" / "parrots.png"


class Shot(NamedTuple):
    """What is seen: a picture's file, what the address says, width and height.

    And the colours, and what stands at the top.
    """

    name: str
    state: str
    viewport: tuple[int, int]
    colours: str = "light"
    top: str = "body"


PAGE = Shot("page.png", "", (1280, 1320))
SITE = (
    Shot("site.png", "picture=door.png&k=3&view=layer", (1280, 1320)),
    Shot("site-phone.png", "picture=photographer.png&k=20", (390, 1500), "dark"),
    Shot("site-landscape.png", "picture=parrots.png&k=20", (844, 390), "dark", ".views"),
)


class Quiet(SimpleHTTPRequestHandler):
    """Serves the site, and says nothing of it."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


def taken(browser: Browser, address: str, shot: Shot) -> None:
    """Take one screenshot, once all is drawn."""
    width, height = shot.viewport
    page = browser.new_page(viewport={"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if shot.colours == "dark" else "light")
    page.goto(f"{address}#{shot.state}")
    page.wait_for_selector("#stage[aria-busy=false]")
    if "picture=" in shot.state:
        name = shot.state.split("&")[0].removeprefix("picture=")
        page.wait_for_selector(f"#page[data-picture='{name}']")
    page.wait_for_timeout(1000)
    page.evaluate(
        "top => scrollBy({top: document.querySelector(top).getBoundingClientRect().top, "
        "behavior: 'instant'})",
        shot.top,
    )
    page.wait_for_timeout(1000)
    with Image.open(BytesIO(page.screenshot())) as image:
        few = image.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
        few.save(ROOT / "docs" / shot.name, optimize=True)
    page.close()


def main() -> None:
    """Make the page and the site, and take all screenshots."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        report = Path(folder) / "page.html"
        app(["report", str(PHOTO), "--html", str(report), "--quiet"], standalone_mode=False)
        taken(browser, report.as_uri(), PAGE)
        site = Path(folder) / "site"
        sys.argv = ["build.py", str(site)]
        runpy.run_path(str(ROOT / "site" / "build.py"), run_name="__main__")
        handler = functools.partial(Quiet, directory=str(site))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for shot in SITE:
            taken(browser, f"http://127.0.0.1:{server.server_address[1]}/", shot)
        server.shutdown()
        browser.close()


if __name__ == "__main__":
    main()
