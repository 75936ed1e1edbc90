"""MACE and NequIP against their equations, their radial functions against closed forms, their configs' refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from learned_examples import ATOMIC_ENERGIES, COMMON, CUTOFF, crystal
from torch import Tensor

from atomsym.core import AtomGraph, AtomsymError, ConfigError
from atomsym.core.elements import COVALENT_RADII
from atomsym.core.units import COULOMB
from atomsym.derivatives import evaluate
from atomsym.kernels.neighbors import connect
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.models import (
    MACE,
    DatasetStatistics,
    LearnedConfig,
    LearnedPotential,
    MACEConfig,
    NequIP,
    NequIPConfig,
)
from atomsym.models.mace.radial import RadialBasis, chebyshev
from atomsym.models.zbl import zbl_energy
from atomsym.nn import Perceptron, bessel_basis, polynomial_cutoff
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation


def mace(**changes: Any) -> MACE:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return MACE(MACEConfig(**(COMMON | changes))).double().requires_grad_(False)


def nequip(**changes: Any) -> NequIP:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return NequIP(NequIPConfig(**(COMMON | changes))).double().requires_grad_(False)


def isolated(species: Tensor) -> Tensor:
    return torch.tensor(ATOMIC_ENERGIES, dtype=torch.float64)[species]


def by_hand(network: Perceptron, x: Tensor) -> Tensor:
    """A network of one hidden layer, or none."""
    first, *rest = network.weights
    x = x @ first / first.shape[0] ** 0.5
    for weight in rest:
        x = 1.6791767923989418 * x * torch.sigmoid(x) @ weight / weight.shape[0] ** 0.5
    return x


def summed_scalars(h: Tensor, weights: Tensor, graph: AtomGraph) -> Tensor:
    """Σ_j w(d_ij) h_j: what one layer knows of degree 0."""
    receiver, sender = graph.edge_index
    return torch.zeros_like(h).index_add(0, receiver, weights * h[sender])


def test_one_layer_of_mace_equals_its_equation() -> None:
    """With one factor and scalars only: E = E0 + scale · w · (Linear(W_z A_i) + W_z h_i) + shift."""
    potential, graph = mace(n_layers=1, correlation=1, max_degree=0, hidden="0e"), crystal()
    config, layer, product = potential.config, potential.interactions[0], potential.products[0]
    species, n_species = potential.species(graph.numbers), 3
    d = graph.edge_vectors().norm(dim=1)
    basis = bessel_basis(d, CUTOFF, config.n_radial) * polynomial_cutoff(d, CUTOFF, power=5).unsqueeze(1)
    h = potential.embedding[species] / n_species**0.5
    messages = summed_scalars(h @ layer.up.weights[0] / 2, by_hand(layer.radial, basis), graph)
    messages = messages @ layer.down.weights[0] / 2 / config.average_neighbors
    (scalar,) = product.contraction.couplings[0].tensors().flatten().tolist()
    assert abs(scalar) == pytest.approx(1, abs=1e-14)
    products = scalar * product.weights[species, 0] * messages
    skipped = torch.einsum("nc,ncd->nd", h, layer.skip.weights[0][species]) / (4 * n_species) ** 0.5
    features = products @ product.linear.weights[0] / 2 + skipped
    energies = (features @ potential.readouts[0].network.weights[0] / 2).squeeze(1)
    expected = isolated(species) + config.scale * energies + config.shift
    assert deviation(potential(graph)["energies"], expected) < tolerances.ALGEBRA.float64


def test_one_layer_of_nequip_equals_its_equation() -> None:
    """E = E0 + scale · w · silu(Linear(Σ_j w(d_ij) Linear(h_j)) / sqrt(N) + W_z h_i) + shift."""
    potential, graph = nequip(n_layers=1), crystal()
    config, layer, species = potential.config, potential.layers[0], potential.species(graph.numbers)
    d = graph.edge_vectors().norm(dim=1)
    basis = bessel_basis(d, CUTOFF, config.n_radial) * polynomial_cutoff(d, CUTOFF, power=6).unsqueeze(1)
    h = potential.embedding[species] / 3**0.5
    summed = summed_scalars(h @ layer.up.weights[0] / 2, by_hand(layer.radial, basis), graph)
    skipped = torch.einsum("nc,ncd->nd", h, layer.skip.weights[0][species]) / 12**0.5
    x = summed @ layer.down.weights[0] / 2 / config.average_neighbors**0.5 + skipped
    features = 1.6791767923989418 * x * torch.sigmoid(x)
    energies = (features @ potential.readout.weights[0] / 2).squeeze(1)
    expected = isolated(species) + config.scale * energies + config.shift
    assert deviation(potential(graph)["energies"], expected) < tolerances.ALGEBRA.float64


def test_what_nequip_has_by_element_equals_its_equation() -> None:
    """E = E0 + scale · s_z · readout(h_i) + shift + ½ Σ_j ZBL w, distances stretched by pair, senders by theirs."""
    scales, counts = torch.tensor([0.7, 1.2, 0.9]).double(), torch.tensor([2.0, 4.0, 3.0]).double()
    cutoffs = torch.tensor([[2.4, 2.6, 2.8], [2.5, 3.0, 2.9], [2.7, 2.95, 3.0]]).double()
    potential, graph = nequip(
        n_layers=1, element_scales=tuple(scales.tolist()), element_neighbors=tuple(counts.tolist()),
        pair_cutoffs=tuple(map(tuple, cutoffs.tolist())), readout_hidden=(6,), repulsion="published", repulsion_power=4,
    ), crystal()  # fmt: skip
    config, layer, species = potential.config, potential.layers[0], potential.species(graph.numbers)
    receiver, sender = graph.edge_index
    d = graph.edge_vectors().norm(dim=1)
    x = CUTOFF * d / cutoffs[species[receiver], species[sender]]
    basis = bessel_basis(x, CUTOFF, config.n_radial) * polynomial_cutoff(x, CUTOFF, power=6).unsqueeze(1)
    h = potential.embedding[species] / 3**0.5
    sent = h @ layer.up.weights[0] / 2 / counts[species].sqrt().unsqueeze(1)
    summed = summed_scalars(sent, by_hand(layer.radial, basis), graph)
    skipped = torch.einsum("nc,ncd->nd", h, layer.skip.weights[0][species]) / 12**0.5
    gated = summed @ layer.down.weights[0] / 2 + skipped
    energies = by_hand(potential.readout, 1.6791767923989418 * gated * torch.sigmoid(gated)).squeeze(1)
    pairs = zbl_energy(d, graph.numbers[receiver], graph.numbers[sender]) * polynomial_cutoff(x, CUTOFF, power=4)
    repelled = torch.zeros(5).double().index_add(0, receiver, 0.5 * pairs)
    learned = isolated(species) + config.scale * scales[species] * energies + config.shift
    assert float(repelled.min()) > 1e-3
    assert deviation(potential(graph)["energies"], learned + repelled) < 1e-6  # their constant of Coulomb is rounded
    exact = learned + repelled * (14.399645 / COULOMB)
    assert deviation(potential(graph)["energies"], exact) < tolerances.ALGEBRA.float64


def test_messages_of_every_degree_are_sums_of_harmonics() -> None:
    """A_lm = Linear_l(Σ_j w_l(d_ij) Y_lm(r_ij) h_j) / N in the first layer."""
    potential, graph = mace(), crystal()
    layer, species = potential.interactions[0], potential.species(graph.numbers)
    vectors = graph.edge_vectors()
    d = vectors.norm(dim=1)
    basis = bessel_basis(d, CUTOFF, 5) * polynomial_cutoff(d, CUTOFF, power=5).unsqueeze(1)
    weights, harmonics = by_hand(layer.radial, basis).reshape(-1, 3, 4), spherical_harmonics(vectors, 2)
    h = (potential.embedding[species] / 3**0.5) @ layer.up.weights[0] / 2
    seen: list[Any] = []
    with layer.register_forward_hook(lambda _, __, output: seen.append(output[0])):
        potential(graph)
    for degree in range(3):
        place = slice(degree**2, (degree + 1) ** 2)
        terms = harmonics[:, place, None] * (weights[:, degree] * h[graph.edge_index[1]]).unsqueeze(1)
        summed = torch.zeros(5, 2 * degree + 1, 4).double().index_add(0, graph.edge_index[0], terms)
        expected = summed @ layer.down.weights[degree] / 2 / 3.0
        assert deviation(seen[0][:, place], expected) < tolerances.ALGEBRA.float64


def test_density_divides_by_one_plus_the_sum_over_neighbors() -> None:
    potential, graph = mace(density=True), crystal()
    layer = potential.interactions[0]
    d = graph.edge_vectors().norm(dim=1)
    basis = bessel_basis(d, CUTOFF, 5) * polynomial_cutoff(d, CUTOFF, power=5).unsqueeze(1)
    near = torch.tanh((basis @ layer.density.weights[0] / 5**0.5) ** 2)
    density = torch.zeros(5, 1).double().index_add(0, graph.edge_index[0], near)
    plain = mace()
    plain.load_state_dict(potential.state_dict(), strict=False)
    seen: list[Any] = []
    for model in (potential, plain):
        with model.interactions[0].register_forward_hook(lambda _, __, output: seen.append(output[0])):
            model(graph)
    assert deviation(seen[0], seen[1] * 3.0 / (1 + density).unsqueeze(2)) < tolerances.ALGEBRA.float64


@pytest.mark.parametrize("hidden", ["0e", "0e+1o"])
def test_i05_isolated_atoms_have_their_reference_energy_if_the_first_layer_is_plain(hidden: str) -> None:
    lone = connect(AtomGraph.from_arrays([[0, 0, 0]], [14]), CUTOFF)
    config = COMMON | {"hidden": hidden}
    plain, residual = mace(**config, first_interaction="plain"), mace(**config)
    reference = ATOMIC_ENERGIES[1] + COMMON["shift"]
    assert float(plain(lone)["energies"]) == pytest.approx(reference, abs=1e-15)
    assert abs(float(residual(lone)["energies"]) - reference) > 1e-3


def test_repulsion_adds_half_of_every_screened_pair() -> None:
    """MACE's rounded constants, its polynomial cutoff at the sum of the covalent radii, and its scale."""
    plain, repulsive, graph = mace(), mace(repulsion="published"), crystal()
    receiver, sender = graph.numbers[graph.edge_index[0]], graph.numbers[graph.edge_index[1]]
    d, radii = graph.edge_vectors().norm(dim=1), torch.tensor(COVALENT_RADII, dtype=torch.float64)
    weight = polynomial_cutoff(d, radii[receiver] + radii[sender], power=5)
    assert weight.max() > 0.01
    a = 0.4543 * 0.529 / (receiver.double() ** 0.3 + sender.double() ** 0.3)
    screening = sum(
        c * torch.exp(-b * d / a)
        for c, b in zip((0.1818, 0.5099, 0.2802, 0.02817), (3.2, 0.9423, 0.4028, 0.2016), strict=True)
    )
    pairs = 14.3996 * receiver.double() * sender / d * screening * weight
    expected = 0.7 * torch.zeros(5).double().index_add(0, graph.edge_index[0], 0.5 * pairs)
    found = repulsive(graph)["energies"] - plain(graph)["energies"]
    assert deviation(found, expected) < tolerances.BACKEND_PARITY.float64


def test_the_smooth_repulsion_ends_with_a_continuous_third_derivative_and_the_published_one_does_not() -> None:
    """At the sum of the covalent radii, where bonds vibrate: a jump there costs dynamics their conserved energy."""
    reach = COVALENT_RADII[8] + COVALENT_RADII[14]
    numbers = (torch.tensor([8]), torch.tensor([14]))

    def derivative(kind: str, order: int, distance: float) -> float:
        d = torch.tensor([distance], dtype=torch.float64, requires_grad=True)
        value = mace(repulsion=kind).repulsion(d, *numbers)
        for _ in range(order):
            (value,) = torch.autograd.grad(value.sum(), d, create_graph=True)
        return float(value.detach())

    inside, scale = reach - 1e-4, derivative("published", 3, reach - 1e-4)
    assert abs(scale) > 1  # eV/Å³
    for kind in ("smooth", "universal"):
        assert all(abs(derivative(kind, order, inside)) < 1e-3 * abs(scale) for order in range(4))
    assert all(
        derivative(kind, order, reach) == 0 for kind in ("smooth", "universal", "published") for order in range(3)
    )
    assert derivative("smooth", 0, 0.8) > 0.5  # eV: nuclei that come close still repel each other


@pytest.mark.parametrize("end", [1.0, 0.75])
def test_the_universal_repulsion_is_whole_at_short_distance_and_ends_as_smoothly(end: float) -> None:
    """In eV whatever the model's scale is, and with the constants of its authors."""
    reach = end * (COVALENT_RADII[8] + COVALENT_RADII[14])
    model = mace(repulsion="universal", scale=0.7, repulsion_end=end)
    d = torch.tensor([0.2, 0.49, 0.75, 1.0], dtype=torch.float64) * reach
    numbers = (torch.full((4,), 8), torch.full((4,), 14))
    weights = 0.7 * model.repulsion(d, *numbers) / (0.5 * zbl_energy(d, *numbers))
    assert deviation(weights, torch.tensor([1, 1, 0.5, 0], dtype=torch.float64)) < 1e-12
    assert (0.7 * model.repulsion(d, *numbers)[:3] > 2 * mace(repulsion="smooth").repulsion(d, *numbers)[:3]).all()


def test_distance_transforms_equal_their_equations() -> None:
    d = torch.linspace(0.3, 4.0, 40, dtype=torch.float64)
    first, second = torch.full((40,), 8), torch.full((40,), 22)
    bond = COVALENT_RADII[8] + COVALENT_RADII[22]
    x = (2 * d / bond).numpy()
    expected = {
        "none": d.numpy(),
        "agnesi": 1 / (1 + 1.0805 * x**0.9183 / (1 + x ** (0.9183 - 4.5791))),
        "soft": 0.75 * bond
        + (d.numpy() - 0.75 * bond)
        * 0.5
        * (1 + np.tanh(4 / (4 / 3 * bond - 0.75 * bond) * (d.numpy() - 0.5 * (4 / 3 + 0.75) * bond))),
    }
    for name, values in expected.items():
        basis = RadialBasis(MACEConfig(**(COMMON | {"distance_transform": name})))
        np.testing.assert_allclose(basis.transformed(d, first, second).numpy(), values, rtol=1e-13)


def test_chebyshev_polynomials_are_cosines_of_multiples() -> None:
    x = torch.linspace(-1, 1, 21, dtype=torch.float64)
    expected = torch.cos(torch.arange(1, 7) * torch.arccos(x).unsqueeze(1))
    torch.testing.assert_close(chebyshev(x, 6), expected, rtol=0, atol=1e-13)


def test_features_of_nequip_are_those_that_layers_can_reach() -> None:
    config = NequIPConfig(**(COMMON | {"hidden": "0e+0o+1e+1o+2o+3o", "max_degree": 1, "n_layers": 4}))
    assert [str(config.features(layer)) for layer in range(5)] == [
        "0e",
        "0e+1o",
        "0e+1e+1o",
        "0e+0o+1e+1o+2o",
        "0e",
    ]


def test_messages_of_mace_have_both_parities_once_features_do() -> None:
    config = MACEConfig(**(COMMON | {"hidden": "0e+1e", "max_degree": 1}))
    assert [str(config.messages(layer)) for layer in range(2)] == ["0e+1o", "0e+0o+1e+1o"]
    assert str(replace(config, hidden="0e+1o").messages(1)) == "0e+1o"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"atomic_energies": (0.0,)}, "1 atomic_energies for 3 elements"),
    ({"average_neighbors": 0.0}, "average_neighbors positive"),
    ({"scale": math.nan}, "must be finite"),
    ({"channels": 0}, "channels must be at least 1; found 0"),
    ({"n_layers": 0}, "n_layers must be at least 1"),
    ({"radial_hidden": (8, 0)}, "radial_hidden must be at least 1"),
    ({"max_degree": -1}, "max_degree must be >= 0"),
    ({"envelope_power": 1}, "envelope_power >= 2"),
    ({"hidden": "1o+0e"}, "begin with 0e"),
    ({"hidden": "0e+1o+1o"}, "different irreps"),
    ({"hidden": "0e+1x"}, "cannot read the irrep"),
    ({"elements": (22, 14, 8)}, "increasing"),
    ({"cutoff": -1.0}, "cutoff must be"),
]
REFUSED_BY = {
    MACEConfig: [
        ({"correlation": 5}, "correlation must be 1 to 4"),
        ({"radial_basis": "fourier"}, "radial_basis must be one of bessel, gaussian, chebyshev; found 'fourier'"),
        ({"interaction": "none"}, "interaction must be one of"),
        ({"distance_transform": "hard"}, "distance_transform must be one of"),
        ({"radial_basis": "gaussian", "n_radial": 1}, "n_radial >= 2"),
        ({"frequencies": (1.0, 2.0)}, "frequencies must be 5"),
        ({"frequencies": (1.0,) * 5, "radial_basis": "gaussian"}, "of Bessel functions"),
        ({"frequencies": (1.0, 2.0, 3.0, 4.0, math.inf)}, "frequencies must be finite"),
        ({"readout_activation": "relu"}, "no activation 'relu'"),
        ({"repulsion": "smooth", "repulsion_end": 0.8}, "found 0.8 with 'smooth'"),
        ({"repulsion": "universal", "repulsion_end": 1.2}, "repulsion_end must be above 0 and at most 1"),
    ],
    NequIPConfig: [
        ({"parity": False}, "without parity all hidden irreps must be even"),
        ({"readout_hidden": (0,)}, "readout_hidden must be at least 1"),
        ({"element_scales": (1.0, 2.0)}, "element_scales must be 3 finite numbers"),
        ({"element_scales": (1.0, 2.0, math.inf)}, "element_scales must be 3 finite numbers"),
        ({"element_neighbors": (1.0, 2.0, 0.0)}, "element_neighbors must be positive"),
        ({"pair_cutoffs": ((1.0, 2.0, 3.0),) * 2}, "pair_cutoffs must be 3 rows of 3"),
        ({"pair_cutoffs": ((1.0, 2.0, 3.1),) * 3}, "pair_cutoffs must be above 0 and at most the cutoff, 3 Å"),
        ({"repulsion": "universal"}, "repulsion must be one of none, published"),
        ({"repulsion": "published", "repulsion_power": 1}, "its power >= 2; found 'published', 1"),
    ],
}


@pytest.mark.parametrize("config", [MACEConfig, NequIPConfig])
def test_configs_refuse_what_cannot_work(config: type[LearnedConfig]) -> None:
    for changes, message in REFUSED + REFUSED_BY[config]:
        with pytest.raises(AtomsymError, match=message):
            config(**(COMMON | {"hidden": "0e+1o"} | changes))


STATISTICS = DatasetStatistics(
    elements=(1, 6, 8),
    cutoff=4.5,
    average_neighbors=11.0,
    atomic_energies=(-13.6, -1029.0, -2041.0),
    mean_interaction_energy=-4.2,
    rms_forces=1.3,
)


@pytest.mark.parametrize("potential", [MACE, NequIP])
def test_configs_take_from_the_data_what_is_not_set(potential: type[LearnedPotential]) -> None:
    config: Any = potential.config_from_statistics({"channels": 8}, STATISTICS)
    assert isinstance(config, potential.Config)
    assert (config.elements, config.cutoff, config.channels) == ((1, 6, 8), 4.5, 8)
    assert (config.atomic_energies, config.average_neighbors) == ((-13.6, -1029.0, -2041.0), 11.0)
    assert (config.scale, config.shift) == (1.3, -4.2)


@pytest.mark.parametrize("potential", [MACE, NequIP])
def test_settings_win_over_the_data(potential: type[LearnedPotential]) -> None:
    settings = {"elements": (1, 8), "scale": 2.0, "shift": 0.0, "cutoff": 6.0, "average_neighbors": 30.0}
    config: Any = potential.config_from_statistics(settings, STATISTICS)
    assert {name: getattr(config, name) for name in settings} == settings
    assert config.atomic_energies == (-13.6, -2041.0)
    more = {"elements": (1, 6, 7, 8), "atomic_energies": (1.0, 2.0, 3.0, 4.0)}
    assert potential.config_from_statistics(more, STATISTICS).elements == (1, 6, 7, 8)


def test_settings_that_the_data_contradict_are_refused() -> None:
    with pytest.raises(ConfigError, match="the data do not hold N; set atomic_energies for H, C, N"):
        MACE.config_from_statistics({"elements": (1, 6, 7)}, STATISTICS)
    with pytest.raises(ConfigError, match=r"neighbors were counted up to 4\.5 Å, but the cutoff is 5 Å"):
        NequIP.config_from_statistics({"cutoff": 5.0}, STATISTICS)


def test_data_without_forces_leave_the_scale_alone() -> None:
    for unknown in (0.0, math.nan):
        config: Any = MACE.config_from_statistics({}, replace(STATISTICS, rms_forces=unknown))
        assert config.scale == 1.0


def test_a_potential_made_from_statistics_runs() -> None:
    """And its interaction has the size that the data say: about the mean energy, forces of the order of theirs."""
    config = MACE.config_from_statistics({"channels": 4, "radial_hidden": (8,)}, STATISTICS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        potential = MACE(config)  # type: ignore[arg-type]
    water = AtomGraph.from_arrays([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], [8, 1, 1], dtype=torch.float32)
    result = evaluate(potential, connect(water, 4.5), ("forces",))
    interaction = float(result.energy) - (-2041.0 - 2 * 13.6) - 3 * -4.2
    assert 0 < abs(interaction) < 3 * 10 * 1.3
