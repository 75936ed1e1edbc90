"""What the Wyckoff transformer learns from: random parts of crystals, and what may come next."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from atomsym.generators.wyformer.network import Orbits, Query, WyFormer
from atomsym.generators.wyformer.vocabulary import N_ELEMENTS, STOP

PARTS = ("element", "site", "enumeration")


class Losses(NamedTuple):
    """Cross-entropies of a batch, in nats.

    Attributes:
        total: mean over the crystals, each asked about one part.
        parts: sum over the crystals asked about each part, shape (3,), detached.
        counts: how many crystals were asked about each, shape (3,).
    """

    total: Tensor
    parts: Tensor
    counts: Tensor


def masked_orbit_loss(model: WyFormer, crystals: Orbits, generator: torch.Generator) -> Losses:
    """Cross-entropy of one part of the next orbit after a random subset of each crystal's orbits.

    The subset is the beginning of a random permutation, cut anywhere. Of the element the target is the distribution
    over all orbits that are left, so that no order is learned, or ``STOP`` if none is left. Site symmetry and
    enumeration are those of one orbit that is left.

    Args:
        model: the network.
        crystals: complete ones; each has an orbit.
        generator: of permutations, cuts and parts, on the CPU.
    """
    device = crystals.groups.device
    n, most = crystals.elements.shape
    sizes = crystals.present.sum(dim=1)
    part = torch.randint(3, (n,), generator=generator).to(device)
    keys = torch.rand(n, most, generator=generator).to(device).masked_fill(~crystals.present, 2.0)
    order = keys.argsort(dim=1)
    # the element is asked for after any number of orbits, also all; the rest only where an orbit is left
    choices = sizes + (part == 0).to(sizes.dtype)
    cut = (torch.rand(n, generator=generator, dtype=torch.float64).to(device) * choices).long()
    elements, sites, enumerations, present = (field.gather(1, order) for field in crystals[1:])
    shuffled = Orbits(crystals.groups, elements, sites, enumerations, present)
    place = torch.arange(most, device=device).expand(n, most)
    known = shuffled._replace(present=shuffled.present & (place < cut.unsqueeze(1)))
    following = cut.clamp(max=most - 1).unsqueeze(1)
    element, site, enumeration = (field.gather(1, following).squeeze(1) for field in shuffled[1:4])
    unknown = torch.full_like(element, -1)
    query = Query(torch.where(part == 0, unknown, element), torch.where(part == 2, site, unknown))
    states = model(known, query)
    values = torch.zeros(n, dtype=states.dtype, device=device)
    for kind in range(3):
        rows = (part == kind).nonzero().squeeze(1)
        if len(rows):
            values = values.index_put(
                (rows,), _entropy(model, kind, rows, states, known, shuffled, (site, enumeration))
            )
    parts = torch.zeros(3, dtype=values.dtype, device=device).index_add(0, part, values.detach())
    return Losses(values.mean(), parts, torch.bincount(part, minlength=3))


def _entropy(
    model: WyFormer,
    kind: int,
    rows: Tensor,
    states: Tensor,
    known: Orbits,
    crystals: Orbits,
    following: tuple[Tensor, Tensor],
) -> Tensor:
    seen = Orbits(*(field[rows] for field in known))
    if kind:
        logits = (model.site_logits, model.enumeration_logits)[kind - 1](states[rows], seen)
        return torch.nn.functional.cross_entropy(logits, following[kind - 1][rows], reduction="none")
    logits = model.element_logits(states[rows], seen)
    left = crystals.present[rows] & ~seen.present
    target = torch.zeros(len(rows), N_ELEMENTS, dtype=logits.dtype, device=logits.device)
    target.scatter_add_(1, crystals.elements[rows].clamp(min=0), left.to(logits.dtype))
    target[:, STOP] = (~left.any(dim=1)).to(logits.dtype)
    target = target / target.sum(dim=1, keepdim=True)
    return torch.nn.functional.cross_entropy(logits, target, reduction="none")
