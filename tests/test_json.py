"""With `--json` standard output holds objects and nothing else, of failures too."""

from __future__ import annotations

import pytest
from conftest import strictly

import lowrank

FAILURES = (
    ("compress", 2),
    ("compress nothing.png", 1),
    ("compress in.png -k 0", 2),
    ("compress in.png -k 3 -q 4", 2),
    ("compress in.png --bogus", 2),
    ("compress empty", 1),
    ("compress empty --stack", 1),
    ("compress in.png -o -", 2),
    ("decompress in.png", 1),
    ("decompress nothing.lrk", 1),
    ("decompress in.lrk --frames 1", 2),
    ("report nothing.png", 1),
    ("report notes.png", 1),
    ("report in.png nothing.lrk", 1),
    ("report in.lrk in.png", 2),
    ("report in.png -k auto", 2),
    ("report in.png in.lrk --against telegraph", 2),
    ("report in.png --html in.png", 2),
    ("verify", 2),
    ("verify nothing.lrk", 1),
    ("verify empty", 1),
    ("verify in.lrk --manifest nothing.csv", 1),
    ("verify in.lrk --axis 1", 2),
)


@pytest.mark.parametrize(("line", "code"), FAILURES)
def test_a_failure_is_one_object_that_says_what_the_one_line_says(
    cli, small_png, tmp_path, line, code
):
    lowrank.compress(small_png, rank=2).save(tmp_path / "in.lrk")
    (tmp_path / "notes.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    done = cli(*line.split(), "--json")
    said = done.failed(code)
    found = strictly(done.text)
    assert said == f"lowrank: error: {found['error']}"


def test_an_input_of_that_name_asks_for_nothing(cli):
    done = cli("report", "--", "--json")
    assert "cannot read --json" in done.failed()
    assert not done.out


def test_what_fails_at_the_end_of_a_batch_leaves_its_lines_alone(cli, small_png, tmp_path):
    list_ = tmp_path / "list.csv"
    list_.mkdir()
    done = cli("compress", "in.png", "in.png", "-k", 2, "-o", "d", "--json", "--manifest", list_)
    done.failed()
    for line in done.text.splitlines():
        strictly(line)
