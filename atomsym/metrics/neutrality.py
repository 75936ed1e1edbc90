"""Whether oxidation states of the elements can balance in a composition."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache, reduce

from atomsym.core.errors import InputError
from atomsym.metrics.oxidation_states import ALLOYING, ELECTRONEGATIVITIES, OXIDATION_STATES

Formula = tuple[tuple[int, int], ...]


def reduced_formula(composition: Mapping[int, int]) -> Formula:
    """(atomic number, count) of each element, increasing, counts without a common divisor.

    Raises:
        InputError: if the composition is empty or a count is below 1.

    Example:
        >>> reduced_formula({8: 4, 22: 2})
        ((8, 2), (22, 1))
    """
    if not composition or min(composition.values()) < 1:
        raise InputError(f"a composition needs elements with counts of at least 1; found {dict(composition)}")
    divisor = reduce(math.gcd, composition.values())
    return tuple((int(z), int(n) // divisor) for z, n in sorted(composition.items()))


def is_charge_balanced(composition: Mapping[int, int], *, alloys: bool = True) -> bool:
    """Whether each element can take one of its common oxidation states so that the charges add up to zero.

    No cation may be more electronegative than an anion, and all atoms of an element have the same state. Elements pass,
    and so do alloys (compounds of metals, Si and Ge) unless ``alloys`` is False. The rule is that of SMACT's validity,
    but our table has fewer states, so that fewer compositions pass; mixed valence (Fe₃O₄) fails in both.

    Args:
        composition: count by atomic number.
        alloys: whether compounds of ``ALLOYING`` elements alone pass.

    Raises:
        InputError: if the composition is empty or a count is below 1.

    Source: the rule: Davies et al., Chem 1, 617 (2016); the exemption of elements and alloys: Xie et al., CDVAE, ICLR
    2022.

    Example:
        >>> is_charge_balanced({8: 2, 22: 1}), is_charge_balanced({8: 5, 22: 1})
        (True, False)
    """
    return _is_balanced(reduced_formula(composition), alloys)


@lru_cache(maxsize=65536)
def _is_balanced(formula: Formula, alloys: bool) -> bool:
    numbers = [number for number, _ in formula]
    if len(formula) == 1 or (alloys and ALLOYING.issuperset(numbers)):
        return True
    if not all(OXIDATION_STATES.get(number) for number in numbers):
        return False
    # the most electronegative cation is at a threshold, and every anion is not below it
    return any(_balances_at(threshold, formula) for threshold in {ELECTRONEGATIVITIES[number] for number in numbers})


def _balances_at(threshold: float, formula: Formula) -> bool:
    totals = {0}
    for number, count in formula:
        states = OXIDATION_STATES[number]
        if ELECTRONEGATIVITIES[number] < threshold:
            states = tuple(state for state in states if state > 0)
        elif ELECTRONEGATIVITIES[number] > threshold:
            states = tuple(state for state in states if state < 0)
        totals = {total + state * count for total in totals for state in states}
    return 0 in totals
