"""Hard conditions: contradictions are refused, and what is allowed is exactly what can be finished."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import pytest

from atomsym.core import ConfigError, InputError
from atomsym.generators.conditions import Conditions
from atomsym.generators.reachability import Reachability, Sites, Unfinished

SMALL = {
    "points alone": Sites((1, 1, 2), (False, False, False)),
    "points and a free position": Sites((1, 2, 4), (False, False, True)),
    "two free positions": Sites((2, 3), (True, True)),
    "coins that leave gaps": Sites((3, 4, 6), (False, True, True)),
}
CONDITIONS: list[dict[str, Any]] = [
    {"elements": (1, 8)},
    {"elements": (1, 8), "required": (1, 8)},
    {"elements": (1, 8), "required": (8,), "n_atoms": 7},
    {"elements": (1, 8), "n_atoms": 5, "max_orbits": 2},
    {"composition": {1: 2, 8: 1}},
    {"composition": {1: 4, 8: 2}, "n_atoms": 9},
    {"composition": {1: 1, 8: 1}, "max_orbits": 3},
]


def finished_by_search(sites: Sites, conditions: Conditions, state: Unfinished) -> bool:
    """Whether some sequence of orbits leads to a crystal that meets the conditions: every one is tried."""
    reach = Reachability(sites, conditions)

    @cache
    def search(state: Unfinished) -> bool:
        if reach.may_stop(state):
            return True
        if conditions.max_orbits and state.n_orbits >= conditions.max_orbits:
            return False
        for element, position in product(conditions.allowed, range(len(sites.free))):
            fits = state.n_atoms + sites.multiplicities[position] <= conditions.most_atoms
            if position not in state.used and fits and search(state.plus(element, position, sites)):
                return True
        return False

    return search(state)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("entries", CONDITIONS, ids=str)
def test_an_orbit_is_allowed_exactly_if_the_crystal_can_be_finished_after_it(
    name: str, entries: dict[str, Any]
) -> None:
    sites, conditions = SMALL[name], Conditions(max_atoms=10, **entries)
    reach = Reachability(sites, conditions)
    seen, todo, refused = set(), [Unfinished()], 0
    while todo and len(seen) < 150:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        allowed = reach.allowed(state)[[1, 8]]
        assert allowed.sum() == reach.allowed(state).sum()
        for row, element in enumerate((1, 8)):
            for position in range(len(sites.free)):
                fits = state.n_atoms + sites.multiplicities[position] <= conditions.most_atoms
                possible = position not in state.used and fits
                orbits = not conditions.max_orbits or state.n_orbits < conditions.max_orbits
                after = state.plus(element, position, sites) if possible and orbits else None
                expected = after is not None and finished_by_search(sites, conditions, after)
                assert bool(allowed[row, position]) == expected, (state, element, position)
                refused += not expected
                if expected and after is not None:
                    todo.append(after)
        if state.n_orbits and not allowed.any():
            assert reach.may_stop(state), f"a dead end: {state}"
    assert seen
    assert refused or "elements" in entries


def test_a_crystal_may_end_only_where_it_meets_everything() -> None:
    sites = SMALL["points and a free position"]
    reach = Reachability(sites, Conditions(composition={1: 2, 8: 1}))
    water = Unfinished().plus(8, 0, sites)
    assert not reach.may_stop(Unfinished())
    assert not reach.may_stop(water)
    assert reach.may_stop(water.plus(1, 1, sites))
    with pytest.raises(InputError, match="occupied already"):
        water.plus(1, 0, sites)


def test_a_group_that_cannot_hold_a_composition_says_so() -> None:
    """Fm-3m has no position of fewer than four atoms: Z = 1 of anything does not fit."""
    fluorite = Sites((4, 4, 8, 24, 24, 32), (False, False, False, False, True, True))
    assert Reachability(fluorite, Conditions(composition={20: 1, 9: 2})).possible()
    assert not Reachability(fluorite, Conditions(composition={20: 1, 9: 2}, n_atoms=3)).possible()
    assert not Reachability(fluorite, Conditions(composition={20: 1, 9: 5}, max_atoms=24)).possible()


def test_conditions_are_checked_and_brought_into_one_form() -> None:
    assert Conditions(composition={8: 4, 22: 2}).composition == {8: 2, 22: 1}
    assert Conditions(composition={8: 4, 22: 2}).allowed == (8, 22)
    assert Conditions(elements=(22, 8, 8)).elements == (8, 22)
    assert 8 not in Conditions(excluded=(8,)).allowed


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"elements": (0,)}, "atomic numbers are 1 to 118"),
        ({"elements": (8,), "excluded": (8,)}, "no element is left"),
        ({"elements": (8,), "required": (22,)}, "Ti must occur and may not"),
        ({"composition": {22: 1, 8: 2}, "excluded": (8,)}, "O must occur and may not"),
        ({"composition": {22: 1, 8: 2}, "required": (1,)}, "H must occur, but the composition has none"),
        ({"composition": {22: 1, 8: 2}, "n_atoms": 10}, "cannot make 10 atoms"),
        ({"composition": {22: 1, 8: 0}}, "positive number of each"),
        ({"composition": {}}, "positive number of each"),
        ({"n_atoms": 200}, "max_atoms is 120"),
        ({"max_atoms": 0}, "max_atoms must be at least 1"),
    ],
)
def test_contradictions_are_named(entries: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Conditions(**entries)
