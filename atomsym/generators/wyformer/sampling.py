"""Crystals from a Wyckoff transformer, one orbit after the other, within hard conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.core import ConfigError, InputError
from atomsym.generators.conditions import Conditions
from atomsym.generators.reachability import Reachability, Unfinished
from atomsym.generators.wyformer.network import Orbits, Query, WyFormer
from atomsym.generators.wyformer.vocabulary import STOP, Vocabulary


@dataclass
class OrbitList:
    """A space group and its occupied positions.

    Attributes:
        group: space-group number.
        elements: atomic number of each orbit.
        positions: index of its Wyckoff position in the table of the group.
        log_likelihood: of the draws that made it, under the conditions, in nats.
    """

    group: int
    elements: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    log_likelihood: float = 0.0


def sample_orbits(
    model: WyFormer,
    groups: Sequence[int],
    *,
    conditions: Conditions | None = None,
    generator: torch.Generator,
    temperature: float = 1.0,
    batch: int = 512,
    on_progress: Callable[[int], None] | None = None,
) -> list[OrbitList]:
    """One crystal for each of the space groups.

    What would lead to a crystal that cannot be finished within the conditions is never drawn, so that every result
    meets them.

    Args:
        model: in evaluation mode.
        groups: space-group numbers, one a crystal.
        conditions: default: at most ``MAX_ATOMS`` atoms.
        generator: of the draws, on the CPU.
        temperature: of all three heads, > 0.
        batch: crystals at a time.
        on_progress: is told how many crystals are done.

    Raises:
        InputError: if a space-group number is not 1 to 230, or the model is in training mode.
        ConfigError: if the temperature is not positive, or a group cannot meet the conditions.
    """
    wanted = conditions or Conditions()
    if temperature <= 0:
        raise ConfigError(f"the temperature must be positive; found {temperature}")
    if model.training:
        raise InputError("the model is in training mode: its dropout would spoil the samples; call model.eval()")
    reach = reachable_groups(model.vocabulary, groups, wanted)
    impossible = sorted({group for group in groups if not reach[group].possible()})
    if impossible:
        raise ConfigError(f"no crystal of the space groups {', '.join(map(str, impossible))} meets the conditions")
    found: list[OrbitList] = []
    for start in range(0, len(groups), batch):
        part = [OrbitList(int(group)) for group in groups[start : start + batch]]
        _complete(model, part, reach, generator, temperature)
        found += part
        if on_progress is not None:
            on_progress(len(found))
    return found


def reachable_groups(vocabulary: Vocabulary, groups: Sequence[int], conditions: Conditions) -> dict[int, Reachability]:
    """What can be finished in each of these groups.

    Raises:
        InputError: if a space-group number is not 1 to 230.
    """
    for group in groups:
        if not 1 <= group <= 230:
            raise InputError(f"there is no space group {group}; they are 1 to 230")
    return {group: Reachability(vocabulary.sites(group), conditions) for group in sorted(set(groups))}


def _complete(
    model: WyFormer,
    crystals: list[OrbitList],
    reach: dict[int, Reachability],
    generator: torch.Generator,
    temperature: float,
) -> None:
    """Add orbits to all crystals until each has been stopped."""
    states = [Unfinished() for _ in crystals]
    active = list(range(len(crystals)))
    vocabulary = model.vocabulary
    draw = _Draw(generator, temperature)
    with torch.no_grad():
        while active:
            running = [crystals[index] for index in active]
            allowed = [reach[crystals[index].group].allowed(states[index]) for index in active]
            orbits = _as_orbits(running, vocabulary, next(model.parameters()).device)
            unknown = torch.full((len(active),), -1, dtype=torch.int64, device=orbits.groups.device)
            # which element, or the end
            mask = np.stack([each.any(axis=1) for each in allowed])
            mask[:, STOP] = [reach[crystals[index].group].may_stop(states[index]) for index in active]
            logits = model.element_logits(model(orbits, Query(unknown, unknown)), orbits)
            elements = draw(logits, mask, running)
            going = np.flatnonzero(elements != STOP)
            if not len(going):
                return
            active = [active[row] for row in going]
            running, allowed = [running[row] for row in going], [allowed[row] for row in going]
            chosen = elements[going]
            rows = torch.from_numpy(going).to(orbits.groups.device)
            orbits = Orbits(*(values[rows] for values in orbits))
            query = Query(torch.from_numpy(chosen).to(rows.device), unknown[rows])
            # which site symmetry, then which position of it
            positions = [each[element] for each, element in zip(allowed, chosen, strict=True)]
            site_of = [vocabulary.site_symmetry[c.group][: len(p)] for c, p in zip(running, positions, strict=True)]
            mask = _mask([site[p] for site, p in zip(site_of, positions, strict=True)], vocabulary.n_sites)
            sites = draw(model.site_logits(model(orbits, query), orbits), mask, running)
            positions = [p & (site == s) for p, site, s in zip(positions, site_of, sites, strict=True)]
            number_of = [vocabulary.enumeration[c.group][: len(p)] for c, p in zip(running, positions, strict=True)]
            mask = _mask([n[p] for n, p in zip(number_of, positions, strict=True)], vocabulary.n_enumerations)
            query = query._replace(sites=torch.from_numpy(sites).to(rows.device))
            numbers = draw(model.enumeration_logits(model(orbits, query), orbits), mask, running)
            for row, index in enumerate(active):
                position = int(np.flatnonzero(positions[row] & (number_of[row] == numbers[row]))[0])
                element = int(chosen[row])
                crystals[index].elements.append(element)
                crystals[index].positions.append(position)
                states[index] = states[index].plus(element, position, reach[crystals[index].group].sites)


@dataclass
class _Draw:
    """Draws from masked logits, and keeps count of their likelihood."""

    generator: torch.Generator
    temperature: float

    def __call__(self, logits: Tensor, mask: NDArray[np.bool_], crystals: list[OrbitList]) -> NDArray[np.int64]:
        closed = ~torch.from_numpy(mask)
        scores = (logits.detach().to("cpu", torch.float64) / self.temperature).masked_fill(closed, -torch.inf)
        log_p = scores.log_softmax(dim=1)
        drawn = torch.multinomial(log_p.exp(), 1, generator=self.generator)
        for crystal, value in zip(crystals, log_p.gather(1, drawn).squeeze(1).tolist(), strict=True):
            crystal.log_likelihood += value
        return np.asarray(drawn.squeeze(1).numpy(), dtype=np.int64)


def _mask(indices: list[NDArray[np.int64]], size: int) -> NDArray[np.bool_]:
    mask = np.zeros((len(indices), size), dtype=bool)
    for row, each in enumerate(indices):
        mask[row, each] = True
    return mask


def _as_orbits(crystals: Sequence[OrbitList], vocabulary: Vocabulary, device: torch.device) -> Orbits:
    return orbits_of([(c.group, c.elements, c.positions) for c in crystals], vocabulary, device)


def orbits_of(
    crystals: Sequence[tuple[int, Sequence[int], Sequence[int]]],
    vocabulary: Vocabulary,
    device: torch.device | str = "cpu",
) -> Orbits:
    """Tokens of crystals: (space group, atomic numbers, indices of positions) each.

    Raises:
        InputError: if a group has no such position.
    """
    for group, _, places in crystals:
        beyond = [place for place in places if not 0 <= place < vocabulary.n_positions[group]]
        if beyond:
            raise InputError(f"group {group} has no position {beyond[0]}, only {vocabulary.n_positions[group]}")
    most = max((len(elements) for _, elements, _ in crystals), default=0)
    groups = np.array([group for group, _, _ in crystals], dtype=np.int64)
    elements = np.full((len(crystals), most), -1, dtype=np.int64)
    positions = np.full((len(crystals), most), -1, dtype=np.int64)
    for row, (_, numbers, places) in enumerate(crystals):
        elements[row, : len(numbers)] = numbers
        positions[row, : len(places)] = places
    present = positions >= 0
    where = (groups[:, None], np.where(present, positions, 0))
    sites = np.where(present, vocabulary.site_symmetry[where], -1)
    enumerations = np.where(present, vocabulary.enumeration[where], -1)
    arrays = (groups, elements, sites, enumerations, present)
    return Orbits(*(torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays))
