"""Lennard-Jones, Morse, ZBL and sums: closed forms, literature values, configs and their errors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from atomsym.core import AtomGraph, ConfigError, InputError, units
from atomsym.models import (
    ARGON,
    COPPER,
    UNIVERSAL,
    ZBL,
    LennardJones,
    LennardJonesConfig,
    Morse,
    MorseConfig,
    Potential,
    Sum,
    SumConfig,
    ZBLConfig,
    architecture,
    architectures,
    lorentz_berthelot,
    zbl_energy,
)
from atomsym.testing import tolerances


def dimer(distance: float, numbers: tuple[int, int] = (18, 18), cutoff: float = 12.0) -> AtomGraph:
    graph = AtomGraph.from_arrays([[0, 0, 0], [0, 0.6 * distance, 0.8 * distance]], numbers)
    return graph.with_edges(torch.tensor([[0, 1], [1, 0]]), torch.zeros(2, 3, dtype=torch.int32), cutoff)


def energy(potential: Potential, graph: AtomGraph) -> float:
    return float(potential(graph)["energies"].sum().detach())


def test_argon_dimer_has_the_literature_well() -> None:
    depth, sigma = ARGON.epsilon[0][0], ARGON.sigma[0][0]
    assert depth == pytest.approx(0.010324, abs=1e-6)  # 119.8 K
    assert depth / units.BOLTZMANN == pytest.approx(119.8)
    potential = LennardJones(ARGON)
    assert energy(potential, dimer(2 ** (1 / 6) * sigma)) == pytest.approx(-depth, rel=1e-12)
    assert abs(energy(potential, dimer(sigma))) < 1e-15
    for distance in (3.0, 3.7, 5.1, 6.7):
        expected = 4 * depth * ((sigma / distance) ** 12 - (sigma / distance) ** 6)
        assert energy(potential, dimer(distance)) == pytest.approx(expected, rel=1e-12)


def test_each_atom_has_half_of_the_pair() -> None:
    energies = LennardJones(ARGON)(dimer(3.6))["energies"]
    assert energies.shape == (2,)
    assert float((energies[0] - energies[1]).abs().detach()) == 0


def test_without_an_onset_the_envelope_weights_the_whole_range() -> None:
    plain = LennardJones(replace(ARGON, cutoff=12.0, onset=11.0))
    weighted = LennardJones(replace(ARGON, onset=None))
    for distance in (3.0, 4.0, 7.0):
        expected = energy(plain, dimer(distance)) * (1 - (distance / 8.5) ** 2) ** 4
        assert energy(weighted, dimer(distance)) == pytest.approx(expected, rel=1e-12)


def test_mixtures_use_the_entry_of_their_pair() -> None:
    epsilon, sigma = lorentz_berthelot((0.003, 0.010), (2.8, 3.4))
    potential = LennardJones(LennardJonesConfig((10, 18), 12.0, epsilon, sigma, onset=11.0))
    for numbers, depth, size in (((10, 10), 0.003, 2.8), ((10, 18), math.sqrt(3e-5), 3.1), ((18, 18), 0.010, 3.4)):
        assert energy(potential, dimer(2 ** (1 / 6) * size, numbers)) == pytest.approx(-depth, rel=1e-12)


def test_copper_dimer_and_lattice_have_the_literature_values() -> None:
    potential = Morse(COPPER)
    assert energy(potential, dimer(2.866, (29, 29))) == pytest.approx(-0.3429, rel=1e-12)
    for distance in (2.2, 3.1, 6.0):
        x = math.exp(-1.3588 * (distance - 2.866))
        assert energy(potential, dimer(distance, (29, 29))) == pytest.approx(0.3429 * (x * x - 2 * x), rel=1e-12)
    # The parameters were fitted to a = 3.61 Å and 3.5 eV/atom with the sum over the whole lattice.
    sites = np.stack(np.meshgrid(*[np.arange(-8, 9)] * 3)).reshape(3, -1)
    sites = sites[:, (sites.sum(axis=0) % 2 == 0) & (sites != 0).any(axis=0)]
    radii = torch.from_numpy(np.linalg.norm(sites, axis=0) / 2)
    copper = torch.full((len(radii),), 29)

    def per_atom(lattice: float) -> float:
        return 0.5 * float(potential.pair_energy(lattice * radii, copper, copper).sum().detach())

    best = minimize_scalar(per_atom, bounds=(3.2, 4.2), method="bounded")
    assert best.x == pytest.approx(3.61, abs=0.01)
    assert best.fun == pytest.approx(-3.5, abs=0.05)


def test_zbl_equals_its_formula_for_light_and_heavy_pairs() -> None:
    potential = ZBL(ZBLConfig(cutoff=3.0, onset=2.5))
    for z1, z2 in ((1, 1), (6, 18), (29, 92), (118, 118)):
        for distance in (0.05, 0.3, 1.0, 2.0):
            a = 0.46850 / (z1**0.23 + z2**0.23)
            x = distance / a
            phi = (
                0.18175 * math.exp(-3.1998 * x)
                + 0.50986 * math.exp(-0.94229 * x)
                + 0.28022 * math.exp(-0.4029 * x)
                + 0.02817 * math.exp(-0.20162 * x)
            )
            expected = 14.399645 * z1 * z2 / distance * phi
            assert energy(potential, dimer(distance, (z1, z2))) == pytest.approx(expected, rel=1e-7)
    assert sum(UNIVERSAL.weights) == pytest.approx(1.0, abs=1e-12)  # bare nuclei at contact
    assert pytest.approx(0.88534 * units.BOHR, abs=1e-4) == UNIVERSAL.length


def test_zbl_is_symmetric_and_repulsive_everywhere() -> None:
    distance = torch.linspace(0.05, 6, 300, dtype=torch.float64, requires_grad=True)
    first, second = torch.full((300,), 7), torch.full((300,), 79)
    values = zbl_energy(distance, first, second)
    torch.testing.assert_close(values, zbl_energy(distance, second, first), rtol=1e-14, atol=0)
    (slope,) = torch.autograd.grad(values.sum(), distance)
    assert bool((slope < 0).all())


ALL: dict[str, tuple[Callable[[], Potential], int]] = {
    "lennard-jones": (lambda: LennardJones(ARGON), 18),
    "morse": (lambda: Morse(COPPER), 29),
    "zbl": (lambda: ZBL(ZBLConfig()), 14),
    "sum": (lambda: Sum.of(LennardJones(ARGON), ZBL(ZBLConfig())), 18),
}


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_i02_overlapping_atoms_have_finite_energies_and_derivatives(name: str, dtype: torch.dtype) -> None:
    make, number = ALL[name]
    potential = make().to(dtype)
    for distance in (0.0, 1e-300, 1e-6, 0.05, 0.1):
        graph = dimer(distance, (number, number)).to(dtype=dtype)
        positions = graph.positions.requires_grad_()
        total = potential(graph.with_positions(positions))["energies"].sum()
        (gradient,) = torch.autograd.grad(total, positions, create_graph=True)
        (second,) = torch.autograd.grad(gradient[0, 1], positions)
        assert total.dtype == dtype
        assert bool(total.isfinite() and gradient.isfinite().all() and second.isfinite().all())
        assert float(total.detach()) > 0 or name == "morse"


@pytest.mark.parametrize("name", sorted(ALL))
def test_f18_dimers_are_repulsive_at_short_range_without_holes(name: str) -> None:
    make, number = ALL[name]
    potential = make()
    distances = np.linspace(0.3, 6, 200)
    energies = np.array([energy(potential, dimer(d, (number, number))) for d in distances])
    well = int(energies.argmin())
    assert (np.diff(energies[: well + 1]) < 0).all()
    assert np.isfinite(energies).all()
    assert energies.min() > -1


def test_unknown_elements_give_nan_and_never_the_parameters_of_another() -> None:
    for potential, numbers in (
        (LennardJones(ARGON), (18, 36)),
        (Morse(COPPER), (29, 79)),
        (ZBL(ZBLConfig(elements=(1, 8))), (8, 14)),
    ):
        assert math.isnan(energy(potential, dimer(1.5, numbers)))


def test_edges_that_are_missing_or_too_short_are_refused() -> None:
    with pytest.raises(InputError, match=r"the graph has no edges yet, but LennardJones needs edges up to 8\.5 Å"):
        LennardJones(ARGON)(AtomGraph.from_arrays([[0, 0, 0]], [18]))
    with pytest.raises(InputError, match="was connected up to 8 Å"):
        LennardJones(ARGON)(dimer(3.0, cutoff=8.0))


def test_architectures_are_found_by_name_and_rebuilt_from_plain_data() -> None:
    assert {"lennard-jones", "morse", "zbl", "sum"} <= set(architectures())
    for make, number in ALL.values():
        potential = make()
        found = architecture(potential.architecture)
        config = found.Config(**json.loads(json.dumps(asdict(potential.config))))
        assert config == potential.config
        assert hash(config) == hash(potential.config)
        rebuilt = found(config)
        rebuilt.load_state_dict(potential.state_dict())
        graph = dimer(1.7, (number, number))
        assert energy(rebuilt, graph) == energy(potential, graph)


def test_parameters_are_float64_trainable_and_cast_by_to() -> None:
    potential = LennardJones(ARGON)
    assert {name: p.dtype for name, p in potential.named_parameters()} == {
        "epsilon": torch.float64,
        "sigma": torch.float64,
    }
    single = LennardJones(ARGON).to(torch.float32)
    graph = dimer(3.5)
    assert single(graph.to(dtype=torch.float32))["energies"].dtype == torch.float32
    assert energy(single, graph.to(dtype=torch.float32)) == pytest.approx(energy(potential, graph), rel=1e-4)


def test_a_sum_is_the_sum_and_keeps_the_weights_of_its_parts() -> None:
    argon, repulsion = LennardJones(ARGON), ZBL(ZBLConfig())
    with torch.no_grad():
        argon.epsilon.mul_(2)
    total = Sum.of(argon, repulsion)
    assert total.elements == (18,)
    assert total.cutoff == 8.5
    assert total.continuous
    graph = dimer(1.4)
    assert energy(total, graph) == pytest.approx(energy(argon, graph) + energy(repulsion, graph), rel=1e-14)
    with pytest.raises(ConfigError, match="at least one potential"):
        Sum.of()
    with pytest.raises(ConfigError, match="elements must be"):
        SumConfig.of(LennardJones(ARGON), Morse(COPPER))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"elements": ()}, "elements must be increasing atomic numbers"),
        ({"elements": (18, 10), "epsilon": ((1, 1), (1, 1)), "sigma": ((1, 1), (1, 1))}, "increasing"),
        ({"elements": (119,)}, "from 1 to 118"),
        ({"cutoff": 0.0}, "cutoff must be a positive number"),
        ({"cutoff": math.inf}, "cutoff must be a positive number"),
        ({"onset": 8.5}, r"onset must be in \[0, cutoff\)"),
        ({"onset": -1.0}, r"onset must be in \[0, cutoff\)"),
        ({"epsilon": ((-1.0,),)}, r"epsilon\[Ar, Ar\] is -1.0; it must be finite and >= 0"),
        ({"sigma": ((0.0,),)}, r"sigma\[Ar, Ar\] is 0.0; it must be finite and > 0"),
        ({"sigma": ((math.nan,),)}, "must be finite"),
        ({"sigma": ((1.0, 2.0),)}, "must be a 1 x 1 table"),
        ({"sigma": 3.4}, "must be a table of numbers"),
        ({"sigma": (("a",),)}, "must be a table of numbers"),
        (
            {"elements": (10, 18), "epsilon": ((1.0, 2.0), (3.0, 1.0)), "sigma": ((1.0, 1.0), (1.0, 1.0))},
            r"epsilon must be symmetric; epsilon\[Ne, Ar\] is 2.0 and its mirror is 3.0",
        ),
    ],
)
def test_configs_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(ARGON, **change)
    with pytest.raises(ConfigError):
        MorseConfig((29,), 5.0, ((1.0,),), ((0.0,),), ((1.0,),))


def test_a_compiled_potential_gives_the_same_energies() -> None:
    torch._dynamo.reset()
    for make, number in ALL.values():
        potential = make()
        compiled = torch.compile(potential, fullgraph=True, backend="eager")
        graph = dimer(1.8, (number, number))
        error = float((compiled(graph)["energies"] - potential(graph)["energies"]).abs().max().detach())
        assert error <= tolerances.ALGEBRA.float64 * abs(energy(potential, graph))
