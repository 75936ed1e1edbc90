"""The Wyckoff transformer: a function of the set of orbits, trained on all orders alike, sampled within conditions."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
import torch
from wyckoff_examples import KINDS, vocabulary

from atomsym.core import ConfigError, InputError
from atomsym.generators.conditions import Conditions
from atomsym.generators.wyformer import (
    Orbits,
    Query,
    WyFormer,
    WyFormerConfig,
    masked_orbit_loss,
    orbits_of,
    sample_orbits,
    standard_vocabulary,
)

VOCABULARY = vocabulary()
CRYSTALS = [(3, [8, 22, 8], [0, 3, 4]), (4, [11], [1]), (5, [17, 19, 17, 26], [3, 0, 4, 1]), (6, [8, 8], [3, 3])]


def model(seed: int = 0, **changes: object) -> WyFormer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return WyFormer(WyFormerConfig(**{"dropout": 0.0, **changes}), VOCABULARY).double().eval()


def logits(network: WyFormer, orbits: Orbits, query: Query) -> list[torch.Tensor]:
    states = network(orbits, query)
    return [
        network.element_logits(states, orbits),
        network.site_logits(states, orbits),
        network.enumeration_logits(states, orbits),
    ]


def test_the_default_is_the_published_base_generator() -> None:
    config = WyFormerConfig()
    assert (config.channels, config.layers, config.heads, config.hidden) == (40, 3, 4, 128)
    assert 80_000 < sum(weight.numel() for weight in model().parameters()) < 200_000


def test_logits_do_not_depend_on_the_order_of_the_orbits_nor_on_padding_or_batch() -> None:
    network, query = model(), Query(torch.tensor([-1, 8, 17, -1]), torch.tensor([-1, -1, 2, -1]))
    together = logits(network, orbits_of(CRYSTALS, VOCABULARY), query)
    turned = [(g, e[::-1], p[::-1]) for g, e, p in CRYSTALS]
    for found, expected in zip(logits(network, orbits_of(turned, VOCABULARY), query), together, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for row, crystal in enumerate(CRYSTALS):
        alone = Query(*(part[row : row + 1] for part in query))
        for found, expected in zip(logits(network, orbits_of([crystal], VOCABULARY), alone), together, strict=True):
            torch.testing.assert_close(found[0], expected[row], rtol=0, atol=1e-12)


def test_logits_see_group_orbits_and_query() -> None:
    """What the invariance test would also pass without: every input matters."""
    network = model()
    base = (3, [8, 22], [0, 3])
    query = Query(torch.tensor([8]), torch.tensor([-1]))

    def state(crystal: tuple[int, list[int], list[int]], asked: Query = query) -> torch.Tensor:
        return network(orbits_of([crystal], VOCABULARY), asked)

    reference = state(base)
    for other in (
        (6, [8, 22], [0, 3]),
        (3, [8, 23], [0, 3]),
        (3, [8, 22], [0, 4]),
        (3, [8, 22], [1, 3]),
        (3, [8], [0]),
    ):
        assert (state(other) - reference).abs().max() > 1e-4
    assert (state(base, Query(torch.tensor([9]), torch.tensor([-1]))) - reference).abs().max() > 1e-4
    assert (state(base, Query(torch.tensor([8]), torch.tensor([2]))) - reference).abs().max() > 1e-4


def test_the_loss_is_the_entropy_of_what_is_left() -> None:
    """With flat logits: the soft target of elements costs log 119, the others log of their classes."""
    network = model()
    for head in network.heads:
        torch.nn.init.zeros_(head[-1].weight)
        torch.nn.init.zeros_(head[-1].bias)
    generator = torch.Generator().manual_seed(1)
    crystals = orbits_of(CRYSTALS * 200, VOCABULARY)
    losses = masked_orbit_loss(network, crystals, generator)
    expected = [math.log(size) for size in network.sizes]
    assert losses.counts.sum() == 800
    assert (losses.counts > 200).all()
    np.testing.assert_allclose((losses.parts / losses.counts).numpy(), expected, rtol=1e-12)


def test_training_finds_the_distribution_of_a_tiny_world() -> None:
    """Two kinds of crystal, three to one: sampled ones come out three to one, and no others."""
    world = [(3, [8, 22], [3, 0])] * 3 + [(3, [9, 11], [0, 1])]
    network = model(dropout=0.0).float().train()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    crystals = orbits_of(world * 16, VOCABULARY)
    for _ in range(300):
        optimizer.zero_grad()
        masked_orbit_loss(network, crystals, generator).total.backward()
        optimizer.step()
    found = sample_orbits(network.eval(), [3] * 400, generator=generator)
    kinds = Counter(tuple(sorted(zip(c.elements, c.positions, strict=True))) for c in found)
    first, second = kinds[((8, 3), (22, 0))], kinds[((9, 0), (11, 1))]
    assert first + second > 380
    assert first / (first + second) == pytest.approx(0.75, abs=0.1)


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(max_atoms=30),
        Conditions(elements=(8, 22, 56), max_atoms=40),
        Conditions.of_system(8, 22),
        Conditions(composition={22: 1, 8: 2}, max_atoms=24),
        Conditions(excluded=tuple(range(1, 100)), n_atoms=12),
    ],
    ids=str,
)
def test_an_untrained_model_already_keeps_every_condition(conditions: Conditions) -> None:
    groups = [1 + k % 30 for k in range(90)]
    groups = [g for g in groups if conditions.composition is None or g % 3 != 1]
    found = sample_orbits(model(), groups, conditions=conditions, generator=torch.Generator().manual_seed(3))
    assert [crystal.group for crystal in found] == groups
    for crystal in found:
        kind = KINDS[crystal.group % 3]
        counts: Counter[int] = Counter()
        points = [p for p in crystal.positions if not kind[p][1]]
        for element, position in zip(crystal.elements, crystal.positions, strict=True):
            counts[element] += kind[position][0]
        assert len(set(points)) == len(points)
        assert 0 < sum(counts.values()) <= conditions.most_atoms
        assert set(counts) <= set(conditions.allowed)
        assert set(conditions.required) <= set(counts)
        assert not conditions.n_atoms or sum(counts.values()) == conditions.n_atoms
        if conditions.composition is not None:
            assert len({counts[z] / n for z, n in conditions.composition.items()}) == 1
        assert crystal.log_likelihood < 0


def test_tokens_of_the_real_groups() -> None:
    """78 site symmetries and at most 8 positions alike: the facts that the tokens rest on."""
    words = standard_vocabulary()
    assert (words.n_sites, words.n_enumerations, words.multiplicity.max()) == (78, 8, 192)
    assert words.site_symmetry[216, 0] == words.site_symmetry[225, 2]  # -43m
    network = WyFormer(WyFormerConfig(), words).eval()
    conditions = Conditions.of_system(8, 22, 56, max_atoms=60)
    groups = [1, 2, 14, 62, 123, 139, 166, 194, 221, 225, 227] * 3
    found = sample_orbits(network, groups, conditions=conditions, generator=torch.Generator().manual_seed(0))
    assert {frozenset(crystal.elements) for crystal in found} == {frozenset({8, 22, 56})}


def test_the_same_seed_gives_the_same_crystals() -> None:
    first, second = (
        sample_orbits(model(), [5, 6, 7] * 5, generator=torch.Generator().manual_seed(11), batch=4) for _ in range(2)
    )
    assert first == second
    assert first != sample_orbits(model(), [5, 6, 7] * 5, generator=torch.Generator().manual_seed(12), batch=4)


def test_wrong_use_is_named() -> None:
    network, generator = model(), torch.Generator()
    with pytest.raises(InputError, match="no space group 231"):
        sample_orbits(network, [231], generator=generator)
    with pytest.raises(ConfigError, match="temperature must be positive"):
        sample_orbits(network, [3], generator=generator, temperature=0)
    with pytest.raises(ConfigError, match="space groups 4, 5 meets"):
        sample_orbits(
            network, [3, 4, 5], conditions=Conditions(composition={8: 1, 22: 1}, n_atoms=2), generator=generator
        )
    with pytest.raises(InputError, match="training mode"):
        sample_orbits(model().train(), [3], generator=generator)
    with pytest.raises(ConfigError, match="do not divide"):
        WyFormerConfig(heads=7)
    with pytest.raises(InputError, match="no position with site symmetry"):
        VOCABULARY.position(1, 4, 0)
    with pytest.raises(InputError, match="tokens of their own"):
        dataclasses.replace(VOCABULARY, enumeration=np.zeros_like(VOCABULARY.enumeration))
    with pytest.raises(InputError, match="group 4 has no position 3"):
        orbits_of([(4, [8], [3])], VOCABULARY)


def test_tokens_name_positions() -> None:
    for group in (3, 4, 5):
        for position in range(len(KINDS[group % 3])):
            token = VOCABULARY.site_symmetry[group, position], VOCABULARY.enumeration[group, position]
            assert VOCABULARY.position(group, *map(int, token)) == position
