"""A run of generation: draw, realise, relax, rank, write; each crystal is kept as soon as it is done."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from atomsym.artifacts import write_atomically
from atomsym.artifacts.generators import load_generator, read_generator_card
from atomsym.calculators.best_geometry import best_geometry
from atomsym.core import DataError, InputError, MissingDependencyError
from atomsym.generators import Drawn, GeneratedProtostructure, ProtostructureGenerator, draw_different
from atomsym.generators.realisation import PrototypeLibrary
from atomsym.symmetry.wyckoff import Protostructure, analyse
from atomsym.workflows.calculator import absolute, make_calculator
from atomsym.workflows.generate.entry import LOOSE_SYMPREC, Entry
from atomsym.workflows.generate.prototypes import Known, read_kept, read_prototypes, write_prototypes
from atomsym.workflows.generate.ranking import element_entries
from atomsym.workflows.generate.relaxation import relax_entries
from atomsym.workflows.generate.settings import GenerateSettings
from atomsym.workflows.journal import LABELS, Journal
from atomsym.workflows.paths import make_folder
from atomsym.workflows.run_folders import require_no_run
from atomsym.workflows.stopping import StoppedError

Progress = Callable[[str, int, int], None]
Stop = Callable[[], str | bool]

DRAWING, REALISING, RELAXING = "drawing protostructures", "realising crystals", "relaxing crystals"
REFERENCES = "relaxing elements"


@dataclass(frozen=True, eq=False)
class Generated:
    """What a run made.

    Attributes:
        entries: crystals in the order of their draws.
        references: simple crystals of the elements, relaxed in the same way; none without a calculator.
        drawn: how the protostructures came about.
        generator_hash: of the generator's file.
        seconds: of this session of the run.
    """

    entries: tuple[Entry, ...]
    references: tuple[Entry, ...]
    drawn: Drawn
    generator_hash: str
    seconds: float


def run_generate(
    settings: GenerateSettings,
    folder: Path,
    progress: Progress = lambda stage, done, of: None,
    should_stop: Stop = lambda: False,
) -> Generated:
    """Start a run in a new folder.

    Args:
        settings: what is wanted.
        folder: of the run; made if it is not there.
        progress: is told the stage, what is done of it and of how much.
        should_stop: asked between crystals.

    Raises:
        InputError: if the folder holds a run, or the generator or the calculator cannot be found.
        DataError: if the prototypes cannot be read.
        MissingDependencyError: if a package that the run or its results need is not installed.
        ConfigError: if no crystal meets the conditions, or the generator does not know a property to aim at.
        StoppedError: if it was stopped; ``resume_generate`` goes on.
    """
    require_no_run(folder)
    require_packages()
    generator = _load(settings)
    generator.require_targets(settings.aims(), settings.guidance)
    generator.group_probabilities(settings.conditions(), settings.space_groups)  # is there any such crystal?
    _calculator(settings)
    known = read_prototypes(settings.prototypes, settings.symprec, progress)
    make_folder(folder)
    write_atomically(folder / "settings.json", settings.to_json().encode())
    return _go_on(settings, folder, progress, should_stop, known)


def require_packages() -> None:
    """Check that everything is installed that a run needs to its end.

    Raises:
        MissingDependencyError: naming the first package that is not.
    """
    for package in ("pymatgen", "chemiscope"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError.for_package(package, "generate", "the generation of crystals")


def resume_generate(
    folder: Path, progress: Progress = lambda stage, done, of: None, should_stop: Stop = lambda: False
) -> Generated:
    """Go on with a run; the result is that of one without interruptions.

    Raises:
        ConfigError: if the folder holds no run.
        DataError: if its files are damaged.
        StoppedError: if it was stopped again.
    """
    return _go_on(GenerateSettings.from_file(folder / "settings.json"), folder, progress, should_stop)


def _go_on(
    settings: GenerateSettings, folder: Path, progress: Progress, should_stop: Stop, known: list[Known] | None = None
) -> Generated:
    started = time.monotonic()
    drawn, content_hash = _protostructures(settings, folder, progress, should_stop)
    library = _library(settings, folder, drawn, progress, known)
    calculator = _calculator(settings)
    entries = [Entry(each.protostructure, each.log_likelihood) for each in drawn.found]
    entries = carry_out(
        folder / "realised.journal", REALISING, entries,
        one_by_one(lambda index, entry: realise_entry(settings, index, entry, calculator, library)),
        progress, should_stop,
    )  # fmt: skip
    if calculator is not None:
        entries = carry_out(
            folder / "relaxed.journal", RELAXING, entries,
            lambda pending: relax_entries(pending, calculator, settings), progress, should_stop,
        )  # fmt: skip
    references: list[Entry] = []
    if calculator is not None:
        elements = {z for each in drawn.found for z in each.protostructure.elements}
        references = carry_out(
            folder / "references.journal", REFERENCES, element_entries(elements, settings.seed),
            lambda pending: relax_entries(pending, calculator, settings), progress, should_stop,
        )  # fmt: skip
    analysed = tuple(_analysed(entry, settings.symprec) for entry in entries)
    return Generated(analysed, tuple(references), drawn, content_hash, time.monotonic() - started)


def _load(settings: GenerateSettings) -> ProtostructureGenerator:
    return load_generator(absolute(settings.generator), device=settings.device)


def _calculator(settings: GenerateSettings) -> BaseCalculator | None:
    if not settings.relax:
        return None
    return make_calculator(settings.relax, settings.device, settings.dtype, kwargs=settings.kwargs)


def _protostructures(
    settings: GenerateSettings, folder: Path, progress: Progress, should_stop: Stop
) -> tuple[Drawn, str]:
    """Those of the file, or new ones, which are then written."""
    file = folder / "protostructures.json"
    if file.exists():
        return _read_drawn(file)
    drawn = draw_different(
        _load(settings), settings.n, conditions=settings.conditions(), space_groups=settings.space_groups,
        temperature=settings.temperature, targets=settings.aims(), guidance=settings.guidance, seed=settings.seed,
        progress=lambda found: progress(DRAWING, found, settings.n), should_stop=should_stop,
    )  # fmt: skip
    if should_stop() and len(drawn.found) < settings.n:
        raise StoppedError(DRAWING)  # nothing is kept: it takes seconds, and would not be the same
    if not drawn.found:
        raise InputError(
            f"none of {drawn.n_drawn} draws gave a crystal that exists under these conditions; loosen them"
        )
    rows = [
        [
            each.protostructure.space_group, each.protostructure.orbits,
            each.log_likelihood, each.forced_orbits, each.redraws,
        ]
        for each in drawn.found
    ]  # fmt: skip
    counts = {name: getattr(drawn, name) for name in _COUNTS}
    content_hash = read_generator_card(absolute(settings.generator)).content_hash
    plain = {"generator_hash": content_hash, **counts, "protostructures": rows}
    write_atomically(file, json.dumps(plain).encode())
    return drawn, content_hash


_COUNTS = ("n_drawn", "n_repeated", "n_degenerate")


def _read_drawn(file: Path) -> tuple[Drawn, str]:
    try:
        plain = json.loads(file.read_text())
        found = tuple(
            GeneratedProtostructure(Protostructure(group, tuple((z, letter) for z, letter in orbits)), *facts)
            for group, orbits, *facts in plain["protostructures"]
        )
        return Drawn(found, *(int(plain[name]) for name in _COUNTS)), str(plain["generator_hash"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: damaged ({error}); start a new run") from error


Work = Callable[[dict[int, Entry]], Iterable[tuple[int, Entry]]]
"""A piece of work on entries by their places."""


def one_by_one(work: Callable[[int, Entry], Entry]) -> Work:
    """A piece of work on one entry as one on many."""
    return lambda pending: ((index, work(index, entry)) for index, entry in pending.items())


def carry_out(
    path: Path,
    name: str,
    entries: list[Entry],
    work: Work,
    progress: Progress,
    should_stop: Stop,
) -> list[Entry]:
    """The entries after a piece of work.

    Args:
        path: journal of what has been done, which is not done again.
        name: of the stage, for the progress.
        entries: before the work.
        work: from the entries that are not done, by their places, to the places and entries after it, in any order;
            see ``one_by_one``.
        progress: is told the stage, what is done of it and of how much.
        should_stop: asked between entries.

    Raises:
        StoppedError: if it was stopped.
        DataError: if the journal is damaged.
    """
    with Journal(path) as journal:
        done = len(journal)
        pending = {index: entry for index, entry in enumerate(entries) if index not in journal}
        progress(name, done, len(entries))
        if pending and should_stop():
            raise StoppedError(f"{name}: {done} of {len(entries)}")
        for index, entry in work(pending):
            journal.append(index, LABELS, entry.to_text().encode())
            done += 1
            progress(name, done, len(entries))
            if done < len(entries) and should_stop():
                raise StoppedError(f"{name}: {done} of {len(entries)}")
        return [Entry.from_text(journal.content(index).decode()) for index in range(len(entries))]


def _library(
    settings: GenerateSettings, folder: Path, drawn: Drawn, progress: Progress, known: list[Known] | None
) -> PrototypeLibrary | None:
    """The known crystals of the run's file, which is written if it is not there."""
    if not settings.prototypes:
        return None
    file = folder / "prototypes.json"
    if not file.exists():
        found = read_prototypes(settings.prototypes, settings.symprec, progress) if known is None else known
        write_prototypes(file, found, (each.protostructure for each in drawn.found))
    return PrototypeLibrary(read_kept(file))


def realise_entry(
    settings: GenerateSettings,
    index: int,
    entry: Entry,
    calculator: BaseCalculator | None,
    prototypes: PrototypeLibrary | None = None,
) -> Entry:
    """With the best of several geometries, those of known crystals among them."""
    best = best_geometry(
        entry.protostructure, generator=np.random.default_rng([settings.seed, index]), prototypes=prototypes,
        count=settings.realisations, calculator=calculator,
    )  # fmt: skip
    note = "" if best.distance_floor_met else "atoms too close"
    return entry.with_(
        protostructure=best.crystal.protostructure, crystal=best.crystal, source=best.source, contact=best.contact,
        note=note,
    )  # fmt: skip


def _analysed(entry: Entry, symprec: float) -> Entry:
    atoms = entry.atoms
    if atoms is None:
        return entry
    return entry.with_(found_group=_group(atoms, symprec), loose_group=_group(atoms, LOOSE_SYMPREC))


def _group(atoms: Atoms, symprec: float) -> int:
    try:
        found = analyse(atoms.cell, atoms.get_scaled_positions(), atoms.numbers, symprec=symprec)
    except InputError:
        return 0
    return found.protostructure.space_group
