"""The picture of `speed.py`: ratios of processes, kernels by time and accuracy, growth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

OURS, PEERS, INK = "#1f6f8b", "#c9c9c9", "#333333"
LEAST = 1e-16  # errors below are drawn there: zero has no logarithm


def draw(
    path: Path,
    rows: Sequence[Any],
    kernels: Mapping[int, Mapping[str, tuple[float, float]]],
    growth: Mapping[str, Sequence[tuple[float, Any]]],
) -> None:
    """Draw three panels and save them."""
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), width_ratios=(1.2, 1.2, 1))
    processes(axes[0], rows)
    accuracy(axes[1], kernels[50])
    growing(axes[2], growth)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def processes(axes: Any, rows: Sequence[Any]) -> None:
    """Draw whole processes in units of the peer's time."""
    ratios = [row.ratio for row in rows][::-1]
    bars = axes.barh(
        range(len(rows)), ratios, color=[OURS if r <= 1 else "#b5533c" for r in ratios], height=0.6
    )
    axes.bar_label(bars, fmt="%.2f", padding=-26, color="white")
    names = [row.name.replace("`", "").replace(", against ", "\nagainst ") for row in rows]
    axes.set_yticks(range(len(rows)), names[::-1], fontsize=7)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_xlim(0, max(*ratios, 1) * 1.15)
    axes.set_title("whole processes: our processor time, peer = 1", fontsize=10)


def accuracy(axes: Any, found: Mapping[str, tuple[float, float]]) -> None:
    """Draw kernels by time and error: down and to the left is better."""
    for name, (seconds, above) in found.items():
        colour = OURS if name.startswith("lowrank") else INK
        axes.scatter(seconds, max(above, LEAST), color=colour, s=30)
        left = name.startswith("svds")  # names of neighbours go apart
        axes.annotate(
            name,
            (seconds, max(above, LEAST)),
            xytext=(-7 if left else 7, {"lowrank": -12}.get(name, 8 if "arpack" in name else -3)),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=7,
            color=colour,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 20, high * 8)  # room for the names
    axes.set_xlabel("processor seconds, one channel of 2.8 MP, k = 50")
    axes.set_ylabel("Frobenius error above the optimum, relative")
    axes.set_title("kernels: time and accuracy", fontsize=10)


def growing(axes: Any, growth: Mapping[str, Sequence[tuple[float, Any]]]) -> None:
    """Draw time and memory against the size of the image."""
    x = [at for at, _ in growth["megapixels"]]
    axes.plot(x, [run.cpu for _, run in growth["megapixels"]], "o-", color=OURS)
    axes.set_xlabel("megapixels, RGB, k = 50")
    axes.set_ylabel("processor seconds of compress", color=OURS)
    axes.set_ylim(0)
    memory = axes.twinx()
    memory.plot(x, [run.memory for _, run in growth["megapixels"]], "s--", color="#8a8a8a")
    memory.set_ylabel("peak memory, MB", color="#6a6a6a")
    memory.set_ylim(0)
    memory.spines["right"].set_visible(True)
    axes.set_title("growth", fontsize=10)
