"""What calculators print while they work, kept out of a program's own output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def output_aside() -> Iterator[None]:
    """Everything that is written to standard output in the block goes nowhere.

    Programs written in Fortran or C print past ``sys.stdout``, so the file descriptor itself is turned away; otherwise
    the JSON on standard output would not be JSON. Standard error stays as it is.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
