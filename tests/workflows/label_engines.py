"""Engines for the tests of labelling, loaded by name in worker processes: springs, and their misfortunes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from atomsym.core import LabelledStructure
from atomsym.workflows.label.engine import LabelError, Labels
from atomsym.workflows.label.hessian import central_hessian

CRASHES, REFUSED = 86, 85  # radon ends the process, astatine is refused


class Springs:
    """Every atom on a spring at the origin: E = Σ k x²/2."""

    name = "springs"
    level_of_theory = "springs"

    def __init__(self, stiffness: float = 2.0, delay: float = 0.0) -> None:
        self.stiffness, self.delay = stiffness, delay

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"stiffness": self.stiffness}

    def label(self, structure: LabelledStructure, hessian: bool = False) -> Labels:
        time.sleep(self.delay)
        if CRASHES in structure.numbers:
            os._exit(7)
        if REFUSED in structure.numbers:
            raise LabelError("no springs for astatine")
        x = structure.positions
        found = Labels(0.5 * self.stiffness * float((x**2).sum()), -self.stiffness * x)
        if not hessian:
            return found
        return Labels(found.energy, found.forces, None, *central_hessian(lambda at: -self.stiffness * at, x))


def springs(**settings: Any) -> Springs:
    return Springs(**settings)


def last_words(settings: Any) -> Any:
    """A task that complains and ends on the request ``end``, and otherwise answers backwards."""

    def handle(request: bytes) -> bytes:
        if request == b"end":
            os.write(2, b"out of luck\n")
            os._exit(3)
        if request == b"sleep":
            time.sleep(120)
        os.write(1, b"a library that prints\n")
        return request[::-1] + str(os.environ["OMP_NUM_THREADS"]).encode() + settings["tail"].encode()

    return handle
