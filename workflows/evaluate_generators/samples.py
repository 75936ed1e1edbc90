"""Samples of generators, as they are drawn, realised and relaxed; and samples of others from their tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase.calculators.calculator import BaseCalculator

from atomsym.artifacts import write_atomically
from atomsym.artifacts.generators import load_generator, read_generator_card
from atomsym.calculators.symmetric_relaxation import primitive_atoms
from atomsym.core import DataError, InputError
from atomsym.datasets.crystals import CrystalRecord
from atomsym.generators import GeneratedProtostructure
from atomsym.generators.realisation import PrototypeLibrary
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, analyse
from atomsym.workflows.calculator import absolute
from atomsym.workflows.evaluate_crystals.read import read_generated, unreadable
from atomsym.workflows.evaluate_generators.settings import EvaluateGeneratorsSettings
from atomsym.workflows.generate.entry import Entry
from atomsym.workflows.generate.prototypes import read_kept, read_prototypes, write_prototypes
from atomsym.workflows.generate.relaxation import relax_entries
from atomsym.workflows.generate.run import carry_out, one_by_one, realise_entry
from atomsym.workflows.paths import make_folder

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Sample:
    """What is evaluated.

    Attributes:
        name: of the generator or of the table.
        drawn: crystals with one random geometry each, all that were drawn; none of a table.
        relaxed: the first of them, relaxed within their symmetry.
        content_hash: of the generator's file; "" for a table.
        forced_orbits: of each draw; see ``GeneratedProtostructure``.
    """

    name: str
    drawn: tuple[Entry, ...]
    relaxed: tuple[Entry, ...]
    content_hash: str = ""
    forced_orbits: tuple[int, ...] = ()


def make_sample(
    source: str,
    folder: Path,
    settings: EvaluateGeneratorsSettings,
    n_relaxed: int,
    calculator: Callable[[], BaseCalculator],
    progress: Progress,
) -> Sample:
    """Draw, realise and relax; what the folder has is not done again.

    Args:
        source: name or file of a generator, or a table (.csv or .csv.gz) or folder of crystals.
        folder: for the files of this sample; made if it is not there.
        settings: of the evaluation.
        n_relaxed: how many are relaxed.
        calculator: called before the first relaxation.
        progress: is told the stage, what is done of it and of how much.

    Raises:
        InputError, DataError, ArtifactError: if the source cannot be read, or the folder has another one.
    """
    make_folder(folder)
    generation = settings.generation(source if is_generator(source) else "wyformer")
    if is_generator(source):
        content_hash = read_generator_card(absolute(source)).content_hash
        found = _protostructures(source, folder, settings, content_hash, progress)
        forced = tuple(each.forced_orbits for each in found)
        entries = [Entry(each.protostructure, each.log_likelihood) for each in found]
        single = replace(generation, realisations=1)
        drawn = carry_out(
            folder / "drawn.journal", "realising", entries,
            one_by_one(lambda index, entry: realise_entry(single, index, entry, None)), progress, _never,
        )  # fmt: skip
        library = _library(entries, folder, settings, progress)
        evaluate = calculator()
        first = carry_out(
            folder / "realised.journal", "choosing geometries", entries[:n_relaxed],
            one_by_one(lambda index, entry: realise_entry(generation, index, entry, evaluate, library)),
            progress, _never,
        )  # fmt: skip
    else:
        content_hash, drawn, forced = "", [], ()
        first = [entry_of(record) for record in read_generated(source)[:n_relaxed]]
        evaluate = calculator()
    relaxed = carry_out(
        folder / "relaxed.journal", "relaxing", first,
        lambda pending: relax_entries(pending, evaluate, generation), progress, _never,
    )  # fmt: skip
    for before, after in zip(first, relaxed, strict=True):
        if before.protostructure != after.protostructure:
            raise DataError(f"{folder} holds relaxed crystals of another sample; choose another folder with --output")
    return Sample(name_of(source), tuple(drawn), tuple(relaxed), content_hash, forced)


def is_generator(source: str) -> bool:
    """Whether a source is drawn from and not read."""
    return not (source.endswith((".csv", ".csv.gz")) or Path(source).is_dir())


def name_of(source: str) -> str:
    """Of a sample: that of the file without its ending."""
    name = Path(source).name
    for ending in (".gz", ".csv", ".safetensors"):
        name = name.removesuffix(ending)
    return name


def entry_of(record: CrystalRecord) -> Entry:
    """A crystal in its parameters, at the standard tolerance; one that has no space group has no geometry either."""
    try:
        crystal = analyse(record.cell, record.fractional_positions, record.numbers)
    except InputError as error:
        return Entry(Protostructure(1, ((1, "a"),)), 0.0, note=str(error))
    return Entry(crystal.protostructure, 0.0, crystal=crystal)


def records_of(entries: Sequence[Entry]) -> list[CrystalRecord]:
    """Primitive cells for an evaluation; without a geometry an invalid crystal."""
    return [_record(str(index), entry.crystal) for index, entry in enumerate(entries)]


def energies_of(entries: Sequence[Entry]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """eV/atom, NaN where the relaxation failed."""
    return np.array([np.nan if each.energy is None or each.note else each.energy for each in entries])


def _record(identifier: str, crystal: SymmetricCrystal | None) -> CrystalRecord:
    if crystal is None:
        return unreadable(identifier)
    atoms = primitive_atoms(crystal)
    return CrystalRecord(identifier, np.array(atoms.cell), atoms.get_scaled_positions(), atoms.numbers.astype(np.int64))


def _protostructures(
    source: str, folder: Path, settings: EvaluateGeneratorsSettings, content_hash: str, progress: Progress
) -> list[GeneratedProtostructure]:
    """Those of the file, or new ones, which are then written."""
    file = folder / "protostructures.json"
    if file.exists():
        plain = json.loads(file.read_text())
        if plain["generator_hash"] != content_hash:
            raise DataError(f"{file}: drawn from another generator than {source}; choose another folder with --output")
        return [
            GeneratedProtostructure(Protostructure(group, tuple((z, letter) for z, letter in orbits)), *facts)
            for group, orbits, *facts in plain["drawn"]
        ]
    model = load_generator(absolute(source))
    found = model.sample(
        settings.n, generator=torch.Generator().manual_seed(settings.seed),
        conditions=settings.generation().conditions(),
        on_progress=lambda done: progress("drawing", done, settings.n),
    )  # fmt: skip
    rows = [
        [each.protostructure.space_group, each.protostructure.orbits, each.log_likelihood, each.forced_orbits]
        for each in found
    ]
    write_atomically(file, json.dumps({"generator_hash": content_hash, "drawn": rows}).encode())
    return found


def _library(
    entries: Sequence[Entry], folder: Path, settings: EvaluateGeneratorsSettings, progress: Progress
) -> PrototypeLibrary | None:
    """Known crystals that the sample can take geometries from; kept in a file, which is written if it is not there."""
    if not settings.prototypes:
        return None
    file = folder / "prototypes.json"
    if not file.exists():
        found = read_prototypes(settings.prototypes, settings.generation().symprec, progress)
        write_prototypes(file, found, (each.protostructure for each in entries))
    return PrototypeLibrary(read_kept(file))


def _never() -> bool:
    return False
