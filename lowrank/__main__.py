"""`python -m lowrank`, and the `lowrank` command."""

from __future__ import annotations

import gc
import os
import sys

from lowrank import signals


def main() -> None:
    """Run the command line and exit with its code."""
    # Before numpy loads. Our own threads take one product each: several BLAS threads on
    # one product stall when another process keeps a core busy (see `threads`).
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    # A run makes few cycles. Looking for them takes a tenth of the time that modules take to
    # load, and a sixth of a short run at its end, when everything goes anyway.
    gc.set_threshold(100_000)
    signals.leave_at_once()
    from lowrank.cli import run

    code = run()
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
