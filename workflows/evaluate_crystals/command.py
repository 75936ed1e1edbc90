"""``atomsym evaluate-crystals``: the command line of an evaluation of generated crystals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from atomsym.artifacts import write_atomically
from atomsym.core import ConfigError, DataError
from atomsym.datasets.crystals import KNOWN_CRYSTALS, CrystalRecord
from atomsym.metrics import composition_of, is_charge_balanced
from atomsym.metrics.embedding import shipped_embedding
from atomsym.workflows.evaluate_crystals import options
from atomsym.workflows.evaluate_crystals.describe import CrystalSet, describe
from atomsym.workflows.evaluate_crystals.evaluation import Evaluation, evaluate
from atomsym.workflows.evaluate_crystals.hull import Hull, read_hull
from atomsym.workflows.evaluate_crystals.read import read_generated, require_source
from atomsym.workflows.evaluate_crystals.report import (
    crystals_as_csv,
    notes,
    report_markdown,
    report_table,
    result_as_data,
)
from atomsym.workflows.evaluate_crystals.settings import EvaluationSettings
from atomsym.workflows.evaluate_crystals.smact_rule import smact_rule
from atomsym.workflows.evaluate_crystals.structure_matching import structure_matcher
from atomsym.workflows.paths import make_folder

_ENERGY_NAMES = ("formation_energy_per_atom", "energy_per_atom", "energy")
_KNOWN_DISTANCES = ("e_above_hull", "energy_above_hull")


def evaluate_crystals_command(
    generated: options.Generated,
    reference: options.Reference,
    known: options.Known = None,
    hull: options.HullPhases = None,
    energy: options.Energy = None,
    hull_distance: options.HullDistance = None,
    requested_group: options.RequestedGroup = None,
    stable: options.Stable = 0.0,
    metastable: options.Metastable = 0.1,
    symprec: options.Symprec = 0.1,
    strict_symprec: options.StrictSymprec = 0.01,
    ltol: options.LengthTolerance = 0.2,
    stol: options.SiteTolerance = 0.3,
    angle_tol: options.AngleTolerance = 5.0,
    smact: options.Smact = False,
    recovery: options.Recovery = False,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    output: options.Output = None,
    as_json: options.AsJson = False,
) -> None:
    """How good generated crystals are: valid, unique, new, stable, symmetric, and distributed as real ones.

    Examples: `atomsym evaluate-crystals generated.csv --reference mp_20_biternary_test --known mp_20_biternary_val
    -o report`, `atomsym evaluate-crystals run/ --reference mp_20_biternary_test --hull phases.csv --json`.
    """
    settings = EvaluationSettings(
        symprec=symprec, strict_symprec=strict_symprec, length_tolerance=ltol, site_tolerance=stol,
        angle_tolerance=angle_tol, metastable=metastable, stable=stable, smact=smact, recovery=recovery, seed=seed,
    )  # fmt: skip
    if hull and hull_distance:
        raise ConfigError("give either --hull or --hull-distance")
    if energy and not hull:
        raise ConfigError("--energy names energies for --hull; give --hull as well")
    for source in (generated, reference, *(known or ())):
        require_source(source)
    balanced = smact_rule() if smact else is_charge_balanced
    structure_matcher(ltol, stol, angle_tol)  # tells before the work if pymatgen is missing
    embedding = shipped_embedding()
    if output is not None:
        make_folder(output)
    phases = read_hull(hull) if hull else None
    console = Console(stderr=True, quiet=as_json)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as bar:
        task = bar.add_task("reading", total=None)

        def progress(name: str, done: int, total: int) -> None:
            bar.update(task, description=f"analysing {name}", completed=done, total=total)

        def load(source: str, strict: float | None, most: int | None = None) -> CrystalSet:
            bar.update(task, description=f"reading {_name(source)}", completed=0, total=None)
            records = read_generated(source)[:most]
            return describe(
                _name(source), records, symprec=symprec, strict_symprec=strict, balanced=balanced, on_progress=progress
            )

        found, real = load(generated, strict_symprec, limit), load(reference, strict_symprec)
        others = [load(source, None) for source in known or ()]
        requested = None if requested_group is None else _required(found.crystals, requested_group)
        bar.update(task, description="distances from the hull", completed=0, total=None)
        distances = _hull_distances(found.crystals, phases, energy, hull_distance, required=True)
        real_distances = _hull_distances(real.crystals, phases, energy, hull_distance, required=False)
        result = evaluate(
            found, real, others, settings, embedding, hull_distances=distances,
            real_hull_distances=real_distances, requested=requested,
            on_step=lambda step: bar.update(task, description=step, completed=0, total=None),
        )  # fmt: skip
    data = result_as_data(
        result, embedding, sources={"generated": generated, "reference": reference, "known": known or []},
        hull=_hull_label(phases, hull, hull_distance),
    )  # fmt: skip
    written = [] if output is None else _write(result, data, output)
    if as_json:
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    Console().print(report_table(result, embedding))
    for note in notes(result, embedding):
        console.print(note, style="dim", highlight=False)
    for path in written:
        console.print(f"Written: {path}")


def _name(source: str) -> str:
    return source if source in KNOWN_CRYSTALS else Path(source).name.removesuffix(".gz").removesuffix(".csv")


def _hull_label(phases: Hull | None, hull: list[str] | None, hull_distance: str | None) -> str | None:
    if phases is not None:
        return f"{phases.n_phases} phases of {', '.join(hull or ())}"
    return f"property {hull_distance}" if hull_distance else None


def _hull_distances(
    crystals: Sequence[CrystalRecord], phases: Hull | None, energy: str | None, given: str | None, *, required: bool
) -> NDArray[np.float64] | None:
    """eV/atom, NaN where unknown; None if stability is not asked for, or not known of real crystals."""
    if given is not None:
        return _required(crystals, given) if required else _property(crystals, (given, *_KNOWN_DISTANCES))
    if phases is None:
        return None
    wanted = _ENERGY_NAMES[:1] if phases.formation else _ENERGY_NAMES[1:]
    energies = _energies(crystals, (energy,) if energy else wanted)
    if energies is None:
        if not required:
            return None
        named = energy or " or ".join(wanted)
        raise DataError(f"no crystal has an energy ({named}); there are {_properties(crystals)}. Name it with --energy")
    distances = np.full(len(crystals), np.nan)
    for index in np.flatnonzero(np.isfinite(energies)).tolist():
        if len(crystals[index].numbers):
            distances[index] = phases.distance(composition_of(crystals[index]), float(energies[index]))
    return distances


def _energies(crystals: Sequence[CrystalRecord], names: Sequence[str]) -> NDArray[np.float64] | None:
    """eV/atom; the property ``energy`` is that of all atoms."""
    for name in names:
        found = _property(crystals, (name,))
        if found is not None:
            sizes = np.array([max(len(crystal.numbers), 1) for crystal in crystals])
            return found / sizes if name == "energy" else found
    return None


def _required(crystals: Sequence[CrystalRecord], name: str) -> NDArray[np.float64]:
    found = _property(crystals, (name,))
    if found is None:
        raise DataError(f"no crystal has a property '{name}'; there are {_properties(crystals)}")
    return found


def _property(crystals: Sequence[CrystalRecord], names: Sequence[str]) -> NDArray[np.float64] | None:
    for name in names:
        found = np.array([crystal.properties.get(name, np.nan) for crystal in crystals])
        if np.isfinite(found).any():
            return found
    return None


def _properties(crystals: Sequence[CrystalRecord]) -> str:
    return ", ".join(sorted({name for crystal in crystals for name in crystal.properties})) or "none"


def _write(result: Evaluation, data: dict[str, object], folder: Path) -> list[Path]:
    from atomsym.workflows.evaluate_crystals.plots import write_distributions  # matplotlib: only when it draws

    texts = {
        "report.json": json.dumps(data, indent=2, ensure_ascii=False) + "\n",
        "report.md": report_markdown(result, shipped_embedding()),
        "crystals.csv": crystals_as_csv(result),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [*(folder / name for name in texts), write_distributions(result, folder / "distributions.png")]
