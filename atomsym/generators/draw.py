"""Different protostructures from a generator, as many as were asked for where there are so many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from atomsym.generators.conditions import Conditions
from atomsym.generators.generated import GeneratedProtostructure
from atomsym.generators.generator import ProtostructureGenerator
from atomsym.generators.realisation import is_degenerate
from atomsym.symmetry.wyckoff import Protostructure, canonical

DRAWS_FOR_EACH = 30
"""Draws at most, for each crystal that is wanted, before it is said that there are no more."""
_LEAST, _MOST = 32, 2048  # draws of a round


@dataclass(frozen=True)
class Drawn:
    """What came of it.

    Attributes:
        found: different protostructures that crystals can have, in canonical form, in the order of their draws.
        n_drawn: all draws.
        n_repeated: draws of what was found already.
        n_degenerate: draws of what no crystal has.
    """

    found: tuple[GeneratedProtostructure, ...]
    n_drawn: int
    n_repeated: int
    n_degenerate: int


def draw_different(
    model: ProtostructureGenerator,
    n: int,
    *,
    conditions: Conditions,
    space_groups: tuple[int, ...] = (),
    temperature: float = 1.0,
    targets: Mapping[str, float] | None = None,
    guidance: float = 1.0,
    seed: int = 0,
    progress: Callable[[int], None] = lambda found: None,
    should_stop: Callable[[], object] = lambda: False,
) -> Drawn:
    """Draw until there are enough different protostructures.

    Args:
        model: in evaluation mode.
        n: how many are wanted.
        conditions, space_groups, temperature, targets, guidance: see ``ProtostructureGenerator.sample``.
        seed: the same seed gives the same result.
        progress: is told how many have been found.
        should_stop: asked between rounds.

    Raises:
        InputError, ConfigError: as ``ProtostructureGenerator.sample``.
    """
    random, numbers = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    known: dict[Protostructure, GeneratedProtostructure | None] = {}  # None: no crystal has it
    n_drawn = n_repeated = n_degenerate = n_found = 0
    while n_found < n and n_drawn < DRAWS_FOR_EACH * n + _LEAST and not should_stop():
        size = min(max(round(1.2 * (n - n_found)), _LEAST), _MOST)
        drawn = model.sample(
            size, generator=random, conditions=conditions, space_groups=space_groups, temperature=temperature,
            targets=targets, guidance=guidance,
        )  # fmt: skip
        n_drawn += size
        for each in drawn:
            form = canonical(each.protostructure)
            if form in known:
                n_repeated += 1
            elif n_found < n:
                degenerate = is_degenerate(form, generator=numbers)
                known[form] = None if degenerate else replace(each, protostructure=form)
                n_degenerate += degenerate
                n_found += not degenerate
        progress(n_found)
    return Drawn(tuple(each for each in known.values() if each), n_drawn, n_repeated, n_degenerate)
