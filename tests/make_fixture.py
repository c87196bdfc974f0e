"""Write tests/fixture, chunks that every later version must read: run once for what is new.

`python tests/make_fixture.py`, from anywhere; files that are there stay as they are.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from test_chunks import ARRAYS, EXACT, FIXTURE, FOLDERS


def write(path: Path, data: bytes) -> None:
    """Write a file that is not there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)


if __name__ == "__main__":
    for i, A in enumerate(ARRAYS):
        np.save(file := io.BytesIO(), A)
        write(FIXTURE / f"array.{i:02d}.npy", file.getvalue())
        for codec, folder in zip(EXACT, FOLDERS, strict=True):
            config = json.dumps(codec.get_config(), sort_keys=True, indent=4)
            write(folder / "config.json", config.encode())
            write(folder / f"encoded.{i:02d}.dat", bytes(codec.encode(A)))
