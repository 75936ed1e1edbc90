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
LENGTHS = (1, 3, 6, 12)
"""Crystals with at most so many known orbits are worked on together."""


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
    shuffled = crystals._replace(
        elements=crystals.elements.gather(1, order), positions=crystals.positions.gather(1, order)
    )
    # crystals with few known orbits are most of them, and would be padded to the longest
    lengths = torch.bucketize(cut, torch.tensor(LENGTHS, device=device))
    rows = [own for own in (torch.nonzero(lengths == k).squeeze(1) for k in range(len(LENGTHS) + 1)) if len(own)]
    parts = [_entropies(network, shuffled.select(own), cut[own], properties[own]) for own in rows]
    back = torch.cat(rows).argsort()
    element, site, enumeration = (torch.cat(values)[back] for values in zip(*parts, strict=True))
    return Entropies(element, site, enumeration, sizes + 1)


def _entropies(
    network: OrbitNetwork, crystals: ProtostructureBatch, cut: Tensor, properties: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of crystals whose orbits are in random order and of which the first ``cut`` are known."""
    device = cut.device
    groups, elements, positions = crystals[:3]
    most, longest = elements.shape[1], int(cut.max())
    is_known = torch.arange(most, device=device) < cut.unsqueeze(1)
    known = network.encode(
        groups,
        torch.where(is_known, elements, 0)[:, :longest],
        torch.where(is_known, positions, -1)[:, :longest],
        properties,
    )
    left = ~is_known & crystals.present
    # the orbits that are left are in random order: the first of them are a fair draw
    next_ones = cut.unsqueeze(1) + torch.arange(FOLLOWERS, device=device)
    asked, following = next_ones < crystals.present.sum(dim=1, keepdim=True), next_ones.clamp(max=most - 1)
    chosen = torch.where(asked, elements.gather(1, following), -1)
    where = (groups.unsqueeze(1), positions.gather(1, following).clamp(min=0))
    sites, enumerations = network.site_of[where], network.enumeration_of[where]
    unknown = torch.full_like(chosen, -1)
    states = network.ask(
        known, torch.cat((unknown[:, :1], chosen, chosen), dim=1), torch.cat((unknown[:, :1], unknown, sites), dim=1)
    )
    by_part = states.split((1, FOLLOWERS, FOLLOWERS), dim=1)
    site = _mean_entropy(network.site_logits(by_part[1], known), sites, asked)
    enumeration = _mean_entropy(network.enumeration_logits(by_part[2], known, sites), enumerations, asked)
    return _element_entropy(network, by_part[0], known, elements, left), site, enumeration


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
