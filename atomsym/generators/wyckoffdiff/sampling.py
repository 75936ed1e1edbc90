"""Crystals from noise, within hard conditions."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from atomsym.generators.conditions import Conditions
from atomsym.generators.reachability import reachability
from atomsym.generators.wyckoffdiff.limits import Clean, Limits
from atomsym.generators.wyckoffdiff.noise import draw, draw_growth, leaving_rate, step_back
from atomsym.generators.wyckoffdiff.occupations import Layout, Occupations, layout_of, protostructures_of
from atomsym.symmetry.wyckoff import Protostructure

if TYPE_CHECKING:
    from atomsym.generators.wyckoffdiff.model import WyckoffDiff


class DrawnProtostructure(NamedTuple):
    """What was drawn, and how its conditions were met; see ``GeneratedProtostructure``."""

    protostructure: Protostructure
    forced_orbits: int
    redraws: int


def draw_protostructures(
    model: WyckoffDiff, groups: Tensor, conditions: Conditions, temperature: float, generator: torch.Generator
) -> list[DrawnProtostructure]:
    """One crystal for each of the space groups.

    Three things keep the conditions. At every noise level states are closed that no crystal may have: other elements,
    orbits of too many atoms. With the prior ``zeros`` orbits are only ever added, and one after which the crystal could
    not be finished is refused at once; with the other priors this is done at the last level, when a crystal is there.
    Crystals that still lack something (an element, atoms, or everything) are drawn anew, ``redraws`` times, and then
    orbits are added to them by the odds of the model, among those that lead on, until the conditions are met.

    Args:
        model: in evaluation mode.
        groups: space-group numbers that can meet the conditions, shape (n,).
        conditions: on elements that the model knows.
        temperature: of the distributions of clean states.
        generator: of the draws, on the CPU.
    """
    config, reach = model.config, reachability(conditions)
    found: dict[int, DrawnProtostructure] = {}
    pending = torch.arange(len(groups), device=groups.device)
    for attempt in range(config.redraws + 1):
        layout = layout_of(groups[pending])
        limits = Limits(layout, conditions, reach, config.max_element, config.max_count)
        occupations, clean = _from_noise(model, layout, limits, temperature, generator)
        forced = torch.zeros_like(pending)
        if attempt == config.redraws:
            occupations, forced = limits.finish(occupations, clean, generator)
        met = limits.met(occupations)
        crystals = protostructures_of(occupations, layout)
        drawn = zip(pending.tolist(), met.tolist(), crystals, forced.tolist(), strict=True)
        found |= {
            row: DrawnProtostructure(crystal, n_forced, attempt)
            for row, is_met, crystal, n_forced in drawn
            if is_met and crystal is not None
        }
        pending = pending[~met]
        if not len(pending):
            break
    return [found[row] for row in range(len(groups))]


def _from_noise(
    model: WyckoffDiff, layout: Layout, limits: Limits, temperature: float, generator: torch.Generator
) -> tuple[Occupations, Clean]:
    """Clean occupations that can be finished, and what the model expected of them at the last level."""
    config, columns, n = model.config, limits.columns, len(layout.groups)
    priors = model.priors()
    kept_all = model.kept.to(priors[0].dtype)
    is_growing = config.prior == "zeros"
    empty = Occupations(
        layout.points.new_zeros(len(layout.points)), layout.free.new_zeros(len(layout.free), config.max_element)
    )

    def with_all_elements(points: Tensor, counts: Tensor) -> Occupations:
        full = empty.counts.clone()
        full[:, columns] = counts
        return Occupations(points, full)

    def drawn(points: Tensor, counts: Tensor) -> Occupations:
        """From weights of all states, of which only the open ones count."""
        return with_all_elements(draw(points * limits.points, generator), draw(counts * limits.counts, generator))

    occupations = empty if is_growing else drawn(*priors)
    times = torch.linspace(config.steps, 0, (config.sampling_steps or config.steps) + 1).round().long().tolist()
    for level, below in pairwise(times):
        logits = model.logits(layout, occupations, torch.full((n,), level, device=layout.groups.device))
        clean = limits.clean(logits, temperature)
        before, after = kept_all[[below, level]].unsqueeze(1)
        counts = occupations.counts[:, columns]
        if is_growing:
            rate = leaving_rate(before, after)
            grown = with_all_elements(
                draw_growth(clean.points, occupations.points, rate, generator),
                draw_growth(clean.counts, counts, rate, generator),
            )
            occupations = limits.admit(occupations, grown, generator)
        else:
            occupations = drawn(
                step_back(clean.points, occupations.points, before, after, priors[0]),
                step_back(clean.counts, counts, before, after, priors[1]),
            )
    return occupations if is_growing else limits.admit(empty, occupations, generator), clean
