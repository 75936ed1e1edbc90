"""Runs that begin with the weights of a model: fine-tuning, also to labels of another level of theory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from atomsym.artifacts import config_to_dict, load_model
from atomsym.core import AtomGraph, ConfigError
from atomsym.core.elements import atomic_number_of, format_elements
from atomsym.core.precision import dtype_named
from atomsym.derivatives import evaluate
from atomsym.heads import system_property
from atomsym.kernels.neighbors import connect
from atomsym.models import Potential
from atomsym.training.config import TrainingConfig
from atomsym.training.reference_energies import compositions, fit_element_energies, isolated_energies
from atomsym.training.samples import Batch, Samples

KEEP = "keep"
"""Choice of ``data.reference_energies`` that leaves those of the model as they are."""

_BATCH = 64  # structures


def starting_potential(config: TrainingConfig) -> Potential | None:
    """The model that a run starts from, in the run's precision; None for a run that starts from scratch.

    Raises:
        ConfigError: if the config sets more of the model than its architecture, or another one.
        InputError, ArtifactError: if there is no such model, or its file is damaged.
    """
    if not config.start_from:
        return None
    others = sorted(set(config.model) - {"architecture"})
    if others:
        raise ConfigError(
            f"start_from takes the model as it is; leave out model.{', model.'.join(others)}, or train from scratch"
        )
    potential = load_model(config.start_from, dtype=dtype_named(config.dtype))
    if config.model.get("architecture", potential.architecture) != potential.architecture:
        raise ConfigError(
            f"'{config.start_from}' has the architecture {potential.architecture}, not {config.model['architecture']}"
        )
    return potential


def with_starting_model(config: TrainingConfig, samples: Samples, start: Potential) -> TrainingConfig:
    """The config with the complete model section; reference energies are fitted to what the model leaves of the labels.

    E0'(z) = E0(z) + δ(z), with the least-squares δ of E_label - E_model over the training structures (or of given or
    isolated atoms' energies). Between two levels of theory the total energies differ by thousands of eV, interaction
    energies by little: only the latter is left to the training.

    Raises:
        ConfigError: if the data hold an element that the model does not know, the model has no reference energies to
            fit, or those that are asked for cannot be found.
    """
    settings = start.config
    _, elements = compositions(samples.structures)
    unknown = set(elements) - set(settings.elements)
    if unknown:
        raise ConfigError(f"the training data hold {format_elements(unknown)}, which '{config.start_from}' lacks")
    if config.data.reference_energies != KEEP:
        offsets = _offsets(config, samples, elements, start.to(samples.device))
        settings = start.with_energy_offsets(settings, offsets)
    return replace(config, model={"architecture": start.architecture, **config_to_dict(settings)})


def _offsets(
    config: TrainingConfig, samples: Samples, elements: Sequence[int], potential: Potential
) -> dict[int, float]:
    """What to add to each element's reference energy, eV."""
    choice = config.data.reference_energies
    if choice == "least-squares":
        return _fitted(potential, samples)
    given = (
        isolated_energies(samples.structures)
        if isinstance(choice, str)
        else {atomic_number_of(symbol): energy for symbol, energy in choice.items()}
    )
    missing = set(elements) - set(given)
    if missing:
        raise ConfigError(f"data.reference_energies has none for {format_elements(missing)}, which the data hold")
    return {number: given[number] - _alone(potential, number, samples) for number in elements}


def _fitted(potential: Potential, samples: Samples) -> dict[int, float]:
    structures = samples.structures
    counts, elements = compositions(structures)
    left = np.full(len(structures), np.nan)
    for start in range(0, len(structures), _BATCH):
        indices = range(start, min(start + _BATCH, len(structures)))
        batch = samples.batch(list(indices))
        left[start : start + len(indices)] = (_labels(potential, batch) - _totals(potential, batch.graph)).cpu().numpy()
    known = ~np.isnan(left)
    if not known.any():
        return {}
    values, _ = fit_element_energies(counts[known], left[known])
    return {number: float(value) for number, value in zip(elements, values, strict=True)}


def _labels(potential: Potential, batch: Batch) -> torch.Tensor:
    """Energies, or what is as additive: targets times the number of atoms."""
    return batch.energy if potential.quantity == "energy" else batch.target * batch.graph.atoms_per_system


def _totals(potential: Potential, graph: AtomGraph) -> torch.Tensor:
    """What the model says of them."""
    with torch.no_grad():
        if potential.quantity == "energy":
            return evaluate(potential, graph, ("energy",)).energy
        return system_property(potential, graph) * graph.atoms_per_system


def _alone(potential: Potential, number: int, samples: Samples) -> float:
    """Energy (or property) of one atom in free space, eV."""
    graph = connect(AtomGraph.from_arrays(np.zeros((1, 3)), [number], dtype=samples.dtype), potential.cutoff)
    return float(_totals(potential, graph.to(device=samples.device))[0])
