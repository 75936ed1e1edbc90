"""What the Wyckoff transformer learns from: random parts of crystals, and what may come next."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from atomsym.generators.batch import ProtostructureBatch
from atomsym.generators.wyformer.network import Known, OrbitNetwork
from atomsym.generators.wyformer.vocabulary import N_ELEMENTS, STOP

FOLLOWERS = 2
"""How many of the orbits that are left are asked for their positions at once."""


class Entropies(NamedTuple):
    """Cross-entropies of each crystal after its drawn part, in nats, shape (n,); the loss is n_choices times their sum.

    Attributes:
        element: of the distribution of the elements that are left, or of ``STOP``.
        site, enumeration: mean over some of the orbits that are left, 0 if there is none.
        n_choices: number of parts that could have been drawn: orbits + 1.
    """

    element: Tensor
    site: Tensor
    enumeration: Tensor
    n_choices: Tensor

    @property
    def bound(self) -> Tensor:
        """An unbiased draw of a bound of -log p(crystal | group), shape (n,)."""
        return (self.element + self.site + self.enumeration) * self.n_choices


def orbit_entropies(
    network: OrbitNetwork, crystals: ProtostructureBatch, properties: Tensor, generator: torch.Generator
) -> Entropies:
    """Cross-entropies of the next orbit after a random part of each crystal.

    With a random order σ of the orbits and a number k of known ones, drawn evenly from 0 to N,

        -log p(crystal) <= E_σ Σ_k -log p(σ_k+1 | σ_1 … σ_k) = (N + 1) E_σ E_k [...],

    where orbit N + 1 is the end. For the element the target is the distribution over all orbits that are left, so that
    no order is learned; site symmetry and enumeration are averaged over up to ``FOLLOWERS`` of them.

    Args:
        network: with dropout if it is in training mode.
        crystals: complete ones.
        properties: see ``OrbitNetwork.encode``.
        generator: of orders and cuts, on the CPU.

    Source: Kazeev et al. 2025 (soft targets); Uria et al. 2014 and Hoogeboom et al. 2022 (arXiv 2110.02037), the bound.
    """
    device = crystals.groups.device
    n, most = crystals.elements.shape
    sizes = crystals.present.sum(dim=1)
    keys = torch.rand(n, most, generator=generator).to(device).masked_fill(~crystals.present, 2.0)
    order = keys.argsort(dim=1)
    cut = (torch.rand(n, generator=generator, dtype=torch.float64).to(device) * (sizes + 1)).long()
    elements, positions = crystals.elements.gather(1, order), crystals.positions.gather(1, order)
    place = torch.arange(most, device=device)
    is_known = place < cut.unsqueeze(1)
    longest = int(cut.max())
    known = network.encode(
        crystals.groups,
        torch.where(is_known, elements, 0)[:, :longest],
        torch.where(is_known, positions, -1)[:, :longest],
        properties,
    )
    left = ~is_known & (positions >= 0)
    # the orbits that are left are in random order: the first of them are a fair draw
    following = (cut.unsqueeze(1) + torch.arange(FOLLOWERS, device=device)).clamp(max=most - 1)
    asked = (cut.unsqueeze(1) + torch.arange(FOLLOWERS, device=device)) < sizes.unsqueeze(1)
    chosen = torch.where(asked, elements.gather(1, following), -1)
    places = positions.gather(1, following).clamp(min=0)
    sites = network.site_of[crystals.groups.unsqueeze(1), places]
    enumerations = network.enumeration_of[crystals.groups.unsqueeze(1), places]
    unknown = torch.full_like(chosen, -1)
    states = network.ask(
        known, torch.cat((unknown[:, :1], chosen, chosen), dim=1), torch.cat((unknown[:, :1], unknown, sites), dim=1)
    )
    by_part = states.split((1, FOLLOWERS, FOLLOWERS), dim=1)
    site = _mean_entropy(network.site_logits(by_part[1], known), sites, asked)
    enumeration = _mean_entropy(network.enumeration_logits(by_part[2], known, sites), enumerations, asked)
    return Entropies(_element_entropy(network, by_part[0], known, elements, left), site, enumeration, sizes + 1)


def _element_entropy(network: OrbitNetwork, states: Tensor, known: Known, elements: Tensor, left: Tensor) -> Tensor:
    logits = network.element_logits(states, known).squeeze(1)
    target = torch.zeros(len(logits), N_ELEMENTS, dtype=logits.dtype, device=logits.device)
    target.scatter_add_(1, elements, left.to(logits.dtype))
    target[:, STOP] = (~left.any(dim=1)).to(logits.dtype)
    return cross_entropy(logits, target / target.sum(dim=1, keepdim=True), reduction="none")


def _mean_entropy(logits: Tensor, target: Tensor, asked: Tensor) -> Tensor:
    """Over the queries that are asked, shape (n,)."""
    values = cross_entropy(logits.transpose(1, 2), target, reduction="none")
    return torch.where(asked, values, 0.0).sum(dim=1) / asked.sum(dim=1).clamp(min=1)
