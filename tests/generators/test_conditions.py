"""Hard conditions: contradictions are refused, and what is allowed is exactly what can be finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from atomsym.core import ConfigError, InputError
from atomsym.generators.conditions import Conditions
from atomsym.generators.reachability import Reachability, Unfinished, reachability
from atomsym.generators.sites import Sites, SiteTables, sites_of

Orbit = tuple[int, int]  # element and position
Crystal = tuple[Orbit, ...]  # sorted

SMALL = {
    "points alone": (Sites((1, 1, 2), (False, False, False)), 10),
    "points and a free position": (Sites((1, 2, 4), (False, False, True)), 8),
    "two free positions": (Sites((2, 3), (True, True)), 8),
    "coins that leave gaps": (Sites((3, 4, 6), (False, True, True)), 11),
    "Pm-3m": (sites_of(221), 8),
    "P4_2/mnm": (sites_of(136), 8),
    "Fd-3m": (sites_of(227), 40),
    "P2/m": (sites_of(10), 4),
}
CONDITIONS: list[dict[str, Any]] = [
    {"elements": (1, 8)},
    {"elements": (1, 8), "required": (1, 8)},
    {"elements": (1, 8), "required": (8,), "n_atoms": 7},
    {"elements": (1, 8), "required": (1,), "n_atoms": 8},
    {"elements": (1, 8), "n_atoms": 5, "max_orbits": 2},
    {"elements": (1, 8), "required": (1, 8), "max_orbits": 3},
    {"composition": {1: 2, 8: 1}},
    {"composition": {1: 2, 8: 1}, "n_atoms": 6},
    {"composition": {1: 1, 8: 1}, "max_orbits": 3},
    {"composition": {1: 1, 8: 1}, "n_atoms": 8, "max_orbits": 2},
]


def all_crystals(sites: Sites, conditions: Conditions) -> Iterator[Crystal]:
    """Every set of orbits that meets the conditions, by trying all of them in turn."""
    orbits = [(element, place) for element in conditions.allowed for place in range(len(sites.free))]

    def meets(chosen: list[Orbit]) -> bool:
        counts: Counter[int] = Counter()
        for element, place in chosen:
            counts[element] += sites.multiplicities[place]
        if not chosen or not set(conditions.required) <= set(counts):
            return False
        if conditions.n_atoms and counts.total() != conditions.n_atoms:
            return False
        unit = conditions.composition
        return unit is None or all(counts[a] * unit[b] == counts[b] * unit[a] for a in unit for b in unit)

    def extended(chosen: list[Orbit], first: int, room: int) -> Iterator[Crystal]:
        if meets(chosen):
            yield tuple(chosen)
        if conditions.max_orbits and len(chosen) == conditions.max_orbits:
            return
        for index in range(first, len(orbits)):
            place = orbits[index][1]
            taken = not sites.free[place] and any(place == other for _, other in chosen)
            if not taken and sites.multiplicities[place] <= room:
                yield from extended([*chosen, orbits[index]], index, room - sites.multiplicities[place])

    yield from extended([], 0, conditions.most_atoms)


def what_leads_on(crystals: list[Crystal]) -> dict[Crystal, set[Orbit]]:
    """The truth: every part of a crystal, and which orbits may follow it on the way to any of the crystals."""
    found: dict[Crystal, set[Orbit]] = {}
    todo = dict.fromkeys(crystals)
    while todo:
        crystal = todo.popitem()[0]
        found.setdefault(crystal, set())
        for index, orbit in enumerate(crystal):
            part = (*crystal[:index], *crystal[index + 1 :])
            if part not in found:
                todo[part] = None
            found.setdefault(part, set()).add(orbit)
    return found


def states_of(reach: Reachability, crystals: list[Crystal]) -> Unfinished:
    empty = reach.start(np.zeros(len(crystals), dtype=np.int64))
    owners = np.repeat(np.arange(len(crystals)), [len(each) for each in crystals])
    orbits = np.array([orbit for each in crystals for orbit in each], dtype=np.int64).reshape(-1, 2)
    return reach.holding(empty, owners, orbits[:, 0], orbits[:, 1])


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("entries", CONDITIONS, ids=str)
def test_an_orbit_is_allowed_exactly_if_some_crystal_has_it_and_all_before(name: str, entries: dict[str, Any]) -> None:
    """All crystals that meet the conditions are listed; each of their parts is asked what may follow."""
    sites, most = SMALL[name]
    unit = sum(entries.get("composition", {0: 1}).values())
    fitting = {"n_atoms": min(entries["n_atoms"], most // unit * unit)} if "n_atoms" in entries else {}
    conditions = Conditions(max_atoms=most, **{**entries, **fitting})
    reach = Reachability(SiteTables([sites]), conditions)
    crystals = list(all_crystals(sites, conditions))
    assert bool(reach.possible(np.array([0]))[0]) == bool(crystals)
    truth = what_leads_on(crystals)
    complete = set(crystals)
    parts = list(truth)[:3000]
    if not parts:
        return
    state = states_of(reach, parts)
    allowed, elements, ends = reach.allowed(state), reach.elements(state), reach.may_stop(state)
    expected = np.zeros_like(allowed)
    for row, part in enumerate(parts):
        for orbit in truth[part]:
            expected[row, orbit[0], orbit[1]] = True
    np.testing.assert_array_equal(allowed, expected)
    np.testing.assert_array_equal(elements[:, 1:], expected[:, 1:].any(axis=2))
    np.testing.assert_array_equal(ends, [part in complete for part in parts])
    np.testing.assert_array_equal(elements[:, 0], ends)
    assert (allowed.any(axis=(1, 2)) | ends).all(), "a dead end"
    for element in (1, 8):
        asked = np.full(len(parts), element)
        np.testing.assert_array_equal(reach.positions(state, asked), expected[:, element])


@pytest.mark.parametrize("entries", [CONDITIONS[1], CONDITIONS[6]], ids=str)
def test_the_enumeration_notices_a_mask_that_is_too_wide_or_too_narrow(
    entries: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = SMALL["coins that leave gaps"][0]
    conditions = Conditions(max_atoms=11, **entries)
    truth = what_leads_on(list(all_crystals(sites, conditions)))
    for change in (1, -1):
        reach = Reachability(SiteTables([sites]), conditions)
        monkeypatch.setattr(reach.sites, "multiplicity", reach.sites.multiplicity + change)
        allowed = reach.allowed(states_of(reach, list(truth)))
        right = [
            set(zip(*np.nonzero(row), strict=True)) == truth[part] for row, part in zip(allowed, truth, strict=True)
        ]
        assert not all(right)


def test_states_grow_one_orbit_at_a_time_or_all_at_once() -> None:
    reach = reachability(Conditions(required=(1, 8)))
    groups = np.array([221, 62])
    state = reach.start(groups)
    state = reach.plus(state, np.array([8, 1]), np.array([0, 2]))
    state = reach.plus(state, np.array([26, 1]), np.array([2, 0]))
    owners, elements, places = np.array([0, 1, 1, 0]), np.array([8, 1, 1, 26]), np.array([0, 0, 2, 2])
    for one, other in zip(state, reach.holding(reach.start(groups), owners, elements, places), strict=True):
        np.testing.assert_array_equal(one, other)
    assert state.n_atoms.tolist() == [1 + 3, 4 + 4]
    assert state.counts.tolist() == [[0, 1], [8, 0]]
    assert reach.missing(state).tolist() == [[True, False], [False, True]]
    with pytest.raises(InputError, match="occupied already"):
        reach.plus(state, np.array([1, 1]), np.array([0, 3]))


def test_a_crystal_may_end_only_where_it_meets_everything() -> None:
    reach = Reachability(SiteTables([SMALL["points and a free position"][0]]), Conditions(composition={1: 2, 8: 1}))
    empty = reach.start(np.array([0]))
    water = reach.plus(empty, np.array([8]), np.array([0]))
    assert not reach.may_stop(empty)
    assert not reach.may_stop(water)
    assert reach.may_stop(reach.plus(water, np.array([1]), np.array([1])))


def test_a_group_that_cannot_hold_a_composition_says_so() -> None:
    """Fm-3m has no position of fewer than four atoms: Z = 1 of anything does not fit."""
    groups = np.array([225])
    assert reachability(Conditions(composition={20: 1, 9: 2})).possible(groups)
    assert not reachability(Conditions(composition={20: 1, 9: 2}, n_atoms=3)).possible(groups)
    assert not reachability(Conditions(composition={20: 1, 9: 5}, max_atoms=24)).possible(groups)


def test_many_elements_in_all_groups_take_no_time_to_speak_of() -> None:
    """Ten elements alike in 120 atoms: the number of ways to count their atoms alone is some 10¹¹."""
    reach = reachability(Conditions(composition=dict.fromkeys(range(21, 31), 1)))
    groups = np.arange(1, 231)
    possible = reach.possible(groups)
    assert possible[0]
    assert not possible[229], "Ia-3d has no ten positions of equal multiplicity within 120 atoms"
    state = reach.start(groups[possible])
    for element in range(21, 31):
        places = reach.positions(state, np.full(len(state.kinds), element))
        assert places.any(axis=1).all()
        state = reach.plus(state, np.full(len(state.kinds), element), places.argmax(axis=1))


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
