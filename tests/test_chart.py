"""What `report` draws and says of an image alone: its spectrum, however it is, in any terminal."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import on_a_terminal, picture

from lowrank.io import pillow
from lowrank.views import tables


def drawn(*spectra):
    """Labels of a chart's rows, and its bars by eighths: what stands above each place."""
    head, *rows = tables.spectrum([np.array(s, float) for s in spectra]).plain.splitlines()
    *rows, axis = [row for row in rows if row]
    eighths = " ▁▂▃▄▅▆▇█"
    assert axis.endswith("i")
    labels = [float(row[:10]) for row in rows]
    cells = [[eighths.index(c) for c in row[10:]] for row in rows]
    return head, labels, np.sum(cells, axis=0)


def test_bars_are_as_high_as_logarithms():
    s = 10.0 ** np.array([3, 2.5, 2, 1.5, 1, 1, 1, 0.5])
    _, labels, heights = drawn(s)
    assert labels == pytest.approx(10 ** (3 * np.arange(7, 0, -1) / 7), rel=0.01)
    # The first bar goes from 1 to 2 on a logarithmic axis of 1 to 8: to a third of it.
    assert set(heights[:21]) == {56}
    assert set(heights[22:33]) == {round(56 * 2.5 / 3)}
    assert heights[-1] == round(56 * 0.5 / 3)


@pytest.mark.parametrize("scale", [1e-300, 1e-42, 1e-12, 1.0, 1e38, 1e200])
def test_a_chart_is_the_same_whatever_the_unit(scale):
    s = 7 * 10.0 ** -np.linspace(0, 5, 40)
    _, labels, heights = drawn(s)
    _, scaled, same = drawn(s * scale)
    assert np.array_equal(heights, same)
    assert np.array(scaled) == pytest.approx(np.array(labels) * scale, rel=0.02)


@pytest.mark.parametrize("largest", [1.0, 10.0, 2754.0, 1e-20])
@pytest.mark.parametrize("rest", [0.0, 1e-13])
def test_one_singular_value_has_the_only_bar(largest, rest):
    _, labels, heights = drawn([largest, *[rest * largest] * 15])
    assert labels[0] == pytest.approx(largest, rel=0.01)
    assert all(a > b for a, b in itertools.pairwise(labels))
    assert set(heights[:15]) == {56}
    assert set(heights[16:]) == {0}


def test_where_there_is_nothing_no_chart_is_drawn(cli, tmp_path):
    for name, shape in (("grey", (6, 8)), ("colour", (6, 8, 3)), ("stack", (5, 6, 8))):
        np.save(tmp_path / f"{name}.npy", np.zeros(shape, np.uint8))
        text = cli("report", f"{name}.npy").succeeded().text
        assert "singular values σᵢ: all are 0" in text
        assert "logarithmic" not in text
        assert "e-12" not in text


def test_a_mean_over_channels_is_said_where_there_are_some(cli, small_png, tmp_path):
    assert "(root mean square of the channels)" in cli("report", "in.png").succeeded().text
    (tmp_path / "grey.png").write_bytes(pillow.write(picture("L", 20, 24), format="PNG"))
    assert "root mean square" not in cli("report", "grey.png").succeeded().text


@pytest.mark.parametrize("columns", ["1", "2", "17"])
def test_sentences_keep_a_width_to_be_read(cli, small_png, tmp_path, columns):
    cli("compress", "in.png", "-k", 2).succeeded()
    text = cli("report", "in.png", "in.lrk", environment={"COLUMNS": columns}).succeeded().text
    (first,) = [line for line in text.splitlines() if line.startswith("Proved")]
    assert 20 < len(first) <= 40
    shown = on_a_terminal(
        ["report", "in.png", "in.lrk"], tmp_path, environment={"COLUMNS": columns}
    )
    assert "Proved: no matrix" in shown


def test_a_rival_without_error_is_exact(cli, tmp_path):
    flat = picture("L", 20, 24)
    flat.samples[...] = 77
    (tmp_path / "flat.png").write_bytes(pillow.write(flat, format="PNG"))
    cli("compress", "flat.png", "-k", 1).succeeded()
    text = cli("report", "flat.png", "flat.lrk", "--against", "jpeg,webp").succeeded().text
    for codec in ("jpeg", "webp"):
        (row,) = [line.split() for line in text.splitlines() if line.startswith(f"{codec} ")]
        assert row[1] == "exact"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_words_of_our_own_are_written_in_what_the_terminal_has(cli, small_png, tmp_path, encoding):
    name = "σ−█.png"
    small_png.rename(tmp_path / name)
    runs = [("report", name), ("compress", name, "-k", "2"), ("report", name, "σ−█.lrk")]
    plain = {"PYTHONIOENCODING": encoding, "LC_ALL": "C.UTF-8"}
    ladder, _, both = [
        cli(*run, environment=plain).succeeded().out.decode(encoding) for run in runs
    ]
    if encoding == "utf-8":
        assert "σₖ₊₁" in ladder
        assert "‖A−B‖₂" in both
    else:
        assert "sk+1" in ladder
        assert "|A-B|2" in both
        assert "> tail" in both
        assert "####" in ladder
        assert "?" not in ladder.replace("???.png", "")
        assert "???.png" in ladder  # a name is not spelled as another
