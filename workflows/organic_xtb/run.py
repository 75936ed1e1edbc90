"""A set of organic molecules from nothing: choice, workers, shards on the way, one file for each part at the end."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomsym.artifacts import write_atomically
from atomsym.core import ConfigError, InputError, LabelledStructure
from atomsym.core.elements import atomic_number_of
from atomsym.datasets import open_lmdb, write_extxyz, write_lmdb
from atomsym.datasets.lmdb_files import decode
from atomsym.workflows.label.engine import require_engine
from atomsym.workflows.label.workers import Answer, Workers
from atomsym.workflows.label.xtb import XtbEngine
from atomsym.workflows.organic_xtb.molecule import isolated_atoms, unpacked
from atomsym.workflows.organic_xtb.rdkit_molecules import rdkit_chem
from atomsym.workflows.organic_xtb.selection import PARTS, Choice, choose_molecules
from atomsym.workflows.organic_xtb.settings import OrganicSettings
from atomsym.workflows.paths import make_folder

Progress = Callable[[int, int, int], None]
SETTINGS, MOLECULES, ATOMS, FAILURES, SUMMARY = (
    "organic-xtb.json", "molecules.csv", "isolated_atoms.extxyz", "failures.csv", "summary.json",
)  # fmt: skip
_TASK = "atomsym.workflows.organic_xtb.molecule:organic_task"


@dataclass(frozen=True)
class OrganicResult:
    """Outcome of a run.

    Attributes:
        complete: whether all molecules are done; if not, ``run_organic(..., resume=True)`` goes on.
        reason: why not, "" if complete.
        folder: of the set.
        molecules, failed: done, and of these without any geometry.
        structures, hessians: labelled, by part.
        seconds: of this run.
    """

    complete: bool
    reason: str
    folder: Path
    molecules: int
    failed: int
    structures: dict[str, int]
    hessians: dict[str, int]
    seconds: float

    def to_json(self) -> str:
        return json.dumps({**vars(self), "folder": str(self.folder)}, indent=2) + "\n"


@dataclass
class Shard:
    """Molecules of one part whose structures are written into one file, once all of them are done."""

    name: str
    molecules: list[Choice]
    done: dict[str, tuple[dict[str, int], list[bytes]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.done) + len(self.failed) == len(self.molecules)

    def structures(self) -> Iterator[LabelledStructure]:
        """In the order of the molecules."""
        for molecule in self.molecules:
            for number, record in enumerate(self.done.get(molecule.smiles, ({}, []))[1]):
                yield decode(record, f"{molecule.smiles}, frame {number}")

    def report(self) -> dict[str, Any]:
        """What is said of it beside its structures."""
        refused: Counter[str] = Counter()
        for counts, _ in self.done.values():
            refused.update(counts)
        found = list(self.structures())
        return {
            "molecules": [molecule.smiles for molecule in self.molecules],
            "failed": self.failed,
            "structures": len(found),
            "hessians": sum(structure.hessian is not None for structure in found),
            "kinds": dict(sorted(Counter(structure.group for structure in found).items())),
            "refused": dict(sorted(refused.items())),
        }


def run_organic(
    settings: OrganicSettings,
    folder: Path,
    *,
    workers: int = 1,
    resume: bool = False,
    progress: Progress = lambda done, total, structures: None,
    should_stop: Callable[[], object] = lambda: False,
) -> OrganicResult:
    """Make the set, or go on making it. What is made depends on the settings only.

    ``folder/shards/PART-NUMBER.lmdb`` appear as their molecules are done and can be read while the rest is made. At
    the end ``train.lmdb`` (with the isolated atoms first), ``validation.lmdb`` and ``test.lmdb`` hold everything.

    Args:
        settings: what to make.
        folder: of the set.
        workers: processes.
        resume: go on with what is in the folder.
        progress: called with molecules done, of all, and structures so far.
        should_stop: asked between molecules; its answer, if true, is the reason.

    Raises:
        ConfigError, InputError: if settings cannot be met, the folder holds another set, or cannot be made.
        MissingDependencyError: without tblite, RDKit or lmdb.
    """
    started = time.monotonic()
    require_engine("gfn2-xtb")
    rdkit_chem()
    make_folder(folder / "shards")
    molecules = _open(settings, folder, resume)
    shards = make_shards(molecules, settings.molecules_per_shard)
    reports = {shard.name: report for shard in shards if (report := _finished(folder, shard)) is not None}
    missing = [shard for shard in shards if shard.name not in reports]
    reason = _make(settings, folder, missing, reports, workers, len(molecules), progress, should_stop)
    complete = len(reports) == len(shards)
    if complete:
        _write_parts(folder, shards, reports)
    return _result(complete, "" if complete else reason, folder, reports, time.monotonic() - started)


def make_shards(molecules: Sequence[Choice], size: int) -> list[Shard]:
    """Molecules of each part in groups, in the order in which their first molecules come."""
    found: list[tuple[int, Shard]] = []
    for part in PARTS:
        members = [(place, molecule) for place, molecule in enumerate(molecules) if molecule.part == part]
        for number, start in enumerate(range(0, len(members), size)):
            group = members[start : start + size]
            found.append((group[0][0], Shard(f"{part}-{number:04d}", [molecule for _, molecule in group])))
    return [shard for _, shard in sorted(found, key=lambda item: item[0])]


def _open(settings: OrganicSettings, folder: Path, resume: bool) -> list[Choice]:
    """The molecules of the set; the first time, settings, molecules and isolated atoms are written."""
    if (folder / SETTINGS).exists():
        if not resume:
            raise InputError(f"{folder} holds a set already; go on with it with --resume, or choose another --out")
        if OrganicSettings.from_file(folder / SETTINGS) != settings:
            raise ConfigError(f"{folder} was begun with other settings, see {SETTINGS} there; --resume keeps them")
    else:
        write_atomically(folder / SETTINGS, settings.to_json().encode())
    if not (folder / ATOMS).exists():
        numbers = [atomic_number_of(element) for element in settings.elements]
        write_extxyz(isolated_atoms(XtbEngine("gfn2-xtb"), numbers), folder / ATOMS)
    if not (folder / MOLECULES).exists():
        rows = [(item.smiles, str(item.n_heavy), item.part) for item in choose_molecules(settings)]
        _write_table(folder / MOLECULES, ("smiles", "n_heavy", "part"), rows)
    with open(folder / MOLECULES, newline="") as file:
        return [Choice(row["smiles"], int(row["n_heavy"]), row["part"]) for row in csv.DictReader(file)]


def _finished(folder: Path, shard: Shard) -> dict[str, Any] | None:
    """The report of a shard that is done."""
    report, data = (folder / "shards" / f"{shard.name}.{suffix}" for suffix in ("json", "lmdb"))
    if not (report.exists() and data.exists()):
        return None
    try:
        found = json.loads(report.read_text())
    except ValueError as error:
        raise InputError(f"{report}: damaged ({error}); remove it, and its molecules are made again") from error
    return found if isinstance(found, dict) else None


def _make(
    settings: OrganicSettings,
    folder: Path,
    shards: Sequence[Shard],
    reports: dict[str, dict[str, Any]],
    workers: int,
    total: int,
    progress: Progress,
    should_stop: Callable[[], object],
) -> str:
    """Have the molecules of these shards made; the reason for stopping, if it was stopped."""
    requests = [(shard, molecule) for shard in shards for molecule in shard.molecules]
    done = total - len(requests)
    structures = sum(report["structures"] for report in reports.values())
    progress(done, total, structures)
    if not requests:
        return ""
    plain = json.loads(settings.to_json())
    messages = ((index, molecule.smiles.encode()) for index, (_, molecule) in enumerate(requests))
    with Workers(_TASK, plain, workers) as pool:
        for answer in pool.answers(messages, should_stop):
            shard, molecule = requests[answer.index]
            structures += _take(shard, molecule.smiles, answer)
            if shard.complete:
                reports[shard.name] = _write_shard(folder, shard)
            done += 1
            progress(done, total, structures)
    return str(should_stop() or "")


def _take(shard: Shard, smiles: str, answer: Answer) -> int:
    if answer.content is None:
        shard.failed[smiles] = answer.failure
        return 0
    shard.done[smiles] = unpacked(answer.content)
    return len(shard.done[smiles][1])


def _write_shard(folder: Path, shard: Shard) -> dict[str, Any]:
    report = shard.report()
    write_lmdb(shard.structures(), folder / "shards" / f"{shard.name}.lmdb")
    write_atomically(folder / "shards" / f"{shard.name}.json", (json.dumps(report, indent=1) + "\n").encode())
    shard.done.clear()
    return report


def _write_parts(folder: Path, shards: Sequence[Shard], reports: dict[str, dict[str, Any]]) -> None:
    for part in PARTS:
        names = [shard.name for shard in shards if shard.name.startswith(part)]
        write_lmdb(_structures(folder, names, part == "train"), folder / f"{part}.lmdb")
    failures = [(smiles, why) for shard in shards for smiles, why in reports[shard.name]["failed"].items()]
    _write_table(folder / FAILURES, ("smiles", "reason"), failures)
    refused, kinds = Counter[str](), Counter[str]()
    for report in reports.values():
        refused.update(report["refused"])
        kinds.update(report["kinds"])
    summary = {
        "level_of_theory": XtbEngine("gfn2-xtb").level_of_theory,
        "structures": _by_part(reports, "structures"),
        "hessians": _by_part(reports, "hessians"),
        "kinds": dict(sorted(kinds.items())),
        "refused": dict(sorted(refused.items())),
        "molecules": sum(len(report["molecules"]) for report in reports.values()),
        "failed_molecules": len(failures),
    }
    write_atomically(folder / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())


def _structures(folder: Path, names: Sequence[str], with_atoms: bool) -> Iterator[LabelledStructure]:
    if with_atoms:
        yield from isolated_atoms_of(folder)
    for name in names:
        yield from open_lmdb(folder / "shards" / f"{name}.lmdb")


def isolated_atoms_of(folder: Path) -> list[LabelledStructure]:
    """The isolated atoms of a set."""
    from atomsym.datasets import read_dataset

    return list(read_dataset(folder / ATOMS))


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(header)
    table.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _by_part(reports: dict[str, dict[str, Any]], what: str) -> dict[str, int]:
    counts = dict.fromkeys(PARTS, 0)
    for name, report in reports.items():
        counts[name.partition("-")[0]] += report[what]
    return counts


def _result(
    complete: bool, reason: str, folder: Path, reports: dict[str, dict[str, Any]], seconds: float
) -> OrganicResult:
    molecules = sum(len(report["molecules"]) for report in reports.values())
    failed = sum(len(report["failed"]) for report in reports.values())
    structures, hessians = (_by_part(reports, what) for what in ("structures", "hessians"))
    return OrganicResult(complete, reason, folder, molecules, failed, structures, hessians, seconds)
