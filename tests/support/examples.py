"""How many examples of hypothesis a test tries: few in `make test`, many in `make fuzz`."""

from __future__ import annotations

import os

__all__ = ["examples"]


def examples(count: int) -> int:
    """As many, or a multiple of them where the environment variable EXAMPLES says so."""
    return count * int(os.environ.get("EXAMPLES", "1"))
