"""The Wyckoff transformer: a function of the set of orbits, trained on all orders alike, sampled within conditions."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch

from atomsym.artifacts import load_generator
from atomsym.core import ConfigError, InputError
from atomsym.generators import (
    Conditions,
    GeneratedProtostructure,
    ProtostructureBatch,
    batch_of,
    relabelled,
)
from atomsym.generators.generator import Pool
from atomsym.generators.reachability import reachability
from atomsym.generators.wyformer import WyFormer, WyFormerConfig, orbit_entropies, standard_vocabulary
from atomsym.generators.wyformer.candidates import Candidates
from atomsym.generators.wyformer.network import Known
from atomsym.generators.wyformer.weights import SPARE, Weights
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.symmetry.wyckoff.table import LETTERS
from atomsym.testing import tolerances

CRYSTALS = [
    Protostructure(225, ((11, "a"), (17, "b"))),
    Protostructure(136, ((22, "a"), (8, "f"))),
    Protostructure(62, ((20, "c"), (22, "a"), (8, "c"), (8, "d"))),
    Protostructure(1, ((14, "a"), (14, "a"), (6, "a"))),
]
SMALL = WyFormerConfig(element_channels=8, site_channels=4, enumeration_channels=4, layers=2, heads=2, hidden=16)
EXACT = 1e-12  # float64, sums of a few numbers of order 1


def model(seed: int = 0, **changes: object) -> WyFormer:
    values = {name: getattr(SMALL, name) for name in SMALL.__dataclass_fields__}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return WyFormer(WyFormerConfig(**{**values, "dropout": 0.0, **changes})).double().eval()  # type: ignore[arg-type]


def encoded(generator: WyFormer, batch: ProtostructureBatch, properties: torch.Tensor | None = None) -> Known:
    values = batch.properties if properties is None else properties
    return generator.network.encode(*batch[:3], values)


def logits(generator: WyFormer, batch: ProtostructureBatch) -> list[torch.Tensor]:
    network, known = generator.network, encoded(generator, batch)
    elements, sites = torch.full((len(batch.groups), 1), 8), network.site_of[batch.groups, 0].unsqueeze(1)
    unknown = torch.full_like(elements, -1)
    return [
        network.element_logits(network.ask(known, unknown, unknown), known),
        network.site_logits(network.ask(known, elements, unknown), known),
        network.enumeration_logits(network.ask(known, elements, sites), known, sites),
    ]


def test_the_default_has_the_size_of_the_published_base_generator() -> None:
    config = WyFormerConfig()
    assert (config.channels, config.layers, config.heads, config.hidden) == (40, 3, 4, 128)
    assert 100_000 < sum(weight.numel() for weight in WyFormer(config).parameters()) < 200_000


def test_logits_do_not_depend_on_the_order_of_the_orbits_nor_on_padding_or_batch() -> None:
    generator, batch = model(), batch_of(CRYSTALS)
    together = logits(generator, batch)
    turned = batch._replace(elements=batch.elements.flip(1), positions=batch.positions.flip(1))
    for found, expected in zip(logits(generator, turned), together, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=EXACT)
    for row, crystal in enumerate(CRYSTALS):
        for found, expected in zip(logits(generator, batch_of([crystal])), together, strict=True):
            torch.testing.assert_close(found[0], expected[row], rtol=0, atol=EXACT)


def test_a_query_is_not_seen_by_the_other_queries() -> None:
    generator, batch = model(), batch_of(CRYSTALS)
    known = encoded(generator, batch)
    elements, unknown = torch.tensor([[8, 11]] * 4), torch.full((4, 2), -1)
    both = generator.network.ask(known, elements, unknown)
    alone = generator.network.ask(known, elements[:, 1:], unknown[:, 1:])
    torch.testing.assert_close(both[:, 1:], alone, rtol=0, atol=EXACT)
    assert (both[:, 0] - both[:, 1]).abs().max() > 1e-4


def test_logits_see_group_orbits_and_query() -> None:
    """What the invariance test would also pass without: every input matters."""
    generator = model()

    def state(group: int, orbits: tuple[tuple[int, str], ...], element: int = 8, site: int = -1) -> torch.Tensor:
        known = encoded(generator, batch_of([Protostructure(group, orbits)]))
        return generator.network.ask(known, torch.tensor([[element]]), torch.tensor([[site]]))

    reference = state(47, ((8, "a"), (22, "i")))
    for other in (
        state(48, ((8, "a"), (22, "i"))),
        state(47, ((8, "a"), (23, "i"))),
        state(47, ((8, "a"), (22, "j"))),
        state(47, ((8, "b"), (22, "i"))),
        state(47, ((8, "a"),)),
        state(47, ((8, "a"), (22, "i")), element=9),
        state(47, ((8, "a"), (22, "i")), site=2),
    ):
        assert (other - reference).abs().max() > 1e-5


def test_only_positions_that_are_there_and_free_have_probability() -> None:
    """Of Fm-3m with a and b occupied: m-3m is closed, and no site symmetry of other groups is open."""
    words, generator = standard_vocabulary(), model()
    batch = batch_of([Protostructure(225, ((11, "a"), (17, "b"))), Protostructure(225, ((11, "a"),))])
    site = logits(generator, batch)[1].softmax(dim=-1)
    own = set(words.site_symmetry[225, : words.n_positions[225]].tolist())
    m3m = int(words.site_symmetry[225, 0])
    assert words.site_symmetry[225, 1] == m3m
    assert set(torch.nonzero(site[0, 0]).squeeze(1).tolist()) == own - {m3m}
    assert set(torch.nonzero(site[1, 0]).squeeze(1).tolist()) == own
    known = encoded(generator, batch)
    asked = torch.full((2, 1), m3m)
    states = generator.network.ask(known, torch.full((2, 1), 8), asked)
    numbers = generator.network.enumeration_logits(states, known, asked).softmax(dim=-1)
    assert numbers[1, 0].tolist() == [0.0, 1.0, *[0.0] * 6]


@torch.no_grad()
def exact_bound(generator: WyFormer, crystal: Protostructure) -> float:
    """The expectation that the loss draws from: over all orders, orbit after orbit, then the end."""
    network, words = generator.network, standard_vocabulary()
    group = torch.tensor([crystal.space_group])
    orbits = [(z, LETTERS.index(letter)) for z, letter in crystal.orbits]
    total, n_orders = 0.0, 0
    for order in itertools.permutations(orbits):
        n_orders += 1
        for count in range(len(order) + 1):
            elements, positions = (torch.tensor([[orbit[k] for orbit in order[:count]]]).long() for k in (0, 1))
            known = network.encode(group, elements, positions, torch.zeros(1, 0))
            unknown = torch.full((1, 1), -1)
            element = network.element_logits(network.ask(known, unknown, unknown), known).log_softmax(dim=-1)
            if count == len(order):
                total -= float(element[0, 0, 0])
                continue
            z, place = order[count]
            site = torch.tensor([[int(words.site_symmetry[crystal.space_group, place])]])
            number = int(words.enumeration[crystal.space_group, place])
            asked = torch.tensor([[z]])
            by_site = network.site_logits(network.ask(known, asked, unknown), known).log_softmax(dim=-1)
            by_number = network.enumeration_logits(network.ask(known, asked, site), known, site).log_softmax(dim=-1)
            total -= float(element[0, 0, z] + by_site[0, 0, int(site)] + by_number[0, 0, number])
    return total / n_orders


@pytest.mark.parametrize("crystal", CRYSTALS[1:], ids=str)
def test_the_loss_is_an_unbiased_draw_of_the_bound_whatever_the_order_of_the_orbits(crystal: Protostructure) -> None:
    generator, n = model(), 3000
    expected = exact_bound(generator, crystal)
    batch = batch_of([crystal] * n)
    turned = batch._replace(elements=batch.elements.flip(1), positions=batch.positions.flip(1))
    for number, each in enumerate((batch, turned)):
        with torch.no_grad():
            drawn = generator.loss(each, torch.Generator().manual_seed(number))
        error = float(drawn.std()) / math.sqrt(n)
        assert float(drawn.mean()) == pytest.approx(expected, abs=tolerances.STATISTICAL_SIGMAS * error + EXACT)
        assert error < 0.05 * expected


def test_an_empty_head_costs_the_logarithm_of_the_classes() -> None:
    """Flat logits: 119 elements or the end, and the site symmetries and enumerations that the group has left."""
    generator = model()
    for head in generator.network.heads:
        torch.nn.init.zeros_(head[-1].weight)
        torch.nn.init.zeros_(head[-1].bias)
    n = 400
    batch = batch_of([Protostructure(216, ((14, "a"),))] * n)  # positions a to d are -43m
    found = orbit_entropies(generator.network, batch, batch.properties, torch.Generator().manual_seed(1))
    first = found.site > 0
    assert n / 3 < int(first.sum()) < 2 * n / 3
    n_sites = len({*standard_vocabulary().site_symmetry[216].tolist()} - {-1})
    torch.testing.assert_close(found.element[first], torch.full_like(found.element[first], math.log(118)))
    torch.testing.assert_close(found.element[~first], torch.full_like(found.element[~first], math.log(119)))
    torch.testing.assert_close(found.site[first], torch.full_like(found.site[first], math.log(n_sites)))
    torch.testing.assert_close(found.enumeration[first], torch.full_like(found.site[first], math.log(4)))


def trained(world: list[Protostructure], steps: int, **changes: object) -> WyFormer:
    generator = model(**changes).float().train()
    random = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(generator.parameters(), 4e-3)
    crystals = batch_of(world * (64 // len(world)))
    generator.learn_statistics(crystals)
    for _ in range(steps):
        optimizer.zero_grad()
        generator.loss(crystals, random).mean().backward()
        optimizer.step()
    return generator.eval()


def test_training_finds_the_distribution_of_a_tiny_world() -> None:
    """Three kinds of crystal in two groups: sampled ones come out in the same proportions, and nearly no others."""
    rutile, salt, metal = CRYSTALS[1], CRYSTALS[0], Protostructure(225, ((29, "a"),))
    generator = trained([rutile, rutile, salt, metal], 250)
    drawn = generator.sample(600, generator=torch.Generator().manual_seed(5))
    kinds = Counter(each.protostructure for each in drawn)
    parts = np.array([kinds[rutile], kinds[salt], kinds[metal]]) / 600
    assert parts.sum() > 0.97
    np.testing.assert_allclose(parts, [0.5, 0.25, 0.25], atol=4 * math.sqrt(0.25 / 600))


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(max_atoms=30),
        Conditions(elements=(8, 22, 56), max_atoms=40, max_orbits=5),
        Conditions.of_system(8, 22),
        Conditions(composition={22: 1, 8: 2}, max_atoms=24),
        Conditions(excluded=tuple(range(1, 100)), n_atoms=12),
        Conditions(required=(26, 8), n_atoms=24),
    ],
    ids=str,
)
def test_an_untrained_model_already_keeps_every_condition(conditions: Conditions) -> None:
    every = [1, 2, 12, 14, 62, 123, 139, 148, 166, 194, 198, 216, 221, 225, 227]
    groups = [g for g in every if reachability(conditions).possible(np.array([g]))] * 4
    generator = model().float()
    found = generator.sample_in_groups(groups, conditions=conditions, generator=torch.Generator().manual_seed(3))
    assert [each.protostructure.space_group for each in found] == groups
    assert len(groups) >= 12
    for each in found:  # a point that is occupied twice would not be a protostructure
        crystal = each.protostructure
        counts = crystal.composition
        assert 0 < crystal.n_atoms <= conditions.most_atoms
        assert not conditions.max_orbits or len(crystal.orbits) <= conditions.max_orbits
        assert set(conditions.required) <= set(counts) <= set(conditions.allowed)
        assert not conditions.n_atoms or crystal.n_atoms == conditions.n_atoms
        if conditions.composition is not None:
            assert len({counts[z] / n for z, n in conditions.composition.items()}) == 1
        assert each.log_likelihood < 0


@torch.no_grad()
def test_the_log_likelihood_is_that_of_the_draws() -> None:
    """One orbit and a forced end: element, site symmetry, enumeration and the end, at the temperature."""
    generator, conditions, words = model(), Conditions(elements=(8, 22), max_orbits=1), standard_vocabulary()
    found = generator.sample_in_groups(
        [136] * 10, conditions=conditions, temperature=1.5, generator=torch.Generator().manual_seed(2)
    )
    network, empty = generator.network, torch.zeros((1, 0), dtype=torch.int64)
    known = network.encode(torch.tensor([136]), empty, empty, torch.zeros(1, 0))
    assert {each.protostructure.elements for each in found} == {(8,), (22,)}
    for each in found:
        ((z, letter),) = each.protostructure.orbits
        place = LETTERS.index(letter)
        site, number = int(words.site_symmetry[136, place]), int(words.enumeration[136, place])
        unknown, element, asked = torch.full((1, 1), -1), torch.tensor([[z]]), torch.tensor([[site]])
        whole = encoded(generator, batch_of([each.protostructure]))
        parts = (
            (network.element_logits(network.ask(known, unknown, unknown), known), z),
            (network.site_logits(network.ask(known, element, unknown), known), site),
            (network.enumeration_logits(network.ask(known, element, asked), known, asked), number),
            (network.element_logits(network.ask(whole, unknown, unknown), whole), 0),
        )
        log = sum(float((scores[0, 0] / 1.5).log_softmax(0)[drawn]) for scores, drawn in parts)
        assert each.log_likelihood == pytest.approx(log, abs=1e-9)


def test_conditions_give_the_conditioned_distribution_and_not_only_legal_crystals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rock salt without chlorine is nothing that the network knows: it has to come from the other crystals instead.

    Legal draws alone would begin with sodium as often as ever, and go on with whatever is left.
    """
    metal, oxide = Protostructure(225, ((29, "a"),)), Protostructure(225, ((29, "a"), (8, "b")))
    generator = trained([CRYSTALS[0], metal, oxide, oxide], 300)
    conditions = Conditions(excluded=(17,))

    def parts() -> tuple[float, float, float]:
        drawn = generator.sample(400, conditions=conditions, generator=torch.Generator().manual_seed(1))
        kinds = Counter(each.protostructure for each in drawn)
        return kinds[metal] / 400, kinds[oxide] / 400, sum(11 in each.protostructure.elements for each in drawn) / 400

    found = parts()
    assert found[0] == pytest.approx(1 / 3, abs=0.12)
    assert found[1] == pytest.approx(2 / 3, abs=0.12)
    assert found[2] < 0.03
    both = Conditions(excluded=(17,), required=(8,))
    drawn = generator.sample(60, conditions=both, generator=torch.Generator().manual_seed(1))
    assert sum(each.protostructure == oxide for each in drawn) > 54
    monkeypatch.setattr(Weights, "go_on", lambda self, pool, logs: (np.arange(len(pool)), logs))
    monkeypatch.setattr(Weights, "chosen", lambda self, pool, logs: np.arange(self._pools[0].n))
    assert parts()[2] > 0.08


@torch.no_grad()
def exact_probabilities(generator: WyFormer, group: int, crystals: list[Protostructure]) -> np.ndarray:
    """Of crystals of one or two orbits, by adding up the orders in which they can be drawn."""
    network, words = generator.network, standard_vocabulary()

    def next_log(orbits: tuple[tuple[int, str], ...]) -> dict[tuple[int, str], float]:
        batch = batch_of([Protostructure(group, orbits)]) if orbits else batch_of([CRYSTALS[0]])
        if not orbits:
            batch = batch._replace(elements=batch.elements[:, :0], positions=batch.positions[:, :0])
        known = network.encode(torch.tensor([group]), batch.elements, batch.positions, batch.properties)
        unknown = torch.full((1, 1), -1)
        by_element = network.element_logits(network.ask(known, unknown, unknown), known)[0, 0].log_softmax(0)
        found = {(0, "stop"): float(by_element[0])}
        for element in (8, 22):
            asked = torch.tensor([[element]])
            by_site = network.site_logits(network.ask(known, asked, unknown), known)[0, 0].log_softmax(0)
            for place in range(int(words.n_positions[group])):
                site = torch.tensor([[int(words.site_symmetry[group, place])]])
                states = network.ask(known, asked, site)
                by_number = network.enumeration_logits(states, known, site)[0, 0].log_softmax(0)
                number = int(words.enumeration[group, place])
                parts = by_element[element] + by_site[int(site)] + by_number[number]
                found[element, LETTERS[place]] = float(parts)
        return found

    empty = next_log(())
    after = {orbit: next_log((orbit,)) for orbit in {orbit for each in crystals for orbit in each.orbits}}
    logs = []
    for crystal in crystals:
        end = next_log(crystal.orbits)[0, "stop"]
        orders = set(itertools.permutations(crystal.orbits))
        ways = [empty[o[0]] + sum(after[o[0]][each] for each in o[1:]) + end for o in orders]
        logs.append(np.logaddexp.reduce(ways))
    return np.exp(np.array(logs) - np.logaddexp.reduce(logs))


@pytest.mark.parametrize(("required", "seed"), [((), 7), ((8, 22), 3)], ids=str)
def test_draws_have_the_distribution_of_all_crystals_that_meet_the_conditions(
    required: tuple[int, ...], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network with strong opinions that it never learned: every crystal of up to two orbits, against counting."""
    generator, group = model(seed), 216
    with torch.no_grad():
        for head in generator.network.heads:
            head[-1].weight *= 25.0
    conditions = Conditions(elements=(8, 22), required=required, max_orbits=2, max_atoms=20)
    letters = [(LETTERS[k], m) for k, m in enumerate((4, 4, 4, 4, 16))]
    single = [((z, letter), m) for z in (8, 22) for letter, m in letters]
    sets = [(one,) for one in single] + list(itertools.combinations_with_replacement(single, 2))
    crystals = [
        Protostructure(group, tuple(orbit for orbit, _ in each))
        for each in sets
        if sum(m for _, m in each) <= 20
        and not (len(each) == 2 and each[0][0][1] == each[1][0][1])
        and set(required) <= {orbit[0] for orbit, _ in each}
    ]
    exact = exact_probabilities(generator, group, crystals)

    def distance(n: int = 3000) -> float:
        drawn = generator.sample_in_groups(
            [group] * n, conditions=conditions, generator=torch.Generator().manual_seed(0), batch=300
        )
        kinds = Counter(each.protostructure for each in drawn)
        assert set(kinds) <= set(crystals)
        return float(np.abs(exact - np.array([kinds[each] / n for each in crystals])).sum() / 2)

    assert distance() < 0.05
    monkeypatch.setattr(Weights, "go_on", lambda self, pool, logs: (np.arange(len(pool)), logs))
    monkeypatch.setattr(Weights, "chosen", lambda self, pool, logs: np.arange(self._pools[0].n))
    assert distance() > 0.07, "draws that are only legal"


@pytest.mark.parametrize("required", [(), (8,), (8, 22), (8, 20, 22)], ids=str)
def test_required_elements_come_first_and_the_weights_count_the_other_orders(required: tuple[int, ...]) -> None:
    """Against all permutations: which begin with one orbit of each element that must occur."""
    orbits = [(8, "c"), (8, "c"), (8, "d"), (22, "c"), (20, "c"), (22, "a")]
    reach = reachability(Conditions(required=required))
    one = np.zeros(1, dtype=np.int64)
    build = Candidates.empty(one, np.array([62]), reach)
    begin = sorted(orbits, key=lambda each: each[0] not in required)
    for number, (element, letter) in enumerate(begin):
        mask = build.element_masks(one, reach)[0]
        missing = set(required) - {z for z, _ in begin[:number]}
        assert missing >= set(np.flatnonzero(mask)) if missing else mask[26]
        build = build.with_orbits(np.array([element]), np.array([LETTERS.index(letter)]), reach)
    orders = list(itertools.permutations(range(len(orbits))))
    m = len(required)
    begun = sum({orbits[k][0] for k in order[:m]} == set(required) for order in orders)
    assert build.log_orders(reach.required)[0] == pytest.approx(math.log(len(orders) / begun), abs=EXACT)


def test_the_same_crystal_asks_once_whatever_the_order_of_its_orbits() -> None:
    reach = reachability(Conditions())
    build = Candidates.empty(np.zeros(4, dtype=np.int64), np.array([62, 62, 62, 14]), reach)
    build = build.with_orbits(np.array([8, 22, 8, 8]), np.array([2, 0, 2, 2]), reach)
    build = build.with_orbits(np.array([22, 8, 22, 22]), np.array([0, 2, 2, 0]), reach)
    rows, member = build.different()
    assert len(rows) == 3
    assert member[0] == member[1]
    assert len({*member.tolist()}) == 3
    for row, own in enumerate(member):
        chosen = build.select(rows[own : own + 1])
        assert sorted(zip(chosen.elements[0], chosen.positions[0], strict=True)) == sorted(
            zip(build.elements[row], build.positions[row], strict=True)
        )


def pools(n: int, candidates: int, count: int = 1) -> list[Pool]:
    return [Pool(np.full(candidates, 225), n) for _ in range(count)]


def test_candidates_are_drawn_again_without_a_bias() -> None:
    """Every kind keeps its weight on average, and the unfinished ones are as many as their part of the pool."""
    start, repeats = np.log([0.3, 0.2, 0.01, 0.01, 1e-6]), 2000
    totals, numbers = np.zeros(5), []
    for seed in range(repeats):
        weigh = Weights(pools(2, 8), torch.Generator().manual_seed(seed))
        weigh.finish(np.zeros(3, dtype=np.int64), np.log([0.5, 0.25, 0.25]))
        rows, logs = weigh.go_on(np.zeros(5, dtype=np.int64), start)
        np.add.at(totals, rows, np.exp(logs) / repeats)
        numbers.append(len(rows))
        assert len(rows) == 5 or len({*logs.tolist()}) == 1
    part = 0.520001 / 1.520001
    assert np.mean(numbers) == pytest.approx(part * (2 * SPARE + (8 - 2 * SPARE) * (1 - 1.520001 / 8)), abs=0.1)
    for kind, weight in enumerate(np.exp(start)):
        assert totals[kind] == pytest.approx(weight, abs=0.01)


def test_few_candidates_take_the_place_of_all_and_even_weights_change_nothing() -> None:
    weigh = Weights(pools(1, 4, 3), torch.Generator().manual_seed(0))
    logs = np.log([1e-3, 1e-12, 1e-12, 1e-12, 1.0, 1.0, 1.0, 0.9, 1e-3, 1e-3, 1e-3, 1e-3])
    pool = np.repeat(np.arange(3), 4)
    rows, after = weigh.go_on(pool, logs)
    assert rows[:4].tolist() == [0] * 4, "next to nothing is allowed: as many as before"
    assert set(rows[4:].tolist()) >= {8, 9, 10, 11}, "equal weights are left alone"
    even = sum(4 <= row < 8 for row in rows)
    assert even in (1, 2), "everything is allowed: as many as crystals are wanted"
    assert np.exp(after[4 : 4 + even]) == pytest.approx(3.9 / (SPARE + (4 - SPARE) * (1 - 3.9 / 4)))


def test_crystals_are_chosen_by_their_weights() -> None:
    counts = np.zeros(4)
    for seed in range(500):
        weigh = Weights([Pool(np.full(4, 225), 2), Pool(np.full(4, 225), 1)], torch.Generator().manual_seed(seed))
        chosen = weigh.chosen(np.array([0, 1, 0, 0]), np.log([0.1, 1e-9, 0.3, 0.6]))
        assert len(chosen) == 3
        assert chosen[2] == 1
        np.add.at(counts, chosen[:2], 1)
        assert (chosen[:2] == 3).sum() >= 1, "1.2 times on average: at least once"
    np.testing.assert_allclose(counts[[0, 2, 3]] / 500, [0.2, 0.6, 1.2], atol=0.1)


def test_the_same_seed_gives_the_same_crystals() -> None:
    def draw(seed: int) -> list[GeneratedProtostructure]:
        random = torch.Generator().manual_seed(seed)
        return model().sample_in_groups([5, 62, 221] * 3, generator=random, conditions=Conditions(max_atoms=20))

    assert draw(11) == draw(11)
    assert draw(11) != draw(12)


def test_guidance_by_a_property() -> None:
    """Two crystals that differ in their band gap: aiming at one gives it; weight 0 and no target are the same."""
    world = [CRYSTALS[0], Protostructure(225, ((29, "a"),))]
    gaps = [{"band_gap": 8.0}, {"band_gap": 0.0}]
    generator = model(properties=("band_gap",), property_dropout=0.3).float().train()
    random = torch.Generator().manual_seed(0)
    crystals = batch_of(world * 32, gaps * 32, ("band_gap",))
    generator.learn_statistics(crystals)
    optimizer = torch.optim.Adam(generator.parameters(), 4e-3)
    for _ in range(150):
        optimizer.zero_grad()
        generator.loss(crystals, random).mean().backward()
        optimizer.step()
    generator.eval()

    def part_of_salt(**changes: object) -> float:
        drawn = generator.sample(200, generator=torch.Generator().manual_seed(1), **changes)  # type: ignore[arg-type]
        return sum(each.protostructure == world[0] for each in drawn) / 200

    assert 0.25 < part_of_salt() < 0.75
    assert part_of_salt(targets={"band_gap": 8.0}) > 0.9
    assert part_of_salt(targets={"band_gap": 0.0}) < 0.1
    plain = generator.sample(20, generator=torch.Generator().manual_seed(1))
    weightless = generator.sample(
        20, generator=torch.Generator().manual_seed(1), targets={"band_gap": 8.0}, guidance=0.0
    )
    assert weightless == plain
    assert part_of_salt(targets={"band_gap": 8.0}, guidance=2.0) > 0.9


def test_guidance_by_one_or_both_of_two_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four crystals, a metal and an oxide at each of two band gaps and energies: one property leaves the other open."""
    world = [Protostructure(225, ((z, "a"), *rest)) for rest in ((), ((8, "b"),)) for z in (12, 29)]
    names = ("gap", "energy")
    values = [{"gap": 4.0 * (k > 1), "energy": -1.0 - k % 2} for k in range(4)]
    assert [tuple(each.values()) for each in values] == [(0, -1), (0, -2), (4, -1), (4, -2)]
    generator = model(properties=names, property_dropout=0.2, single_property_dropout=0.25).float().train()
    random, crystals = torch.Generator().manual_seed(0), batch_of(world * 16, values * 16, names)
    generator.learn_statistics(crystals)
    optimizer = torch.optim.Adam(generator.parameters(), 4e-3)
    for _ in range(250):
        optimizer.zero_grad()
        generator.loss(crystals, random).mean().backward()
        optimizer.step()
    generator.eval()
    given: list[torch.Tensor] = []
    encode = generator.network.encode

    def watched(*arguments: torch.Tensor) -> Known:
        given.append(arguments[3])
        return encode(*arguments)

    monkeypatch.setattr(generator.network, "encode", watched)

    def parts(**targets: float) -> list[float]:
        given.clear()
        drawn = generator.sample(200, generator=torch.Generator().manual_seed(1), targets=targets)
        kinds = Counter(each.protostructure for each in drawn)
        return [kinds[each] / 200 for each in world]

    assert min(parts()) > 0.1
    assert all(each.isnan().all() for each in given)
    gap_alone = parts(gap=4.0)
    assert all(each[:, 1].isnan().all() and not each[:, 0].isnan().any() for each in given)
    assert sum(gap_alone[2:]) > 0.9
    assert min(gap_alone[2:]) > 0.25, "the energy is left open"
    energy_alone = parts(energy=-2.0)
    assert all(each[:, 0].isnan().all() and not each[:, 1].isnan().any() for each in given)
    assert energy_alone[1] + energy_alone[3] > 0.9
    assert min(energy_alone[1], energy_alone[3]) > 0.25, "the gap is left open"
    for index, each in enumerate(values):
        assert parts(**each)[index] > 0.85
        assert not any(row.isnan().any() for row in given)
    for wrong in ({"gaps": 1.0}, {"gap": 1.0, "density": 2.0}):
        with pytest.raises(ConfigError, match=r"is not a property .* known: gap, energy"):
            parts(**wrong)


def test_a_hidden_property_leaves_no_trace() -> None:
    generator = model(properties=("band_gap",))
    batch = batch_of(CRYSTALS, [{"band_gap": 1.0}] * 4, ("band_gap",))
    unknown = batch._replace(properties=torch.full_like(batch.properties, torch.nan))
    assert not torch.equal(*(encoded(generator, each).layers[1].values[:, :, 0] for each in (batch, unknown)))
    half = torch.where(torch.arange(4).unsqueeze(1) < 2, batch.properties, torch.nan)
    for part, other in ((slice(0, 2), batch), (slice(2, 4), unknown)):
        mixed, alone = (encoded(generator, batch, each.properties) for each in (batch._replace(properties=half), other))
        torch.testing.assert_close(
            mixed.layers[1].values[part, :, 0], alone.layers[1].values[part, :, 0], rtol=0, atol=EXACT
        )
    generator.network.property_maps[0][0].weight.data += 1.0
    before = encoded(model(properties=("band_gap",)), unknown).layers[1].values[:, :, 0]
    torch.testing.assert_close(encoded(generator, unknown).layers[1].values[:, :, 0], before, rtol=0, atol=EXACT)


def test_wrong_use_is_named() -> None:
    generator, random = model(), torch.Generator()
    with pytest.raises(InputError, match="no space group 231"):
        generator.sample_in_groups([231], generator=random)
    with pytest.raises(ConfigError, match="temperature must be positive"):
        generator.sample_in_groups([3], generator=random, temperature=0)
    with pytest.raises(ConfigError, match="space groups 225 meets"):
        generator.sample_in_groups([3, 225], conditions=Conditions(n_atoms=3), generator=random)
    with pytest.raises(InputError, match="training mode"):
        model().train().sample_in_groups([3], generator=random)
    with pytest.raises(ConfigError, match="'gap' is not a property"):
        generator.sample_in_groups([3], generator=random, targets={"gap": 1.0})
    with pytest.raises(ConfigError, match="must be finite"):
        model(properties=("gap",)).sample_in_groups([3], generator=random, targets={"gap": float("nan")})
    with pytest.raises(ConfigError, match="no different values of the property 'gap'"):
        model(properties=("gap",)).learn_statistics(batch_of(CRYSTALS, [{"gap": 1.0}] * 4, ("gap",)))
    with pytest.raises(ConfigError, match="do not divide"):
        WyFormerConfig(heads=7)
    with pytest.raises(ConfigError, match="dropout must be in"):
        WyFormerConfig(property_dropout=1.0)
    with pytest.raises(ConfigError, match="names one twice"):
        WyFormerConfig(properties=("gap", "gap"))


def test_tokens_of_the_real_groups() -> None:
    """78 site symmetries and at most 8 positions alike; a token means one position, and every position has one."""
    words = standard_vocabulary()
    assert (words.n_sites, words.n_enumerations, words.multiplicity.max()) == (78, 8, 192)
    assert words.site_symmetry[216, 0] == words.site_symmetry[225, 2]  # -43m
    assert (words.position >= 0).sum() == 1731
    for group in (1, 47, 225):
        for place in range(words.n_positions[group]):
            token = words.site_symmetry[group, place], words.enumeration[group, place]
            assert words.position[group][token] == place


def test_oriented_site_symmetries_follow_a_relabelling() -> None:
    """In Pmmm a change of axes turns 2mm into m2m or mm2: the tokens are those of the new position."""
    words = standard_vocabulary()
    crystal = batch_of([Protostructure(47, ((8, "i"), (22, "y")))] * 60)
    renamed = relabelled(crystal, torch.Generator().manual_seed(0))
    sites = words.site_symmetry[47][renamed.positions.numpy()]
    assert len({tuple(row) for row in sites.tolist()}) > 2


@pytest.mark.slow
def test_overfitting_gives_the_training_crystals_back() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = model().float().sample_in_groups(
        [14, 62, 139, 166, 194, 221, 225, 227] * 4, conditions=Conditions(max_atoms=30, max_orbits=4),
        generator=generator,
    )  # fmt: skip
    world = [each.protostructure for each in drawn]
    found = trained(world, 1500, element_channels=24, site_channels=24, enumeration_channels=16, hidden=128)
    samples = found.sample(300, generator=generator)
    assert sum(each.protostructure in set(world) for each in samples) > 270


@pytest.mark.parametrize("conditions", [Conditions(), Conditions(elements=(8, 22))], ids=["all", "chosen among many"])
def test_the_first_draws_are_like_the_last(conditions: Conditions) -> None:
    """Crystals with few orbits are finished first; who takes some of the draws must not get these."""
    drawn = load_generator("wyformer").sample(300, generator=torch.Generator().manual_seed(0), conditions=conditions)
    sizes = np.argsort(np.argsort([len(each.protostructure.orbits) for each in drawn]))
    assert abs(np.corrcoef(sizes, np.arange(300))[0, 1]) < 0.2  # 0.06 is one standard deviation; sorted by size: 1
