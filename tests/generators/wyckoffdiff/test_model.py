"""WyckoffDiff: its objectives and samples against enumeration of a tiny world, and its network."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from atomsym.core import ConfigError, InputError
from atomsym.generators.batch import ProtostructureBatch, batch_of
from atomsym.generators.registry import generator_class
from atomsym.generators.wyckoffdiff import (
    Layout,
    Occupations,
    WyckoffDiff,
    WyckoffDiffConfig,
    layout_of,
    occupations_of,
    protostructures_of,
    transition_matrix,
)
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.testing.tolerances import ALGEBRA, STATISTICAL_SIGMAS

SMALL: dict[str, Any] = {
    "channels": 16, "side_channels": 8, "layers": 2, "hidden": 24, "head_hidden": 24, "max_count": 4, "steps": 12,
}  # fmt: skip
SALT = Protostructure(225, ((11, "a"), (17, "b")))
RUTILE = Protostructure(136, ((22, "a"), (8, "f")))
ZIRCONIA = Protostructure(14, ((40, "e"), (8, "e"), (8, "e")))
CRYSTALS = [SALT, RUTILE, ZIRCONIA]


def model(seed: int = 0, crystals: list[Protostructure] = CRYSTALS, **changes: Any) -> WyckoffDiff:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = WyckoffDiff(WyckoffDiffConfig(**{**SMALL, **changes})).double().eval()
    found.learn_statistics(batch_of(crystals))
    return found


# A world of 64 crystals: group 197 has two points and four free positions, with one element and one orbit each
TINY: dict[str, Any] = {**SMALL, "max_element": 1, "max_count": 1, "steps": 3, "redraws": 20}
GROUP, N_POINTS, N_FREE = 197, 2, 4


def world() -> tuple[Layout, Occupations, list[tuple[int, ...]]]:
    states = list(product((0, 1), repeat=N_POINTS + N_FREE))
    layout = layout_of(torch.full((len(states),), GROUP))
    table = torch.tensor(states)
    return layout, Occupations(table[:, :N_POINTS].flatten(), table[:, N_POINTS:].reshape(-1, 1)), states


def tiny(prior: str, **changes: Any) -> WyckoffDiff:
    seen = [Protostructure(GROUP, ((1, "a"), (1, "d"))), Protostructure(GROUP, ((1, "c"),))]
    found = model(4, seen, **{**TINY, "prior": prior, **changes})
    with torch.no_grad():  # the crystals of the world are not to be all alike
        for weight in found.network.parameters():
            weight *= 2
    return found


def clean_beliefs(network: WyckoffDiff, level: int) -> Tensor:
    """p(x_0 = 1) of each variable in each noisy state, shape (64, 6)."""
    layout, noisy, states = world()
    logits = network.logits(layout, noisy, torch.full((len(states),), level))
    points = logits.points.softmax(-1)[:, 1].view(-1, N_POINTS)
    return torch.cat((points, logits.counts.softmax(-1)[..., 1].view(-1, N_FREE)), dim=1).detach()


def posteriors(network: WyckoffDiff, level: int, belief: Tensor, noisy: Tensor) -> Tensor:
    """p(x_{t-1} = 1) of each variable by Bayes' rule; beliefs and noisy states of shape (n, 6)."""
    result = torch.zeros_like(belief)
    for column in range(belief.shape[1]):
        prior = network.priors()[column >= N_POINTS]
        before = transition_matrix(network.kept[level - 1], prior)
        step = transition_matrix(network.kept[level] / network.kept[level - 1], prior)
        for row in range(len(belief)):
            seen = int(noisy[row, column])
            weights = torch.stack((1 - belief[row, column], belief[row, column]))
            joint = before * step[:, seen]
            evidence = joint.sum(dim=1)
            possible = evidence > 0
            weights = weights * possible / (weights * possible).sum()
            result[row, column] = sum(weights[k] * joint[k, 1] / evidence[k] for k in (0, 1) if possible[k])
    return result


def joint_of(ones: Tensor) -> Tensor:
    """Probability of each of the 64 states from those of the variables, shape (…, 64)."""
    states = torch.tensor(world()[2], dtype=ones.dtype)
    return (ones.unsqueeze(-2) * states + (1 - ones.unsqueeze(-2)) * (1 - states)).prod(dim=-1)


def given_crystals(network: WyckoffDiff) -> Tensor:
    """P(x_0) of each crystal: the chain as one product of matrices over all states."""
    prior = torch.tensor([float(network.priors()[column >= N_POINTS][1]) for column in range(6)], dtype=torch.float64)
    probabilities, noisy = joint_of(prior), torch.tensor(world()[2])
    for level in range(TINY["steps"], 0, -1):
        probabilities = probabilities @ joint_of(posteriors(network, level, clean_beliefs(network, level), noisy))
    return probabilities


def enumerated(network: WyckoffDiff, crystal: int, objective: str) -> list[float]:
    """Expected term of each level for one crystal: over all noisy states, with their probabilities."""
    states = torch.tensor(world()[2])
    x_0 = states[crystal].to(torch.float64)
    found = []
    for level in range(1, TINY["steps"] + 1):
        ones = torch.stack(
            [
                transition_matrix(network.kept[level], network.priors()[c >= N_POINTS])[states[crystal, c], 1]
                for c in range(6)
            ]
        )
        belief = clean_beliefs(network, level)
        if objective == "cross_entropy":
            values = -(x_0 * belief.log() + (1 - x_0) * (1 - belief).log()).sum(dim=1)
        else:
            wanted = posteriors(network, level, x_0.expand(len(states), -1), states)
            given = posteriors(network, level, belief, states)
            values = torch.zeros(len(states), dtype=torch.float64)
            for q, p in ((wanted, given), (1 - wanted, 1 - given)):
                values += torch.where(q > 1e-300, q * (q.clamp(min=1e-300) / p.clamp(min=1e-300)).log(), 0.0).sum(dim=1)
        weights = joint_of(ones)
        found.append(float((weights * torch.where(weights > 0, values, 0.0)).sum()))
    return found


def tiny_crystal(state: int) -> Protostructure:
    bits = world()[2][state]
    return Protostructure(GROUP, tuple((1, letter) for letter, bit in zip("abcdef", bits, strict=True) if bit))


@pytest.mark.parametrize("objective", ["cross_entropy", "kl"])
@pytest.mark.parametrize("prior", ["zeros", "marginal", "uniform"])
def test_the_objective_is_its_enumeration(prior: str, objective: str) -> None:
    network = tiny(prior, objective=objective, per_variable=False)
    state, n = 0b101100, 3000
    batch = batch_of([tiny_crystal(state)] * n)
    with torch.no_grad():
        values = network.loss(batch, torch.Generator().manual_seed(0))
    terms = enumerated(network, state, objective)
    expected = sum(terms) if objective == "kl" else sum(terms) / len(terms)
    assert float(values.mean()) == pytest.approx(expected, abs=STATISTICAL_SIGMAS * float(values.std()) / math.sqrt(n))
    with torch.no_grad():
        published = tiny(prior, objective=objective).loss(batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(published, values / 6, rtol=0, atol=ALGEBRA.float64 * float(values.max()))


def test_the_hybrid_objective_is_the_weighted_sum_of_both() -> None:
    batch = batch_of([tiny_crystal(0b101100)] * 8)

    def values(objective: str) -> Tensor:
        return tiny("uniform", objective=objective, auxiliary=0.3).loss(batch, torch.Generator().manual_seed(1))

    expected = values("kl") + TINY["steps"] * 0.3 * values("cross_entropy")
    torch.testing.assert_close(values("hybrid"), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("prior", ["zeros", "marginal", "uniform"])
def test_the_bound_bounds_the_likelihood(prior: str) -> None:
    network = tiny(prior)
    probabilities = given_crystals(network)
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-10)
    for state in (0b100000, 0b010010, 0b101100, 0b111111):
        exact = sum(enumerated(network, state, "kl"))
        assert -math.log(float(probabilities[state])) <= exact
        n = 2000
        with torch.no_grad():
            drawn = network.bound(batch_of([tiny_crystal(state)] * n), torch.Generator().manual_seed(2))
        assert float(drawn.mean()) == pytest.approx(exact, abs=STATISTICAL_SIGMAS * float(drawn.std()) / math.sqrt(n))


@pytest.mark.parametrize("prior", ["zeros", "marginal", "uniform"])
def test_samples_follow_the_distribution_of_the_chain(prior: str) -> None:
    network, n = tiny(prior), 4000
    expected = given_crystals(network)
    expected = expected[1:] / expected[1:].sum()  # empty ones are drawn anew
    found = network.sample_in_groups([GROUP] * n, generator=torch.Generator().manual_seed(5), batch=n)
    counts = Counter(each.protostructure for each in found)
    observed = torch.tensor([float(counts[tiny_crystal(state)]) for state in range(1, 64)], dtype=torch.float64)
    assert observed.sum() == n
    chi_squared = float(((observed - n * expected) ** 2 / (n * expected)).sum())
    assert chi_squared == pytest.approx(62, abs=STATISTICAL_SIGMAS * math.sqrt(2 * 62))
    even = float(((observed - n / 63) ** 2 / (n / 63)).sum())
    assert even > 62 + 2 * STATISTICAL_SIGMAS * math.sqrt(2 * 62), "the test would pass with any distribution"


# The network
def logits_of(network: WyckoffDiff, crystals: list[Protostructure], level: int = 4) -> tuple[Layout, Any]:
    batch = batch_of(crystals)
    layout = layout_of(batch.groups)
    occupations = occupations_of(batch, layout, network.config.max_element, network.config.max_count)
    return layout, network.logits(layout, occupations, torch.full((len(crystals),), level))


@pytest.mark.parametrize("changes", [{}, {"count_rank": 5, "site_symmetry": True, "group_features": True}], ids=str)
def test_crystals_do_not_see_each_other(changes: dict[str, Any]) -> None:
    network = model(**changes)
    layout, together = logits_of(network, CRYSTALS)
    for row, crystal in enumerate(CRYSTALS):
        _, alone = logits_of(network, [crystal])
        points, counts = together.points[layout.point_crystals == row], together.counts[layout.free_crystals == row]
        torch.testing.assert_close(alone.points, points, rtol=0, atol=ALGEBRA.float64)
        torch.testing.assert_close(alone.counts, counts, rtol=0, atol=ALGEBRA.float64)


def test_positions_are_told_apart_by_their_letters_alone() -> None:
    """In another setting a and b of rock salt are exchanged: so are the outputs if letters are not embedded."""
    other = Protostructure(225, ((17, "a"), (11, "b")))
    network = model()
    for letters in (True, False):
        if not letters:
            torch.nn.init.zeros_(network.network.letter.weight)
        here, there = (logits_of(network, [crystal])[1] for crystal in (SALT, other))
        swapped = there.points[[1, 0, 2, 3]] - here.points, there.counts - here.counts
        largest = max(float(each.detach().abs().max()) for each in swapped)
        assert (largest > 1e-4) == letters
        assert letters or largest < ALGEBRA.float64


def test_everything_that_is_known_is_seen() -> None:
    network = model()
    _, reference = logits_of(network, [SALT])
    for crystal, level in (
        (Protostructure(225, ((11, "a"), (35, "b"))), 4),
        (Protostructure(225, ((11, "a"), (17, "b"), (8, "e"))), 4),
        (Protostructure(225, ((11, "a"), (17, "b"))), 5),
    ):
        _, other = logits_of(network, [crystal], level)
        assert (other.points - reference.points).abs().max() > 1e-6
        assert (other.counts - reference.counts).abs().max() > 1e-6


def test_the_default_has_the_published_sizes() -> None:
    config = WyckoffDiffConfig()
    assert (config.channels, config.layers, config.hidden, config.steps) == (256, 3, 544, 1000)
    assert (config.max_element, config.max_count, config.side_channels) == (100, 54, 16)
    assert (config.hidden, config.objective) == (2 * (config.channels + config.side_channels), "cross_entropy")
    shared = sum(weight.numel() for weight in model(count_rank=4).parameters())
    assert shared < sum(weight.numel() for weight in model().parameters())


def test_an_untrained_network_with_offset_starts_from_the_frequencies() -> None:
    network = model(frequency_offset=True)
    for head in (network.network.point_head, network.network.count_head):
        torch.nn.init.zeros_(head[-1].weight)
        torch.nn.init.zeros_(head[-1].bias)
    with torch.no_grad():
        _, logits = logits_of(network, CRYSTALS)
    points = logits.points.softmax(-1)[0]
    n_points = len(layout_of(torch.tensor([225, 136, 14])).points)
    total = n_points + 0.5 * 101
    assert float(points[11]) == pytest.approx(1.5 / total)
    assert float(points[0]) == pytest.approx((n_points - 3 + 0.5) / total)
    free = len(layout_of(torch.tensor([225, 136, 14])).free)
    oxygen = logits.counts.softmax(-1)[0, 7]
    assert oxygen.tolist() == pytest.approx([(each + 0.5) / (free + 2.5) for each in (free - 2, 1, 1, 0, 0)])


# Data and state
def test_crystals_become_variables_and_back() -> None:
    batch = batch_of(CRYSTALS)
    layout = layout_of(batch.groups)
    occupations = occupations_of(batch, layout, 100, 4)
    assert protostructures_of(occupations, layout) == CRYSTALS
    assert int(occupations.counts.sum()) == 4
    assert occupations.points.nonzero().numel() == 3
    assert model().n_variables(layout).tolist() == [4 + 8 * 100, 4 + 7 * 100, 4 + 100]
    empty = Occupations(torch.zeros_like(occupations.points), torch.zeros_like(occupations.counts))
    assert protostructures_of(empty, layout) == [None, None, None]


def test_learning_finds_the_distribution_of_a_tiny_world() -> None:
    """Two kinds of crystal, three to one: sampled ones come out three to one, and hardly any others."""
    first = Protostructure(136, ((22, "a"), (8, "f")))
    second = Protostructure(136, ((12, "b"), (9, "f"), (9, "g")))
    sizes = {"hidden": 32, "hidden_layers": 1, "weight_layers": 1, "head_hidden": 32, "head_layers": 1, "max_count": 2}
    config = {**SMALL, **sizes, "channels": 32, "max_element": 24, "steps": 40}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = WyckoffDiff(WyckoffDiffConfig(**config, objective="kl", frequency_offset=True, per_variable=False))
    generator = torch.Generator().manual_seed(0)
    data = batch_of(([first] * 3 + [second]) * 16)
    network.learn_statistics(data)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for step in range(400):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / 400)
        optimizer.zero_grad()
        loss = network.loss(data, generator).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-20:]) < 0.1 * sum(losses[:20])
    found = network.eval().sample(400, generator=generator)
    kinds = Counter(each.protostructure for each in found)
    assert kinds[first] + kinds[second] > 360
    assert kinds[first] / (kinds[first] + kinds[second]) == pytest.approx(0.75, abs=0.1)
    common = [each.log_likelihood for each in found if each.protostructure == first]
    # -log 3/4 is the least that the bound can be on average
    assert 0.2 < -sum(common) / len(common) < 1.5


def test_config_and_state_are_the_whole_generator() -> None:
    first = model(prior="marginal", frequency_offset=True)
    second = generator_class("wyckoffdiff")(first.config).double().eval()
    second.load_state_dict(first.state_dict())
    drawn = [each.sample(8, generator=torch.Generator().manual_seed(6), batch=3) for each in (first, second)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != first.sample(8, generator=torch.Generator().manual_seed(7), batch=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "layers must be at least 1"),
        ({"steps": 1}, "steps must be at least 2"),
        ({"max_element": 119}, "max_element must be at most 118"),
        ({"prior": "zero"}, "prior is one of zeros, marginal, uniform; found 'zero'"),
        ({"schedule": "linear"}, "schedule is one of"),
        ({"objective": "vb"}, "objective is one of"),
        ({"auxiliary": -1.0}, "auxiliary must not be negative"),
        ({"steps": 10, "sampling_steps": 11}, "cannot go through 11"),
    ],
    ids=str,
)
def test_bad_configs_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WyckoffDiffConfig(**changes)


def test_data_beyond_the_model_is_refused() -> None:
    def crystals(*orbits: tuple[int, str]) -> ProtostructureBatch:
        return batch_of([Protostructure(14, orbits)])

    with pytest.raises(InputError, match="has element 92; the model knows those up to 54"):
        model(0, [SALT], max_element=54).loss(crystals((92, "e")), torch.Generator())
    with pytest.raises(InputError, match="5 orbits of one element at one position"):
        model().loss(crystals(*[(8, "e")] * 5), torch.Generator())
    untrained = WyckoffDiff(WyckoffDiffConfig(**SMALL, prior="marginal"))
    with pytest.raises(ConfigError, match="has not been trained"):
        untrained.loss(batch_of(CRYSTALS), torch.Generator())
