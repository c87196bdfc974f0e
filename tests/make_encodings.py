"""Write tests/encodings.json: what the encoder writes for crops of the sample images.

Run it only to add cases, or when an encoding is meant to change, and say which in the commit::

    python tests/make_encodings.py

Entropy-coded payloads and the last bits of float factors depend on the order in which a
matrix product is summed, so the hashes are those of one kernel of OpenBLAS, named in the
file; what is beyond it, the structure of each file, holds on any.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_info

import lowrank

HERE = Path(__file__).resolve().parent
ENCODINGS = HERE / "encodings.json"
IMAGES = ("cup.png", "door.png", "elevation.png", "galaxies.jpg", "parrots.png", "photographer.png")

FLOAT_TARGETS = (
    {"rank": 1},
    {"rank": 20},
    {"rank": "auto"},
    {"energy": 0.99},
    {"error": 0.05},
    {"psnr": 30},
    {"size": 9_000},
)
DIALLED = (
    {"layout": "channels", "quality": 20},
    {"layout": "channels", "quality": 75},
    {"layout": "channels", "rank": 4},
    {"layout": "patches", "quality": 20},
    {"layout": "patches", "quality": 75},
    {"layout": "patches", "quality": 100},
)
SEARCHED = tuple(
    {"layout": layout, **target}
    for target in ({"energy": 0.99}, {"error": 0.05}, {"psnr": 30}, {"psnr": 38}, {"size": 2_500})
    for layout in ("channels", "patches")
)
WHOLE = ({"rank": 20}, {"quality": 75})
STACKED = (
    {"rank": 3, "store": "float16"},
    {"rank": "auto", "store": "float64"},
    {"error": 0.05, "store": "auto"},
    {"size": 60_000, "store": "float16"},
    {"quality": 30, "store": "packed"},
    {"quality": 80, "store": "packed"},
    {"rank": 3, "store": "packed"},
    {"psnr": 36, "store": "packed"},
    {"psnr_worst": 40, "store": "packed"},
    {"size": 3_000, "store": "packed"},
)
"""Of six frames cut from an image, one beside the other."""

STACKS = ("cup.png", "elevation.png")


def requests(number):
    """Every request of the crop of an image: keywords of `lowrank.compress`.

    What is searched for with a packed store takes long: each such target is one image's.
    """
    for layout in ("channels", "patches"):
        for target in FLOAT_TARGETS:
            yield {"layout": layout, "store": "auto", **target}
        for store in ("float16", "float32", "float64"):
            yield {"layout": layout, "store": store, "rank": 5}
    for target in DIALLED + SEARCHED[number :: len(IMAGES)]:
        yield {"store": "packed", **target}


def cases():
    """Name, image and request of every encoding; `whole` ones are of the image as it is."""
    for number, image in enumerate(IMAGES):
        for whole, several in (("", requests(number)), ("whole ", WHOLE)):
            for request in several:
                words = " ".join(f"{key}={value}" for key, value in request.items())
                yield f"{image} {whole}{words}", image, request
    for image in STACKS:
        for request in STACKED:
            words = " ".join(f"{key}={value}" for key, value in request.items())
            yield f"{image} frames {words}", image, {"stack": True, **request}


def frames_of(whole):
    """Frames of a stack: crops of an image that move."""
    return np.stack([whole[40 + i : 90 + i, 30 + 2 * i : 90 + 2 * i] for i in range(6)])


def samples_of(name):
    """A sample image and a crop of it, whose sides are no multiples of the patch."""
    with Image.open(HERE.parent / "sample_images" / name) as image:
        whole = np.asarray(image)
    top, left = whole.shape[0] // 3, whole.shape[1] // 3
    return whole, whole[top : top + 90, left : left + 122]


def pick(name, whole, crop):
    """What of an image a case is made from."""
    if " frames " in name:
        return frames_of(whole)
    return whole if " whole " in name else crop


def entry(image):
    """Facts of a file: its hash, and what no kernel changes."""
    data = image.to_bytes()
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "layout": image.layout,
        "store": image.store,
        "ranks": list(image.ranks),
    }


def kernel():
    """The kernels of numpy's and scipy's OpenBLAS, in a text that compares."""
    import scipy.linalg  # noqa: F401 - loads its own

    blas = [x for x in threadpool_info() if x["user_api"] == "blas"]
    return ", ".join(sorted(f"{x['version']} {x.get('architecture')}" for x in blas))


def main():
    """Encode every case and write the file."""
    found = {}
    for name, image, request in cases():
        whole, crop = samples_of(image)
        found[name] = entry(lowrank.compress(pick(name, whole, crop), **request))
    ENCODINGS.write_text(json.dumps({"kernel": kernel(), "files": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
