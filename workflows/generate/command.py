"""``atomsym generate``: the command line of generation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from atomsym.calculators.ase.load import parse_kwargs
from atomsym.core import ConfigError
from atomsym.generators.conditions import MAX_ATOMS
from atomsym.workflows.calculator_output import output_aside
from atomsym.workflows.generate import options
from atomsym.workflows.generate.prototypes import AFLOW
from atomsym.workflows.generate.settings import GenerateSettings
from atomsym.workflows.run_folders import require_run_of
from atomsym.workflows.run_options import AsJson, Device, Dtype, Kwargs, MaxMinutes, Resume
from atomsym.workflows.run_settings import refuse_changes
from atomsym.workflows.status_line import counted, status_line
from atomsym.workflows.stopping import StoppedError, exit_stopped, stoppable

if TYPE_CHECKING:
    from atomsym.workflows.generate.results import Summary


def generate_command(
    n: options.N = None,
    elements: options.Elements = None,
    require: options.Require = None,
    system: options.System = None,
    exclude: options.Exclude = None,
    formula: options.Formula = None,
    space_group: options.SpaceGroup = None,
    n_atoms: options.NAtoms = None,
    max_atoms: options.MaxAtoms = None,
    generator: options.Generator = None,
    temperature: options.Temperature = None,
    target: options.Target = None,
    guidance: options.Guidance = None,
    realisations: options.Realisations = None,
    prototypes: options.Prototypes = None,
    no_prototypes: options.NoPrototypes = False,
    relax: options.Relax = None,
    kwargs: Kwargs = None,
    free: options.Free = False,
    fmax: options.Fmax = None,
    max_steps: options.MaxSteps = None,
    time_limit: options.TimeLimit = None,
    seed: options.Seed = None,
    symprec: options.Symprec = None,
    max_minutes: MaxMinutes = None,
    resume: Resume = None,
    device: Device = None,
    dtype: Dtype = None,
    output: options.Output = None,
    as_json: AsJson = False,
) -> None:
    """Crystals of a chemical system: drawn, realised, relaxed within their symmetry, ranked, and shown in a gallery.

    Conditions are hard: no crystal has another element, composition or space group than it may have. The folder has
    `gallery.html`, which opens without a network, `crystals.csv`, `.extxyz`, `.json` and a CIF file of each crystal.

    Examples: `atomsym generate -n 100 --elements Ti,O --space-group 136,62`,
    `atomsym generate -n 20 --formula CaTiO3 --relax chgnet --output perovskites`.
    """
    console = Console(stderr=True, quiet=as_json)
    given: dict[str, Any] = {
        "n": n, "elements": elements, "require": require, "exclude": exclude, "formula": formula,
        "space_groups": space_group, "n_atoms": n_atoms, "max_atoms": max_atoms, "generator": generator,
        "temperature": temperature, "targets": target, "guidance": guidance, "realisations": realisations,
        "relax": relax, "kwargs": parse_kwargs(kwargs) or None, "free": free or None, "fmax": fmax,
        "max_steps": max_steps, "time_limit": time_limit, "seed": seed, "symprec": symprec, "device": device,
        "dtype": dtype, "system": system, "prototypes": prototypes, "no_prototypes": no_prototypes or None,
    }  # fmt: skip
    settings, folder = _settings(given, output, resume)
    from atomsym.workflows.generate.results import write_results  # matplotlib takes a while to import
    from atomsym.workflows.generate.run import resume_generate, run_generate

    go_on = f"atomsym generate --resume {folder}"
    with stoppable(console, go_on, max_minutes) as stop, status_line(console) as say, output_aside():

        def progress(stage: str, done: int, of: int) -> None:
            say(counted(stage, done, of))

        try:
            if resume is not None:
                generated = resume_generate(folder, progress, stop)
            else:
                generated = run_generate(settings, folder, progress, stop)
        except StoppedError as stage:
            how = f"Stopped ({stop()}) in: {stage}"
            raise exit_stopped(console, how, go_on) from None
        say("writing the gallery")
        summary = write_results(settings, generated, folder)
    if as_json:
        typer.echo(summary.to_json(), nl=False)
        return
    table = Table("", "crystals", title=f"{summary.generated} crystals from {summary.drawn} draws")
    table.columns[1].justify = "right"
    rows: list[tuple[str, int | None]] = [
        ("wanted", summary.wanted), ("different when relaxed", summary.different),
        ("different templates", summary.templates),
        ("begun from a known prototype", summary.from_prototypes),
        ("keep the distance floor as drawn", summary.distance_floor), ("space group found back", summary.group_kept),
        ("relaxed to rest", summary.relaxed), ("on the hull of this run", summary.on_hull),
    ]  # fmt: skip
    for label, value in rows:
        if value is not None:
            table.add_row(label, str(value))
    console.print(table)
    console.print(_best(summary))
    if summary.generated < summary.wanted:
        console.print("[yellow]There are no more[/] different crystals under these conditions, or hardly any more.")
    console.print(f"Results: {folder}\nGallery: {summary.gallery}", highlight=False, soft_wrap=True)


def _best(summary: Summary) -> Table:
    """The first few rows of the table, with what matters most."""
    shown = {"rank": "rank", "formula": "formula", "space_group": "space group"}
    shown |= {"above_hull": "above hull (eV/atom)"} if summary.on_hull is not None else {}
    shown |= {"state": "state", "geometry": "geometry from"}
    table = Table(*shown.values(), title="the best")
    table.columns[-1].overflow = "fold"
    for row in summary.best:
        values = [row[name] for name in shown]
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in values))
    return table


def parse_groups(text: str) -> tuple[int, ...]:
    """Numbers and ranges, separated by commas.

    Raises:
        ConfigError: if it is something else.

    Example:
        >>> parse_groups("62,194-196")
        (62, 194, 195, 196)
    """
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ConfigError(f"space groups are numbers such as 136,62 or 195-230; found '{text}'")
        begin, end = int(first), int(last if dash else first)
        if end < begin:
            raise ConfigError(f"a range of space groups goes up, such as {end}-{begin}; found '{part}'")
        found += range(begin, end + 1)
    return tuple(dict.fromkeys(found))


def _settings(given: dict[str, Any], output: Path | None, resume: Path | None) -> tuple[GenerateSettings, Path]:
    if resume is not None:
        refuse_changes({"output": output, **given})
        require_run_of("generate", resume)
        return GenerateSettings.from_file(resume / "settings.json"), resume
    chosen = {name: value for name, value in given.items() if value is not None}
    if "system" in chosen:
        if {"elements", "require", "formula"} & set(chosen):
            raise ConfigError("--system says which elements there are; it takes no --elements, --require or --formula")
        chosen["elements"] = chosen["require"] = chosen.pop("system").replace("-", ",")
    for name in ("elements", "require", "exclude"):
        if name in chosen:
            chosen[name] = tuple(part for part in chosen[name].replace(" ", "").split(",") if part)
            if not chosen[name]:
                raise ConfigError(f"--{name} names no element")
    if chosen.pop("no_prototypes", False):
        if "prototypes" in chosen:
            raise ConfigError("--no-prototypes takes random geometries only; it cannot be given with --prototypes")
        chosen["prototypes"] = ()
    chosen["prototypes"] = tuple(
        str(Path(source).absolute()) if source != AFLOW and Path(source).exists() else source
        for source in chosen.get("prototypes", (AFLOW,))
    )  # the run can then go on from any folder
    if chosen.get("n_atoms", 0) > chosen.get("max_atoms", MAX_ATOMS):
        most = chosen.get("max_atoms", MAX_ATOMS)
        raise ConfigError(f"--n-atoms {chosen['n_atoms']} is more than the {most} atoms that there may be")
    if "space_groups" in chosen:
        chosen["space_groups"] = parse_groups(chosen["space_groups"])
    return GenerateSettings(**chosen), output or Path("atomsym-generate")
