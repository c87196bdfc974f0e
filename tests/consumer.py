"""What a program that uses lowrank may write: `test_library` has mypy read it, and runs it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

import lowrank

A = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8)
image: lowrank.LowRankImage = lowrank.compress(A, rank=3, store="float64")


def sources(folder: Path) -> list[lowrank.LowRankImage]:
    """Compress from everywhere that an image may be."""
    pillow: PIL.Image.Image = PIL.Image.fromarray(A)
    path = folder / "a.png"
    pillow.save(path)
    data: bytes = path.read_bytes()
    found = [
        lowrank.compress(pillow, rank=3, store="float64"),
        lowrank.compress(path, rank=3, store="float64"),
        lowrank.compress(str(path), rank=3, store="float64"),
        lowrank.compress(data, rank=3, store="float64"),
        lowrank.compress(bytearray(data), rank=3, store="float64"),
        lowrank.compress(memoryview(data), rank=3, store="float64"),
        lowrank.compress(io.BytesIO(data), rank=np.int64(3), store="float64"),
        lowrank.compress(A, rank=3, store="float64"),
    ]
    with path.open("rb") as stream:
        found.append(lowrank.compress(stream, rank=3, store="float64"))
    return found


def sinks(folder: Path) -> list[lowrank.LowRankImage]:
    """Save to everywhere that a file may go, and open it from there."""
    path, memory = folder / "a.lrk", io.BytesIO()
    image.save(path)
    image.save(str(path), force=True)
    image.save(memory)
    memory.seek(0)
    return [
        lowrank.open(path, partial=False, max_pixels=10**6),
        lowrank.open(str(path)),
        lowrank.open(memory),
        lowrank.open(image.to_bytes()),
    ]


def numbers() -> dict[str, Any]:
    """Use what an image says of itself."""
    shape: tuple[int, ...] = image.shape
    dtype: np.dtype[Any] = image.dtype
    decoded: NDArray[Any] = np.asarray(image)
    U, s, Vt = image.factors[0]
    B: NDArray[np.float64] = (U * s) @ Vt
    pillow: PIL.Image.Image = image.to_image(rank=2)
    shorter: lowrank.LowRankImage = image.truncate(2)
    ranks: tuple[int, ...] = shorter.ranks
    spectra: list[NDArray[np.float64]] = lowrank.spectrum(image)
    reports: list[lowrank.Report] = lowrank.ladder(A, (1, 2))
    report: lowrank.Report = image.report(A)
    error: float | None = report.channels[0].frobenius_error
    png: bytes = image._repr_png_()
    html: str = image._repr_html_()
    equal: bool = image == shorter
    found = (
        shape, dtype, decoded, B, pillow, ranks, spectra, reports, error, png, html, equal,
        image.ndim, image.size, image.nbytes, len(image), image[7, 2:4], next(iter(image)).shape,
        image.width, image.height, image.mode, image.layout, image.store, image.notes,
    )  # fmt: skip
    return {**report.to_dict(), "found": found}


def squeezed(path: Path) -> lowrank.LowRankImage:
    """Give back what `compress` gives: an image, to the type checker too."""
    return lowrank.compress(path, quality=50, max_pixels=10**6)


def stacks(folder: Path, many: bool) -> NDArray[Any]:
    """Use a stack."""
    stack: lowrank.LowRankStack = lowrank.compress(
        [A, A], stack=True, rank=1, labels=["a", "b"], store="float64"
    )
    stack.save(folder / "s.lrk")
    opened: lowrank.LowRankStack = lowrank.open(folder / "s.lrk")
    curves: NDArray[np.float64] = opened.coefficients
    trace: NDArray[Any] = opened[:, 3, 4]
    shorter: lowrank.LowRankStack = lowrank.compress(stack, rank=1)
    either = lowrank.compress(np.stack([A, A]), stack=many or len(shorter) > 2, rank=1)
    return trace if curves.size and either.shape else opened[0]


def refused() -> str:
    """Meet an error as a ValueError, and as one of ours."""
    try:
        lowrank.compress([1, 2, 3], rank=1)
    except ValueError as error:
        return f"a mistake: {error}"
    except lowrank.LowrankError as error:
        code: int = error.exit_code
        return f"{error}, exit code {code}"
    return ""
