"""From one line of a config to model files and molecular dynamics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.io import write
from unconstrained import CONFIG, CUTOFF, ELEMENTS, bare, molecule, symmetrized

from atomsym.artifacts import ModelCard, config_from_dict, config_to_dict, load_model, read_card, save_model
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import ConfigError, InputError, LabelledStructure
from atomsym.derivatives import evaluate
from atomsym.models import Potential, Sum
from atomsym.symmetrizers import (
    GroupAverageConfig,
    SymmetrizedConfig,
    SymmetrizedPotential,
    Symmetrizer,
    register_symmetrizer,
    symmetrizer,
)
from atomsym.training import TrainingConfig, model_cutoff, resolved_config
from atomsym.training.resolve import new_potential
from atomsym.training.samples import Samples
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.md.simulation import run_md

CARD = ModelCard("tiny", level_of_theory="none", training_data="made", licence="MIT", citation="none")
MODEL = {"architecture": "unconstrained", "cutoff": CUTOFF}
LINES: list[Any] = [
    "weighted",
    "full",
    "deterministic",
    {"method": "stochastic", "group": "SE3", "seed": 4},
    {"method": "weighted", "threshold": 0.5, "samples": 6, "choice": "random"},
    {"method": "canonicalization", "projection": "gram-schmidt", "channels": 4},
    {"method": "group", "name": "Td"},
    {"method": "quadrature", "degree": 1, "group": "E2"},
    "augmentation",
]


def structures() -> list[LabelledStructure]:
    generator = np.random.default_rng(0)
    found = []
    for seed in range(4):
        graph = molecule(5, seed=seed)
        found.append(
            LabelledStructure(
                numbers=graph.numbers.numpy(),
                positions=graph.positions.numpy(),
                cell=np.zeros((3, 3)),
                pbc=np.zeros(3, dtype=bool),
                energy=float(generator.normal()),
                forces=generator.normal(size=(5, 3)),
                source=f"made:{seed}",
            )
        )
    return found


def config(**model: Any) -> TrainingConfig:
    return config_from_dict(TrainingConfig, {"model": {**MODEL, **model}, "epochs": 1})


# The config ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", LINES, ids=str)
def test_one_line_of_the_config_wraps_an_architecture(line: Any, tmp_path: Path) -> None:
    asked = config(symmetrizer=line, channels=3)
    assert asked.model["architecture"] == "symmetrized"
    assert model_cutoff(asked) == CUTOFF
    assert config_from_dict(TrainingConfig, config_to_dict(asked)) == asked
    samples = Samples(structures(), CUTOFF, torch.float64)
    complete, _ = resolved_config(asked, samples)
    assert complete.model["cutoff"] == CUTOFF
    potential = new_potential(complete)
    assert isinstance(potential, SymmetrizedPotential)
    assert potential.model.config.channels == 3  # type: ignore[attr-defined]
    assert potential.symmetrizer.method == (line if isinstance(line, str) else line["method"])
    path = tmp_path / "model.safetensors"
    save_model(potential, path, CARD)
    loaded = load_model(path)
    assert read_card(path).architecture == "symmetrized"
    assert isinstance(loaded, SymmetrizedPotential)
    assert loaded.config == potential.config
    graph = molecule()
    expected = evaluate(potential.eval(), graph, ("energy", "forces"))
    found = evaluate(loaded, graph, ("energy", "forces"))
    assert torch.equal(found.energy, expected.energy)
    assert torch.equal(found.forces, expected.forces)  # type: ignore[arg-type]


def test_weights_of_the_symmetrizer_are_trained_with_the_model() -> None:
    potential = symmetrized("canonicalization").train()
    found = evaluate(potential, molecule(), ("energy", "forces"), create_graph=True)
    assert found.forces is not None
    (found.energy.sum() + found.forces.square().sum()).backward()
    for name, weight in potential.named_parameters():
        assert weight.grad is not None, name
        assert float(weight.grad.abs().max()) > 0, name


def test_the_long_form_is_the_same_and_a_name_alone_is_enough() -> None:
    short = config(symmetrizer="full")
    long = config_from_dict(
        TrainingConfig,
        {"model": {"architecture": "symmetrized", "model": MODEL, "symmetrizer": {"method": "full"}}, "epochs": 1},
    )
    named = replace(short, model={"architecture": "symmetrized", "model": MODEL, "symmetrizer": "full"})
    samples = Samples(structures(), CUTOFF, torch.float64)
    resolved = [resolved_config(given, samples)[0].model for given in (short, long, named)]
    assert resolved[0] == resolved[1] == resolved[2]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"symmetrizer": "weightd"}, "did you mean 'weighted'"),
        ({"symmetrizer": {"group": "E3"}}, "symmetrizer.method is missing"),
        ({"symmetrizer": {"method": "full", "grup": "E3"}}, "did you mean 'group'"),
        ({"symmetrizer": {"method": "full", "group": "O3"}}, "group is 'O3'"),
        ({"symmetrizer": {"method": "weighted", "threshold": 0.9}}, "threshold must be"),
        ({"symmetrizer": {"method": "weighted", "flatness": 0.0}}, "flatness must be"),
        ({"symmetrizer": {"method": "weighted", "samples": -1}}, "samples must be"),
        ({"symmetrizer": {"method": "stochastic", "seed": -1}}, "seed of a symmetrizer"),
        ({"symmetrizer": {"method": "quadrature", "degree": -1}}, "degree must be"),
        ({"symmetrizer": {"method": "canonicalization", "group": "E2"}}, "group is 'E2'"),
        ({"symmetrizer": {"method": "canonicalization", "channels": 0}}, "at least 1"),
        ({"symmetrizer": {"method": "group"}}, "either the name"),
        ({"symmetrizer": {"method": "group", "name": "Q"}}, "no point group 'Q'"),
        ({"symmetrizer": "full", "chanels": 4}, "did you mean 'channels'"),
        ({"architecture": "symmetrized", "symmetrizer": "full"}, "model.architecture is missing"),
    ],
)
def test_what_cannot_be_understood_is_an_error_before_the_training(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolved_config(config(**model), Samples(structures(), CUTOFF, torch.float64))


def test_operations_that_are_no_group_are_an_error() -> None:
    turn = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    with pytest.raises(ConfigError, match="no group"):
        GroupAverageConfig(operations=(turn,))


def test_wrapping_twice_and_other_elements_are_errors() -> None:
    described = {"architecture": "symmetrized", **config_to_dict(symmetrized("full").config)}
    with pytest.raises(ConfigError, match="cannot be symmetrized again"):
        SymmetrizedPotential(SymmetrizedConfig(ELEMENTS, CUTOFF, described))
    inner = {"architecture": "unconstrained", **config_to_dict(CONFIG)}
    with pytest.raises(ConfigError, match="elements and cutoff"):
        SymmetrizedPotential(SymmetrizedConfig((1, 6), CUTOFF, inner))


def test_reference_energies_and_decay_are_those_of_the_model() -> None:
    potential = symmetrized("full")
    changed = SymmetrizedPotential.with_energy_offsets(potential.config, {1: 0.5})
    shifted = SymmetrizedPotential(changed).eval()  # type: ignore[arg-type]
    shifted.to(torch.float64).load_state_dict(potential.state_dict())
    graph = molecule()
    n_hydrogen = int((graph.numbers == 1).sum())
    difference = evaluate(shifted, graph, ("energy",)).energy - evaluate(potential, graph, ("energy",)).energy
    assert float(difference) == pytest.approx(0.5 * n_hydrogen)
    assert potential.decay_parameters() == frozenset()


def test_names_of_symmetrizers_are_taken_once() -> None:
    with pytest.raises(ConfigError, match="no symmetrizer 'frames'"):
        symmetrizer("frames")

    class Other(Symmetrizer):
        method = "weighted"

    with pytest.raises(ConfigError, match="is taken by Weighted"):
        register_symmetrizer(Other)


# Molecular dynamics --------------------------------------------------------------------------------------------------


def settings(potential: Potential, folder: Path, **changes: Any) -> MdSettings:
    from ase import Atoms

    graph = molecule()
    write(folder / "start.xyz", Atoms(numbers=graph.numbers.numpy(), positions=graph.positions.numpy()))
    save_model(potential, folder / "model.safetensors", CARD)
    return MdSettings(
        system=str(folder / "start.xyz"),
        model=str(folder / "model.safetensors"),
        ensemble="nve",
        temperature=30.0,
        timestep=0.2,
        steps=4,
        log_every=1,
        **changes,
    )


@pytest.mark.parametrize("method", ["full", "stochastic", "deterministic", "canonicalization"])
def test_molecular_dynamics_refuses_a_model_that_jumps(method: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a continuous function .* 'weighted', or pass --allow-discontinuous"):
        run_md(settings(symmetrized(method), tmp_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_it_runs_with_one_that_does_not_or_if_told_to(tmp_path: Path) -> None:
    run = run_md(settings(symmetrized("weighted"), tmp_path), tmp_path / "weighted")
    assert run.finished
    run = run_md(settings(symmetrized("full"), tmp_path, allow_discontinuous=True), tmp_path / "full")
    assert run.finished


def test_a_sum_with_a_model_that_jumps_is_not_continuous() -> None:
    assert Sum.of(symmetrized("weighted"), bare()).continuous
    total = Sum.of(symmetrized("full"), bare())
    assert not total.continuous
    graph = molecule()
    parts = [evaluate(part, graph, ("energy",)).energy for part in (symmetrized("full"), bare())]
    assert float(evaluate(total, graph, ("energy",)).energy - sum(parts)) == pytest.approx(0, abs=1e-12)


def test_the_calculator_keeps_the_choice_of_frames() -> None:
    from ase import Atoms

    graph = molecule()
    atoms = Atoms(numbers=graph.numbers.numpy(), positions=graph.positions.numpy())
    for method in ("stochastic", "weighted"):
        potential = symmetrized(method)
        atoms.calc = AtomsymCalculator(potential)
        expected = evaluate(potential, graph, ("energy", "forces"))
        assert atoms.get_potential_energy() == pytest.approx(float(expected.energy), abs=1e-12)
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-10)  # type: ignore[arg-type]
        assert atoms.calc.potential.continuous is potential.continuous
