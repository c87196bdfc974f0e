"""What a fuzzer says when it ends."""

from __future__ import annotations

import sys
from collections import Counter


def say(first: str, counts: Counter[str], *last: str) -> None:
    """Print a line, how often each thing happened, and more lines."""
    each = [f"  {count:>10,}  {what}" for what, count in counts.most_common()]
    sys.stdout.write("\n".join([first, *each, *last]) + "\n")
    sys.stdout.flush()
