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
    # A run makes few cycles; looking for them while modules load takes a tenth of that time.
    gc.set_threshold(100_000)
    signals.leave_at_once()
    from lowrank.cli import run

    sys.exit(run())


if __name__ == "__main__":
    main()
