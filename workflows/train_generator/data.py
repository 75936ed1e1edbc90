"""The crystals that a training config of a generator names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from atomsym.core import ConfigError, DataError, InputError
from atomsym.datasets.crystals import CrystalRecord, crystal_file, read_crystals
from atomsym.generators import ProtostructureBatch, batch_of
from atomsym.symmetry.wyckoff.analysis import analyse
from atomsym.training.generators import GeneratorData, GeneratorTrainingConfig, new_generator
from atomsym.workflows.train_generator.protostructure_files import (
    AnalysedCrystals,
    read_protostructures,
    write_protostructures,
)

FILE = "protostructures.npz"
MOST_FAILURES = 0.01
"""Part of a set that may have no symmetry before it is refused."""

Show = Callable[[str], None]


def analysed_sets(config: GeneratorTrainingConfig, folder: Path, show: Show) -> dict[str, AnalysedCrystals]:
    """All sets of crystals of a config by name, analysed now or, if that has been done before, from the run's folder.

    Args:
        config: of the run.
        folder: of the run, which keeps the result.
        show: is told how far it is.

    Raises:
        ConfigError: if a set is not known.
        DataError: if a file is missing or damaged, or too many of its crystals cannot be analysed.
    """
    section = config.data
    names = [*section.train, *section.validation, *section.test]
    key = _key(names, section.symprec)
    sets = read_protostructures(folder / FILE, key)
    if sets is None:
        sets = {name: _analysed(name, section.symprec, show) for name in names}
        write_protostructures(folder / FILE, sets, key)
    return sets


def generator_data(config: GeneratorTrainingConfig, sets: dict[str, AnalysedCrystals]) -> GeneratorData:
    """What a run trains, validates and scores on.

    Every identifier counts once: crystals of validation and test sets are taken out of the training sets, and of
    training sets the first that has a crystal keeps it.

    Raises:
        ConfigError: if the generator asks for a property that no training crystal has.
        DataError: if no crystals are left.
    """
    section = config.data
    names = new_generator(config).properties
    for name in names:
        if not any(name in own for part in section.train for own in sets[part].properties):
            raise ConfigError(f"no training crystal has the property '{name}'; known: {_known(sets)}")
    as_batch = partial(_batch, names=names)
    held_out = [*section.test, *section.validation]
    taken = {identifier for name in held_out for identifier in sets[name].identifiers}
    train = _joined([_kept(sets[name], section.max_atoms) for name in section.train], taken)
    if section.validation:
        tested = {identifier for name in section.test for identifier in sets[name].identifiers}
        validation = _joined([_kept(sets[name], section.max_atoms) for name in section.validation], tested)
    else:
        order = np.random.default_rng([config.seed, 0]).permutation(len(train))
        n_validation = max(1, round(section.validation_fraction * len(train)))
        validation = train.select(sorted(order[:n_validation].tolist()))
        train = train.select(sorted(order[n_validation:].tolist()))
    if not len(train) or not len(validation):
        raise DataError("no crystals are left to train or validate on; look at data.max_atoms and at the sets")
    tests = {name: as_batch(_kept(sets[name], section.max_atoms)) for name in section.test}
    described = ", ".join(Path(name).name for name in (*section.train, *section.validation))
    return GeneratorData(as_batch(train), as_batch(validation), tests, described)


def _batch(crystals: AnalysedCrystals, names: tuple[str, ...]) -> ProtostructureBatch:
    return batch_of(crystals.protostructures, crystals.properties, names)


def _known(sets: dict[str, AnalysedCrystals]) -> str:
    return ", ".join(sorted({name for part in sets.values() for own in part.properties for name in own})) or "none"


def _kept(crystals: AnalysedCrystals, max_atoms: int) -> AnalysedCrystals:
    if not max_atoms:
        return crystals
    return crystals.select([row for row, each in enumerate(crystals.protostructures) if each.n_atoms <= max_atoms])


def _joined(parts: list[AnalysedCrystals], without: set[str]) -> AnalysedCrystals:
    """One after the other; an identifier counts once."""
    seen = set(without)
    found: list[AnalysedCrystals] = []
    for part in parts:
        rows = []
        for row, identifier in enumerate(part.identifiers):
            if identifier not in seen:
                seen.add(identifier)
                rows.append(row)
        found.append(part.select(rows))
    return AnalysedCrystals(
        tuple(identifier for part in found for identifier in part.identifiers),
        tuple(each for part in found for each in part.protostructures),
        tuple(own for part in found for own in part.properties),
        sum(part.failed for part in found),
    )


def _analysed(name: str, symprec: float, show: Show) -> AnalysedCrystals:
    show(f"reading {name}")
    records = read_crystals(name)
    kept: list[CrystalRecord] = []
    structures = []
    problem = ""
    for number, record in enumerate(records):
        if number % 100 == 0:
            show(f"symmetry of {name}: {number} of {len(records)}")
        try:
            crystal = analyse(record.cell, record.fractional_positions, record.numbers, symprec=symprec)
        except InputError as error:
            problem = problem or f"{record.identifier}: {error}"
            continue
        kept.append(record)
        structures.append(crystal.protostructure)
    failed = len(records) - len(kept)
    if failed > MOST_FAILURES * len(records):
        raise DataError(f"{name}: the symmetry of {failed} of {len(records)} crystals cannot be found: {problem}")
    identifiers = tuple(record.identifier for record in kept)
    properties = tuple(dict(record.properties) for record in kept)
    return AnalysedCrystals(identifiers, tuple(structures), properties, failed)


def _key(names: list[str], symprec: float) -> str:
    """Recognises the content of the files and how they are analysed."""
    digest = hashlib.sha256(repr((symprec, names)).encode())
    for name in names:
        path = crystal_file(name)
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()
