"""From what the user wrote to a complete config: what a model takes from the data is computed and written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from atomsym.artifacts import checked_settings, config_from_dict, config_to_dict
from atomsym.core import ConfigError, require_labels
from atomsym.core.elements import format_elements
from atomsym.core.precision import dtype_named
from atomsym.models import DatasetStatistics, Potential, architecture
from atomsym.training.config import TrainingConfig
from atomsym.training.quantities import TARGET
from atomsym.training.samples import Samples
from atomsym.training.start import KEEP, starting_potential, with_starting_model
from atomsym.training.statistics import dataset_statistics

LABEL_OF_TERM = {
    "energy": "energy", "forces": "forces", "direct_forces": "forces", "force_consistency": "forces",
    "stress": "stress", "virial": "stress", "hessian": "hessian", "predicted_hessian": "hessian",
    "hessian_subspace": "hessian", "target": "target",
}  # fmt: skip
"""The label that each term of the loss is compared with."""


def model_settings(config: TrainingConfig, start: Potential | None = None) -> tuple[type[Potential], dict[str, Any]]:
    """The architecture's class and what was set of its config, checked.

    Args:
        config: what the user wrote.
        start: ``starting_potential`` of it, if that has been read.

    Raises:
        ConfigError: if there is no such architecture, a setting is unknown or of the wrong type, or the loss has a
            weight for what the model does not give.
    """
    start = starting_potential(config) if start is None else start
    if start is not None:
        found, checked = type(start), config_to_dict(start.config)
    else:
        settings = {name: value for name, value in config.model.items() if name != "architecture"}
        found = architecture(config.model["architecture"])
        checked = checked_settings(found.Config, settings, "model")
    _require_terms(config, *found.quantity_from_settings(checked))
    return found, checked


def model_cutoff(config: TrainingConfig, start: Potential | None = None) -> float:
    """The model's cutoff in Å, from the settings or the architecture's default.

    Raises:
        ConfigError: if neither has one.
    """
    found, settings = model_settings(config, start)
    return found.cutoff_from_settings(settings)


def resolved_config(
    config: TrainingConfig, samples: Samples, start: Potential | None = None
) -> tuple[TrainingConfig, DatasetStatistics]:
    """The config with a complete ``model`` section.

    Args:
        config: what the user wrote.
        samples: the training structures.
        start: ``starting_potential`` of the config, if that has been read.

    Raises:
        ConfigError: if the data lack something the model needs, or hold an element that the model was told not to know.
        DataError: if the data have no labels for a term of the loss, or labels that are not finite.
    """
    start = starting_potential(config) if start is None else start
    potential_class, settings = model_settings(config, start)
    _require_head(config, potential_class)
    labels = labels_of_loss(config)
    require_labels(samples.structures, labels)
    targets = TARGET in labels
    if start is not None:
        reference = "least-squares" if config.data.reference_energies == KEEP else config.data.reference_energies
        return with_starting_model(config, samples, start), dataset_statistics(samples, reference, targets=targets)
    statistics = dataset_statistics(samples, config.data.reference_energies, targets=targets)
    complete = potential_class.config_from_statistics(settings, statistics)
    unknown = set(statistics.elements) - set(complete.elements)
    if unknown:
        raise ConfigError(f"the training data hold {format_elements(unknown)}, which model.elements lack")
    model = {"architecture": config.model["architecture"], **config_to_dict(complete)}
    return replace(config, model=model), statistics


def labels_of_loss(config: TrainingConfig) -> list[str]:
    """The labels that some stage's loss compares with."""
    weights = [term for stage in config.all_stages() for term in stage.loss.weights.items()]
    return sorted({LABEL_OF_TERM[term] for term, weight in weights if weight > 0})


def new_potential(config: TrainingConfig) -> Potential:
    """The potential of a complete config with initial weights that follow from the seed.

    The caller's random generator is left as it was.

    Raises:
        ConfigError: if the model section is not complete or out of range, or the loss has a weight for direct forces
            that the model does not predict.
    """
    potential_class = architecture(config.model["architecture"])
    entries = {name: value for name, value in config.model.items() if name != "architecture"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        potential = potential_class(config_from_dict(potential_class.Config, entries))
    for stage in config.all_stages():
        for term in ("direct_forces", "force_consistency"):
            if stage.loss.weights[term] > 0 and "forces" not in potential.direct_outputs:
                raise ConfigError(
                    f"loss.{term} is {stage.loss.weights[term]:g}, but the model predicts no forces beside the energy; "
                    "take architecture: faenet with direct_forces: true"
                )
    return potential.to(dtype_named(config.dtype))


def _require_terms(config: TrainingConfig, quantity: str, unit: str) -> None:
    """Refuse to compare energies with targets, or targets with energies.

    Raises:
        ConfigError: if the loss has a weight for one, but the model gives the other.
    """
    labels = set(labels_of_loss(config))
    if quantity == "energy" and TARGET in labels:
        raise ConfigError("loss.target has a weight, but the model gives energies; take architecture: intensive")
    if quantity != "energy" and labels != {TARGET}:
        raise ConfigError(
            f"the model gives the {quantity} ({unit}), no energies and forces: its loss is target: 1, energy: 0, "
            f"forces: 0; found weights for labels of {', '.join(sorted(labels))}"
        )


def _require_head(config: TrainingConfig, potential_class: type[Potential]) -> None:
    """Refuse to train on predictions that the model does not make.

    Raises:
        ConfigError: if predicted Hessians have a weight but the architecture predicts none.
    """
    for stage in config.all_stages():
        for term in ("predicted_hessian", "hessian_subspace"):
            if stage.loss.weights[term] > 0 and "hessian" not in potential_class.direct_outputs:
                raise ConfigError(
                    f"loss.{term} is {stage.loss.weights[term]:g}, but '{potential_class.architecture}' predicts no "
                    "Hessians; take architecture: hessian with this one as its backbone"
                )
