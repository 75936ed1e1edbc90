"""SMACT's rule of charges, if the package is there."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import lru_cache

from atomsym.core import MissingDependencyError
from atomsym.core.elements import symbol_of
from atomsym.metrics import reduced_formula

STATES = "smact14"
"""SMACT's name of the table of oxidation states that published evaluations of crystal generators took."""


def smact_rule() -> Callable[[Mapping[int, int]], bool]:
    """From the count of each atomic number to whether SMACT finds the composition valid; elements and alloys pass.

    With the states that were the only ones of SMACT when CDVAE made this a metric; newer tables give other rates. A
    composition with an element that SMACT has no data of, such as darmstadtium, is not valid.

    Raises:
        MissingDependencyError: if SMACT is not installed.

    Source: Davies et al., J. Open Source Softw. 4, 1361 (2019).
    """
    try:
        smact_validity = importlib.import_module("smact.screening").smact_validity
    except ImportError as error:
        raise MissingDependencyError(
            "SMACT's validity needs the package smact, which is missing. Install it with: pip install smact"
        ) from error

    @lru_cache(maxsize=65536)
    def decide(formula: tuple[tuple[int, int], ...]) -> bool:
        text = "".join(f"{symbol_of(z)}{n}" for z, n in formula)
        try:
            return bool(smact_validity(text, oxidation_states_set=STATES))
        except KeyError:  # no data of an element
            return False

    return lambda composition: decide(reduced_formula(composition))
