"""The structures that a training config names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from atomsym.artifacts import config_from_dict
from atomsym.core import ConfigError
from atomsym.datasets import Dataset, LabelKeys, LabelUnits, read_datasets, require_labels
from atomsym.training import DataSection, TrainingConfig, TrainingData

_LABELS = {"energy": "energy", "forces": "forces", "stress": "stress", "virial": "stress", "hessian": "hessian"}


def load_data(config: TrainingConfig) -> TrainingData:
    """Read the structures, hold some out, and check that the labels of the loss are there and finite.

    Raises:
        ConfigError: if no data are named, or there are fewer than asked for.
        DataError: if a file is missing or damaged, or its labels cannot be used.
    """
    parts = _parts(config.data)
    train = parts.pop("train")
    validation = parts.pop("validation", None)
    if validation is None or not len(validation):
        train, validation = split_structures(train, config.data, config.seed)
    else:
        train = _drawn(train, config.data.n_train, config.seed, "n_train")
        validation = _drawn(validation, config.data.n_validation, config.seed, "n_validation")
    terms = {_LABELS[t] for stage in config.all_stages() for t, weight in stage.loss.weights.items() if weight > 0}
    for part in (train, validation):
        require_labels(part, sorted(terms - {"hessian"}) if part is validation else sorted(terms))
    return TrainingData(train, validation, parts, config.data.known_set or "")


def split_structures(structures: Dataset, section: DataSection, seed: int) -> tuple[Dataset, Dataset]:
    """Structures for training and for validation, drawn at random by the seed; both keep the order of the file.

    Raises:
        ConfigError: if there are not enough structures.
    """
    total = len(structures)
    n_validation = section.n_validation or max(1, round(section.validation_fraction * total))
    n_train = section.n_train or total - n_validation
    if n_train < 1 or n_train + n_validation > total:
        raise ConfigError(
            f"{n_train} structures for training and {n_validation} for validation were asked for; there are {total}"
        )
    order = np.random.default_rng([seed, 1]).permutation(total)
    held_out = np.sort(order[:n_validation])
    kept = np.sort(order[n_validation : n_validation + n_train])
    return structures.subset(kept.tolist()), structures.subset(held_out.tolist())


def _drawn(structures: Dataset, number: int, seed: int, name: str) -> Dataset:
    if number == 0:
        return structures
    if number > len(structures):
        raise ConfigError(f"data.{name} is {number}; there are {len(structures)} structures")
    order = np.random.default_rng([seed, 1]).permutation(len(structures))[:number]
    return structures.subset(np.sort(order).tolist())


def _parts(section: DataSection) -> dict[str, Dataset]:
    if not section.train:
        raise ConfigError("data.train names no files")
    found = {"train": _read(section.train, section)}
    if section.validation:
        found["validation"] = _read(section.validation, section)
    for path in section.test:
        found[_name(path, found)] = _read((path,), section)
    return found


def _read(paths: Sequence[str], section: DataSection) -> Dataset:
    keys = config_from_dict(LabelKeys, section.keys) if section.keys else None
    units = config_from_dict(LabelUnits, section.units) if section.units else None
    return read_datasets(paths, keys=keys, units=units, group=section.group)


def _name(path: str, taken: dict[str, Dataset]) -> str:
    """Name of a test file in tables: without folder, different from the others."""
    name = path.replace("\\", "/").rpartition("/")[2]
    return name if name not in taken else path
