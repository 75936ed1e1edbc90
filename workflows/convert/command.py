"""``atomsym convert``: checkpoints of other packages to model files."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import atomsym
from atomsym.artifacts import ModelCard, ModelDescription, save_model
from atomsym.models import Potential
from atomsym.workflows.convert.fairchem import escnmd_from_arrays
from atomsym.workflows.convert.fairchem_config import ForeignESCNMD, Selection
from atomsym.workflows.convert.isolated import extract
from atomsym.workflows.convert.mace import mace_from_arrays
from atomsym.workflows.convert.mace_config import ForeignMACE
from atomsym.workflows.convert.nequip import nequip_from_arrays
from atomsym.workflows.convert.nequip_config import ForeignNequIP
from atomsym.workflows.convert.verify import Deviations, compare, require_agreement
from atomsym.workflows.formula import parse_formula
from atomsym.workflows.paths import require_writable

UNKNOWN = "unknown"
_CITATIONS = {
    "mace": "Batatia et al., NeurIPS 2022 (arXiv 2206.07697), and the authors of the weights",
    "nequip": "Batzner et al., Nature Communications 13, 2453 (2022), and the authors of the weights",
    "escn-md": "Fu et al. 2025 (arXiv 2502.12147), Wood et al. 2025 (arXiv 2506.23971), and the authors of the weights",
}


def convert(
    checkpoint: Path,
    output: Path,
    *,
    trust: bool = False,
    head: str | None = None,
    python: str | None = None,
    licence: str = UNKNOWN,
    level_of_theory: str = UNKNOWN,
    training_data: str = UNKNOWN,
    citation: str | None = None,
    charge: int = 0,
    spin: int | None = None,
    composition: str | None = None,
) -> tuple[ModelDescription, Deviations]:
    """Convert a model of mace-torch, fairchem or nequip, verify the result against the original and write it.

    Args:
        checkpoint: the file.
        output: the model file to be written.
        trust: whether the code in the checkpoint may be executed, in a process of its own.
        head: which one, if the model has several; with fairchem the data set (task), such as ``omol``.
        python: interpreter with the package that wrote the file; default: this one.
        licence, level_of_theory, training_data, citation: for the model card.
        charge, spin: total charge and multiplicity that a model of fairchem is converted for; None takes its default.
        composition: formula that its experts are merged for, such as ``C2H6O``.

    Returns:
        The description of the written file, and how far it is from the original.

    Raises:
        ConfigError: without ``trust``.
        InputError: if the file or a feature of the model is not supported, or the head is not there.
        MissingDependencyError: if the interpreter has not the package.
        ArtifactError: if the file cannot be read.
        CalculationError: if the converted model deviates by more than 1e-6; then nothing is written.
    """
    require_writable(output)
    selection = Selection(head, charge, spin, None if composition is None else parse_formula(composition))
    foreign = extract(checkpoint, trust=trust, python=python, selection=selection)
    potential = _potential(foreign, head)
    deviations = compare(potential, foreign.arrays)
    require_agreement(deviations)
    card = ModelCard(
        name=_name_from(output),
        level_of_theory=level_of_theory,
        training_data=training_data,
        licence=licence,
        citation=citation or _CITATIONS[potential.architecture],
        description=_origin(checkpoint, foreign, head, deviations),
    )
    return save_model(potential, output, card), deviations


Foreign = ForeignMACE | ForeignESCNMD | ForeignNequIP


def _potential(foreign: Foreign, head: str | None) -> Potential:
    if isinstance(foreign, ForeignMACE):
        return mace_from_arrays(foreign, head)
    return escnmd_from_arrays(foreign) if isinstance(foreign, ForeignESCNMD) else nequip_from_arrays(foreign)


def _name_from(output: Path) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", output.stem.lower()).strip("-._") or "converted"


def _origin(checkpoint: Path, foreign: Foreign, head: str | None, deviations: Deviations) -> str:
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    versions = ", ".join(f"{name} {version}" for name, version in foreign.description["versions"].items())
    which = f"head {head or foreign.description['heads'][0]}"
    if isinstance(foreign, ForeignESCNMD):
        which += f", charge {foreign.description['charge']}, spin {foreign.description['spin']}"
    return (
        f"Converted by atomsym {atomsym.__version__} from {checkpoint.name} (sha256 {digest}; {versions}; {which}). "
        f"Relative deviation from the original in float64: energy "
        f"{deviations.energy:.1e}, forces {deviations.forces:.1e}, stress {deviations.stress:.1e}."
    )


def convert_command(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A model of mace-torch (*.model), fairchem (*.pt) or nequip (*.ckpt, *.nequip.zip).",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The model file to write, e.g. mace.safetensors.", show_default=False)
    ],
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="I trust where the checkpoint comes from: opening it executes code that it holds."
        ),
    ] = False,
    head: Annotated[
        str | None,
        typer.Option(help="Which head (mace-torch) or data set (fairchem), if there are several.", show_default=False),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(help="An interpreter with mace-torch, fairchem-core or nequip.", show_default="the present one"),
    ] = None,
    charge: Annotated[int, typer.Option(help="Total charge to convert for (fairchem), e.")] = 0,
    spin: Annotated[
        int | None,
        typer.Option(help="Spin multiplicity to convert for (fairchem).", show_default="that of the data set"),
    ] = None,
    composition: Annotated[
        str | None, typer.Option(help="Formula to merge experts for (fairchem's UMA), e.g. C2H6O.", show_default=False)
    ] = None,
    licence: Annotated[
        str, typer.Option("--license", "--licence", help="Of the weights, as SPDX identifier.")
    ] = UNKNOWN,
    level_of_theory: Annotated[str, typer.Option(help="What the energies approximate, e.g. 'PBE+U'.")] = UNKNOWN,
    training_data: Annotated[str, typer.Option(help="What the weights were fitted to.")] = UNKNOWN,
    citation: Annotated[
        str | None, typer.Option(help="Whom to cite.", show_default="the papers of the architecture")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Turn a checkpoint of mace-torch, fairchem or nequip into a model file that is safe to load.

    The checkpoint is opened once, in a process of its own. Energies, forces and stresses of test structures that
    contain every element are compared with the original; a model that deviates is not written.

    Example: `atomsym convert MACE.model --trust -o mace.safetensors --python ~/mace/bin/python`.
    """
    console = Console(stderr=True, quiet=as_json)
    with console.status(f"converting {checkpoint.name} …"):
        described, deviations = convert(
            checkpoint, output, trust=trust, head=head, python=python, licence=licence,
            level_of_theory=level_of_theory, training_data=training_data, citation=citation,
            charge=charge, spin=spin, composition=composition,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"path": str(output), **asdict(described), "deviations": asdict(deviations)}, indent=2))
        return
    console.print(
        f"[bold green]{output}[/]: {described.n_parameters} numbers, {len(described.elements)} elements, cutoff "
        f"{described.cutoff:g} Å, {described.size / 1e6:.1f} MB",
        f"agrees with the original on {deviations.n_structures} structures ({deviations.n_atoms} atoms): relative "
        f"deviations {deviations.energy:.1e} (energy), {deviations.forces:.1e} (forces), "
        f"{deviations.stress:.1e} (stress)",
        f"use it: [bold]atomsym check {output}[/]",
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )
    if licence == UNKNOWN:
        console.print("[yellow]the licence of the weights is unknown; state it with --license[/]")
