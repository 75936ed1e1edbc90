"""Potentials that hold another one: how their config describes it, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atomsym.core import ConfigError
from atomsym.core.configs import checked_settings, config_from_dict, config_to_dict
from atomsym.models.potential import Potential, PotentialConfig
from atomsym.models.registry import architecture
from atomsym.models.statistics import DatasetStatistics

SHARED = ("elements", "cutoff")
"""Settings that the holder passes on."""


def description_of(name: str, config: PotentialConfig) -> dict[str, Any]:
    """An architecture's name and the entries of its config."""
    return {"architecture": name, **config_to_dict(config)}


def split_description(described: Mapping[str, Any], entry: str) -> tuple[type[Potential], dict[str, Any]]:
    """Class and config entries of a description.

    Args:
        described: ``architecture`` and entries of its config.
        entry: where it stands in the holder's config, for messages.

    Raises:
        ConfigError: if it names no known architecture.
    """
    entries = dict(described)
    name = entries.pop("architecture", None)
    if not isinstance(name, str):
        raise ConfigError(f"{entry}.architecture is missing: the name of an architecture such as mace")
    return architecture(name), entries


def passed_on(settings: Mapping[str, Any], entry: str) -> dict[str, Any]:
    """The description in a holder's settings, with what the holder passes on."""
    return {**{name: settings[name] for name in SHARED if name in settings}, **settings.get(entry, {})}


def described_from_statistics(
    settings: Mapping[str, Any], entry: str, statistics: DatasetStatistics
) -> tuple[PotentialConfig, dict[str, Any]]:
    """Config and description of the held potential that is about to be trained, completed from the data.

    Args:
        settings: of the holder.
        entry: where the description stands in them.
        statistics: facts about the training set.

    Raises:
        ConfigError: as the architecture's ``config_from_statistics``.
    """
    held, given = split_description(passed_on(settings, entry), entry)
    complete = held.config_from_statistics(checked_settings(held.Config, given, f"model.{entry}"), statistics)
    return complete, description_of(held.architecture, complete)


def description_with_offsets(described: Mapping[str, Any], entry: str, offsets: Mapping[int, float]) -> dict[str, Any]:
    """The description with other reference energies; see ``Potential.with_energy_offsets``."""
    held, entries = split_description(described, entry)
    changed = held.with_energy_offsets(config_from_dict(held.Config, entries), offsets)
    return description_of(held.architecture, changed)
