"""The Wyckoff transformer: a function of the set of orbits, trained on all orders alike, sampled within conditions."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch

from atomsym.core import ConfigError, InputError
from atomsym.generators import (
    Conditions,
    GeneratedProtostructure,
    ProtostructureBatch,
    batch_of,
    relabelled,
)
from atomsym.generators.reachability import Reachability, sites_of
from atomsym.generators.wyformer import WyFormer, WyFormerConfig, orbit_entropies, standard_vocabulary
from atomsym.generators.wyformer.network import Known
from atomsym.generators.wyformer.sampling import SMALL_WEIGHT, _Builder, _Weights
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
    groups = [g for g in every if Reachability(sites_of(g), conditions).possible()] * 4
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
    monkeypatch.setattr("atomsym.generators.wyformer.model.CANDIDATES", 1)
    assert parts()[2] > 0.08


@pytest.mark.parametrize("required", [(), (8,), (8, 22), (8, 20, 22)], ids=str)
def test_required_elements_come_first_and_the_weights_count_the_other_orders(required: tuple[int, ...]) -> None:
    """Against all permutations: which begin with one orbit of each element that must occur."""
    orbits = [(8, "c"), (8, "c"), (8, "d"), (22, "c"), (20, "c"), (22, "a")]
    conditions = Conditions(required=required)
    build = _Builder([62], {62: Reachability(sites_of(62), conditions)})
    row = np.zeros(1, dtype=np.int64)
    for number, (element, letter) in enumerate(sorted(orbits, key=lambda each: each[0] not in required)):
        mask = build.element_masks(row)[0]
        missing = set(required) - {z for z, _ in sorted(orbits, key=lambda e: e[0] not in required)[:number]}
        assert missing >= set(np.flatnonzero(mask)) if missing else mask[26]
        build.add(row, np.array([element]), np.array([LETTERS.index(letter)]))
    orders = list(itertools.permutations(range(len(orbits))))
    m = len(required)
    begun = sum({orbits[k][0] for k in order[:m]} == set(required) for order in orders)
    assert build.log_orders(row)[0] == pytest.approx(math.log(len(orders) / begun), abs=EXACT)


def test_candidates_of_small_weight_are_given_up_without_a_bias() -> None:
    n = 20_000
    weights = _Weights((n, 4), torch.Generator().manual_seed(0))
    start = np.log([0.6, 0.38, 0.01, 0.01])
    weights.logs[:] = np.tile(start, n)
    going_on = np.tile([True, True, True, False], n)
    ended = weights.ended(going_on)
    assert set((ended % 4).tolist()) == {2}, "finished candidates and heavy ones stay"
    after = np.exp(weights.logs).reshape(n, 4)
    limit = SMALL_WEIGHT / 4
    assert len(ended) / n == pytest.approx(1 - 0.01 / limit, abs=0.02)
    error = after[:, 2].std() / math.sqrt(n)
    assert after[:, 2].mean() == pytest.approx(0.01, abs=tolerances.STATISTICAL_SIGMAS * error)
    np.testing.assert_allclose(after[:, [0, 1, 3]].mean(axis=0), [0.6, 0.38, 0.01])


def test_few_heavy_candidates_replace_the_others_of_their_family() -> None:
    weights = _Weights((3, 4), torch.Generator().manual_seed(0))
    weights.logs[:] = np.log([1.0, 1e-9, 1e-9, 1e-9, 1.0, 1.0, 1.0, 1.0, 1e-9, 1e-9, 1.0, 1e-9])
    to, source = weights.replacements(np.array([True] * 8 + [False] * 4))
    assert to.tolist() == [0, 1, 2, 3]
    assert source.tolist() == [0, 0, 0, 0]
    assert weights.logs[:4].tolist() == [0.0] * 4
    assert weights.chosen()[2] == 10


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

    assert 0.3 < part_of_salt() < 0.7
    assert part_of_salt(targets={"band_gap": 8.0}) > 0.9
    assert part_of_salt(targets={"band_gap": 0.0}) < 0.1
    plain = generator.sample(20, generator=torch.Generator().manual_seed(1))
    weightless = generator.sample(
        20, generator=torch.Generator().manual_seed(1), targets={"band_gap": 8.0}, guidance=0.0
    )
    assert weightless == plain
    assert part_of_salt(targets={"band_gap": 8.0}, guidance=2.0) > 0.9


def test_a_hidden_property_leaves_no_trace() -> None:
    generator = model(properties=("band_gap",))
    batch = batch_of(CRYSTALS, [{"band_gap": 1.0}] * 4, ("band_gap",))
    unknown = batch._replace(properties=torch.full_like(batch.properties, torch.nan))
    for other in (batch, unknown):
        assert torch.equal(encoded(generator, other).absent == 0, encoded(generator, other).absent == 0)
    assert not torch.equal(*(encoded(generator, each).layers[1].values[:, :, 0] for each in (batch, unknown)))
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
