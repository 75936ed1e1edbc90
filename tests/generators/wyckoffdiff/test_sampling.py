"""Hard conditions hold in every sample of an untrained model, whatever the noise; and what they do to the odds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from atomsym.core import ConfigError, InputError
from atomsym.generators.batch import batch_of
from atomsym.generators.conditions import Conditions
from atomsym.generators.reachability import reachability
from atomsym.generators.wyckoffdiff import (
    Limits,
    Logits,
    Occupations,
    WyckoffDiff,
    WyckoffDiffConfig,
    layout_of,
    occupations_of,
    orbits_of,
)
from atomsym.symmetry.wyckoff import Protostructure

GROUPS = [1, 2, 14, 47, 62, 136, 166, 194, 216, 225, 227, 230]
CONDITIONS = [
    Conditions(),
    Conditions(max_atoms=200, max_orbits=2),
    Conditions(elements=(8, 22, 56), max_atoms=96),
    Conditions.of_system(8, 22, max_atoms=96),
    Conditions(composition={22: 1, 8: 2}, max_atoms=96),
    Conditions(excluded=tuple(range(1, 95)), n_atoms=48),
    Conditions(required=(8,), n_atoms=64),
]


def model(**changes: Any) -> WyckoffDiff:
    config: dict[str, Any] = {
        "channels": 16, "side_channels": 8, "layers": 1, "hidden": 16, "head_hidden": 16, "max_count": 5, "steps": 6,
        "bound_levels": 2, "redraws": 1, "frequency_offset": True,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = WyckoffDiff(WyckoffDiffConfig(**{**config, **changes})).eval()
    data = [Protostructure(225, ((11, "a"), (17, "b"))), Protostructure(14, ((22, "a"), (8, "e"), (8, "e")))]
    found.learn_statistics(batch_of(data))
    found.element_counts.zero_()  # as if it had learned of every element
    return found


@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
@pytest.mark.parametrize("prior", ["zeros", "marginal", "uniform"])
def test_an_untrained_model_already_keeps_every_condition(prior: str, conditions: Conditions) -> None:
    possible = [group for group in GROUPS if reachability(conditions).possible(np.array([group]))]
    assert len(possible) >= 7
    groups = possible * 3
    found = model(prior=prior).sample_in_groups(
        groups, conditions=conditions, generator=torch.Generator().manual_seed(3), batch=20
    )
    assert [each.protostructure.space_group for each in found] == groups
    for each in found:
        counts = each.protostructure.composition
        assert 0 < sum(counts.values()) <= conditions.most_atoms
        assert set(counts) <= set(conditions.allowed)
        assert set(conditions.required) <= set(counts)
        assert not conditions.n_atoms or sum(counts.values()) == conditions.n_atoms
        assert not conditions.max_orbits or len(each.protostructure.orbits) <= conditions.max_orbits
        if conditions.composition is not None:
            assert len({counts[z] / n for z, n in conditions.composition.items()}) == 1
        assert each.log_likelihood < 0


def test_met_says_what_reachability_says() -> None:
    """The fast check of a whole batch against the rule that is written for one crystal."""
    generator = torch.Generator().manual_seed(1)
    groups = torch.tensor([225, 14, 2, 136] * 100)
    layout = layout_of(groups)
    for conditions in (
        Conditions(elements=(1, 2, 3), required=(2,), max_atoms=30),
        Conditions(elements=(1, 2, 3), n_atoms=8),
        Conditions(composition={1: 1, 2: 2}, max_atoms=60),
        Conditions(max_orbits=2, elements=(1, 2)),
    ):
        reach = reachability(conditions)
        limits = Limits(layout, conditions, reach, 3, 4)
        points = torch.randint(0, 4, layout.points.shape, generator=generator)
        points = points * (torch.rand(points.shape, generator=generator) < 0.25)
        rare = (
            torch.rand(len(layout.free), 3, generator=generator)
            < 0.04 * (layout.multiplicity[layout.free] < 16)[:, None]
        )
        occupations = Occupations(points, rare.long())
        met = limits.met(occupations).tolist()
        assert 5 < sum(met) < len(met) - 5, conditions
        everything = torch.ones(len(groups), dtype=torch.bool)
        owners, elements, _ = limits._orbits(occupations, everything)
        rule = reach.may_stop(limits._state(occupations, everything))
        rule[owners[~np.isin(elements, conditions.allowed)]] = False
        assert met == rule.tolist()


def expected_occupation(weights: Tensor) -> Tensor:
    return 1 - weights[..., 0]


def test_closed_elements_leave_their_share_to_the_open_ones() -> None:
    generator = torch.Generator().manual_seed(2)
    layout = layout_of(torch.tensor([225]))
    logits = Logits(torch.randn(4, 11, generator=generator), torch.randn(8, 10, 4, generator=generator) - 3)
    free, closed = (Conditions(elements=each, max_atoms=600) for each in (tuple(range(1, 11)), (3, 7)))
    everything, some = (Limits(layout, each, reachability(each), 10, 3).clean(logits, 1.0) for each in (free, closed))
    torch.testing.assert_close(some.points[:, 0], everything.points[:, 0])
    assert (some.points[:, [1, 2, 4, 5, 6, 8, 9, 10]] == 0).all()
    ratio = everything.points[:, 3] / everything.points[:, 7]
    torch.testing.assert_close(some.points[:, 3] / some.points[:, 7], ratio)
    assert some.counts.shape == (8, 2, 4)
    odds = expected_occupation(some.counts) / some.counts[..., 0]
    before = (expected_occupation(everything.counts) / everything.counts[..., 0])[:, [2, 6]]
    share = expected_occupation(everything.counts).sum(1) / expected_occupation(everything.counts)[:, [2, 6]].sum(1)
    torch.testing.assert_close(odds, before * share.unsqueeze(1))


def test_states_of_too_many_atoms_are_closed() -> None:
    layout = layout_of(torch.tensor([225]))
    conditions = Conditions(composition={1: 3, 2: 1}, max_atoms=70)  # at most 51 of hydrogen and 17 of helium
    limits = Limits(layout, conditions, reachability(conditions), 3, 4)
    most = limits.counts.sum(dim=2) - 1
    sizes = layout.multiplicity[layout.free].unsqueeze(1)
    assert torch.equal(most, (torch.tensor([51, 17]) // sizes).clamp(max=4))
    assert limits.points[:, :3].tolist() == [[True, True, True]] * 3 + [[True, True, False]]  # 24 on d
    assert not limits.points[:, 3].any()


def test_orbits_without_which_a_crystal_can_be_finished_are_refused_and_no_others() -> None:
    conditions = Conditions(composition={11: 1, 17: 1}, max_atoms=16)
    layout = layout_of(torch.tensor([225, 225]))
    limits = Limits(layout, conditions, reachability(conditions), 20, 4)

    def variables(*crystals: list[tuple[int, str]]) -> Occupations:
        return occupations_of(batch_of([Protostructure(225, tuple(each)) for each in crystals]), layout, 20, 4)

    before = variables([(11, "a")], [(11, "c")])
    after = variables([(11, "a"), (17, "b")], [(11, "c"), (11, "a")])
    found = limits.admit(before, after, torch.Generator())
    expected = variables([(11, "a"), (17, "b")], [(11, "c")])
    assert torch.equal(found.points, expected.points)
    assert torch.equal(found.counts, expected.counts)


def test_of_several_new_orbits_as_many_are_refused_as_must_be() -> None:
    conditions = Conditions(elements=(11, 17), max_orbits=2)
    layout = layout_of(torch.tensor([225]))
    limits = Limits(layout, conditions, reachability(conditions), 20, 4)
    before, after = (
        occupations_of(batch_of([Protostructure(225, each)]), layout, 20, 4)
        for each in (((11, "a"),), ((11, "a"), (17, "b"), (17, "c"), (11, "e")))
    )
    kept = limits.admit(before, after, torch.Generator().manual_seed(0))
    owners, elements, positions = orbits_of(kept, layout)
    assert owners.tolist() == [0, 0], "one of the three new ones"
    assert (int(elements[0]), int(positions[0])) == (11, 0), "what was there stays"


def test_orbits_that_are_forced_are_counted() -> None:
    conditions = Conditions(composition={11: 1, 17: 1}, n_atoms=8)
    layout = layout_of(torch.tensor([225, 225, 225]))
    limits = Limits(layout, conditions, reachability(conditions), 20, 4)
    crystals = [[(11, "a"), (17, "b")], [(17, "b")], []]
    elements = np.zeros((3, 2), dtype=np.int64)
    places = np.full((3, 2), -1, dtype=np.int64)
    for row, orbits in enumerate(crystals):
        for column, (element, letter) in enumerate(orbits):
            elements[row, column], places[row, column] = element, "abc".index(letter)
    empty = batch_of([Protostructure(225, ((11, "a"),))] * 3)
    filled = empty._replace(elements=torch.from_numpy(elements), positions=torch.from_numpy(places))
    occupations = occupations_of(filled, layout, 20, 4)
    clean = limits.clean(Logits(torch.zeros(12, 21), torch.zeros(24, 20, 5)), 1.0)
    found, added = limits.finish(occupations, clean, torch.Generator().manual_seed(0))
    assert added.tolist() == [0, 1, 2]
    assert limits.met(found).all()
    assert found.points.view(3, 4)[1].tolist()[1] == 17, "what was there stays"


def test_samples_tell_how_their_conditions_were_met() -> None:
    """An untrained model hits no composition by itself: it is drawn anew as often as allowed, then completed."""
    conditions = Conditions(composition={22: 1, 8: 2}, max_atoms=96)
    drawn = model(redraws=2).sample_in_groups(
        [14] * 20, conditions=conditions, generator=torch.Generator().manual_seed(3)
    )
    forced = [each for each in drawn if each.forced_orbits]
    assert len(forced) > 10
    assert all(each.redraws == 2 for each in forced)
    assert all(each.forced_orbits <= len(each.protostructure.orbits) for each in drawn)
    assert all(each.redraws <= 2 for each in drawn)
    free = model(prior="uniform").sample_in_groups([14] * 20, generator=torch.Generator().manual_seed(3))
    assert not any(each.forced_orbits for each in free), "crystals that are not empty need nothing"


def test_fewer_noise_levels_and_no_redraws_also_work() -> None:
    network = model(sampling_steps=2, redraws=0)
    found = network.sample_in_groups(GROUPS * 4, generator=torch.Generator().manual_seed(4))
    assert len(found) == 4 * len(GROUPS)
    seen: list[int] = []
    network.sample_in_groups(GROUPS, generator=torch.Generator(), batch=5, on_progress=seen.append)
    assert seen == [5, 10, 12]


def test_temperature_sharpens() -> None:
    network = model(redraws=0)
    kinds = [
        Counter(
            each.protostructure
            for each in network.sample_in_groups(
                [225] * 60, generator=torch.Generator().manual_seed(5), temperature=temperature
            )
        )
        for temperature in (1.0, 0.1)
    ]
    assert len(kinds[1]) < len(kinds[0])


def test_wrong_use_is_named() -> None:
    network, generator = model(max_element=94), torch.Generator()
    with pytest.raises(InputError, match="no space group 231"):
        network.sample_in_groups([231], generator=generator)
    with pytest.raises(ConfigError, match="temperature must be positive"):
        network.sample_in_groups([3], generator=generator, temperature=0)
    with pytest.raises(ConfigError, match="learned from no crystal with Am, which the conditions need"):
        network.sample_in_groups([3], generator=generator, conditions=Conditions(required=(95,)))
    with pytest.raises(ConfigError, match="no crystal with Am, Cm"):
        network.sample_in_groups([3], generator=generator, conditions=Conditions(elements=(95, 96)))
    with pytest.raises(ConfigError, match="space groups 225 meets"):
        network.sample_in_groups([225], generator=generator, conditions=Conditions(n_atoms=3))
    with pytest.raises(ConfigError, match="not a property"):
        network.sample_in_groups([3], generator=generator, targets={"band_gap": 1.0})
    with pytest.raises(InputError, match="training mode"):
        network.train().sample_in_groups([3], generator=generator)
