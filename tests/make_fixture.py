"""Write tests/fixture, chunks that every later version must read: run once for what is new.

`python tests/make_fixture.py`, from anywhere; files that are there stay as they are.
"""

from __future__ import annotations

import os

import numcodecs
from numcodecs.tests import common
from test_chunks import ARRAYS, EXACT, FIXTURE

from lowrank.chunks.numcodecs import Lowrank

if __name__ == "__main__":
    numcodecs.register_codec(Lowrank)
    os.chdir(FIXTURE.parent)
    common.check_backwards_compatibility("lowrank", ARRAYS, EXACT)
