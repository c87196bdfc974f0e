"""The page of a report and the site before axe, a checker of accessibility.

It is not shipped: `npm install --prefix js --no-save axe-core` brings it. What axe leaves to a
person is listed here with the test that looks at it; anything else that it finds or doubts fails.
"""

from __future__ import annotations

import pytest
from conftest import ROOT, picture
from test_page import make, tab, visit
from test_site import site

__all__ = ["make", "site", "tab", "visit"]

AXE = ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"
NOTED = {
    # Text over a plot or the blurred dock, single letters: their colours are measured by
    # test_page.py, test_the_colours_of_text_stand_out.
    "color-contrast",
    # The signs + and − of buttons that are called "Zoom in" and "Zoom out": no words to be called.
    "label-content-name-mismatch",
}
RUN = """async () => {
  const {violations, incomplete, passes} = await axe.run();
  const told = (list) => list.map(({id, nodes}) => [id, nodes.map((x) => x.html.slice(0, 120))]);
  return [told(violations), told(incomplete), passes.length];
}"""

pytestmark = pytest.mark.skipif(
    not AXE.exists(), reason="no axe: npm install --prefix js --no-save axe-core"
)


def judged(page):
    page.evaluate(AXE.read_text("utf-8"))
    violations, incomplete, passes = page.evaluate(RUN)
    assert violations == [], violations
    assert passes > 20  # it has looked
    assert [x for x in incomplete if x[0] not in NOTED] == []


def test_the_page_of_a_report(make, visit):
    judged(visit(make(picture("RGB", 30, 40))))


def test_the_site(browser, site):
    page = browser.new_page()
    page.goto(f"{site}#picture=flag.png")
    page.wait_for_selector("#page[data-picture='flag.png']")
    judged(page)
    page.click("#gallery button[data-picture='light.npy']")
    page.wait_for_selector("#page[data-picture='light.npy']")
    judged(page)
    page.close()


def test_it_finds_what_is_wrong(browser):
    page = browser.new_page()
    page.set_content("<title>x</title><main><img src='data:,'><button></button></main>")
    with pytest.raises(AssertionError, match="button-name"):
        judged(page)
    page.close()
