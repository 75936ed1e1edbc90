"""The structures that a training config names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from atomsym.artifacts import config_from_dict
from atomsym.core import ConfigError
from atomsym.core.elements import symbol_of
from atomsym.datasets import (
    Dataset,
    LabelKeys,
    LabelUnits,
    isolated_energies,
    known_sets,
    load_isolated_energies,
    load_known,
    read_dataset,
    read_datasets,
    require_labels,
    split,
)
from atomsym.training import DataSection, TrainingConfig, TrainingData
from atomsym.training.resolve import labels_of_loss


def load_data(config: TrainingConfig) -> TrainingData:
    """Read the structures, hold some out, and check that the labels of the loss are there and finite.

    A known set comes divided as the literature does it; ``data.n_train`` then takes a part of the training structures.

    Raises:
        ConfigError: if no data are named, or the names or settings are wrong.
        DataError: if a file is missing or damaged, there are fewer structures than asked for, or labels cannot be used.
    """
    section = config.data
    parts = dict(load_known(section.known_set, seed=config.seed)) if section.known_set else _files(section)
    train, validation = parts.pop("train"), parts.pop("validation", None)
    if validation is None:
        train, validation = split_structures(train, section, config.seed)
    else:
        train = _drawn(train, section.n_train, config.seed)
        validation = _drawn(validation, section.n_validation, config.seed)
    labels = labels_of_loss(config)
    require_labels(train, labels)
    require_labels(validation, [label for label in labels if label != "hessian"])
    return TrainingData(train, validation, parts, _description(section))


def with_reference_energies(config: TrainingConfig) -> TrainingConfig:
    """The config with energies of isolated atoms in it, where they come from a file of their own or a known set.

    Raises:
        ConfigError, DataError: as ``load_data``.
    """
    section = config.data
    if section.isolated_atoms:
        units = config_from_dict(LabelUnits, section.units) if section.units else None
        energies = isolated_energies(read_dataset(section.isolated_atoms, keys=_keys(section), units=units))
    elif section.reference_energies == "isolated" and section.known_set and known_sets()[section.known_set].isolated:
        energies = load_isolated_energies(section.known_set)
    else:
        return config
    by_symbol = {symbol_of(number): energy for number, energy in energies.items()}
    return replace(config, data=replace(section, reference_energies=by_symbol))


def split_structures(structures: Dataset, section: DataSection, seed: int) -> tuple[Dataset, Dataset]:
    """Structures for training and for validation, as ``data.split`` says; both keep the order of the file.

    Raises:
        DataError: if there are not enough structures or groups.
    """
    total = len(structures)
    n_validation = section.n_validation or max(1, round(section.validation_fraction * total))
    n_train = section.n_train or max(total - n_validation, 1)
    parts = split(structures, {"train": n_train, "validation": n_validation}, seed=seed, by=section.split)
    return parts["train"], parts["validation"]


def _drawn(structures: Dataset, number: int, seed: int) -> Dataset:
    return structures if number == 0 else split(structures, {"part": number}, seed=seed)["part"]


def _files(section: DataSection) -> dict[str, Dataset]:
    if not section.train:
        raise ConfigError("data names neither train files nor a known_set")
    found = {"train": _read(section.train, section)}
    if section.validation:
        found["validation"] = _read(section.validation, section)
    for path in section.test:
        found[_name(path, found)] = _read((path,), section)
    return found


def _read(paths: Sequence[str], section: DataSection) -> Dataset:
    units = config_from_dict(LabelUnits, section.units) if section.units else None
    return read_datasets(paths, keys=_keys(section), units=units, group=section.group)


def _keys(section: DataSection) -> LabelKeys | None:
    return config_from_dict(LabelKeys, section.keys) if section.keys else None


def _name(path: str, taken: dict[str, Dataset]) -> str:
    """Name of a test file in tables: without folder, different from the others."""
    name = path.replace("\\", "/").rpartition("/")[2]
    return name if name not in taken else path


def _description(section: DataSection) -> str:
    if not section.known_set:
        return ""
    known = known_sets()[section.known_set]
    return f"{known.title} ({known.citation}; {known.licence})"
