"""``atomsym symmetry``: space group, occupied Wyckoff positions and free parameters of crystals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import ase.io
import typer
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atomsym.core import ConfigError, InputError
from atomsym.core.elements import symbol_of
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, analyse, canonical, template
from atomsym.symmetry.wyckoff.analysis import SYMPREC
from atomsym.symmetry.wyckoff.freedom import lattice_strains
from atomsym.symmetry.wyckoff.relabelling import Template
from atomsym.workflows.paths import make_folder, require_writable
from atomsym.workflows.structures import load_structure


@dataclass(frozen=True, eq=False)
class SymmetryResult:
    """The symmetry of one structure.

    Attributes:
        source: file or name of a built-in system.
        n_atoms: of the structure as it was given.
        symbol: of the space group, Hermann-Mauguin, short.
        crystal_system: such as ``tetragonal``.
        symprec: tolerance of the analysis, Å.
        crystal: the conventional cell in the standard setting, exactly symmetric.
    """

    source: str
    n_atoms: int
    symbol: str
    crystal_system: str
    symprec: float
    crystal: SymmetricCrystal

    @property
    def protostructure(self) -> Protostructure:
        return self.crystal.protostructure

    @property
    def canonical(self) -> Protostructure:
        """The same for every choice of origin and axes."""
        return canonical(self.protostructure)

    @property
    def template(self) -> Template:
        """The same for every choice of elements as well."""
        return template(self.protostructure)

    @property
    def lattice_freedom(self) -> int:
        """Free parameters of the lattice, 1 to 6."""
        return len(lattice_strains(self.protostructure.space_group, self.crystal.cell))

    @property
    def atoms(self) -> Atoms:
        """The conventional cell, for ASE."""
        own = self.crystal
        return Atoms(own.numbers, cell=own.cell, scaled_positions=own.fractional_positions, pbc=True)

    @property
    def formula(self) -> str:
        """With the smallest whole numbers."""
        return str(self.atoms.symbols.formula.reduce()[0].format("metal"))

    def orbits(self) -> list[dict[str, Any]]:
        """Element, position and free coordinates of each orbit, as plain data."""
        found = []
        structure = self.protostructure
        for (number, letter), position, parameters in zip(
            structure.orbits, structure.positions, self.crystal.parameters, strict=True
        ):
            free = [bool(position.matrices[:, :, axis].any()) for axis in range(3)]
            found.append(
                {
                    "element": symbol_of(number),
                    "letter": letter,
                    "multiplicity": position.multiplicity,
                    "site_symmetry": position.site_symmetry,
                    "free": {
                        name: float(value) for name, value, own in zip("xyz", parameters, free, strict=True) if own
                    },
                    "first": position.coordinates(parameters)[0].tolist(),
                }
            )
        return found

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        lengths_angles = self.atoms.cell.cellpar().tolist()
        return {
            "source": self.source,
            "formula": self.formula,
            "n_atoms": self.n_atoms,
            "symprec": self.symprec,
            "space_group": self.protostructure.space_group,
            "symbol": self.symbol,
            "crystal_system": self.crystal_system,
            "protostructure": str(self.protostructure),
            "canonical": str(self.canonical),
            "template": [self.template[0], list(self.template[1])],
            "n_conventional": self.crystal.n_atoms,
            "lengths": lengths_angles[:3],
            "angles": lengths_angles[3:],
            "lattice_freedom": self.lattice_freedom,
            "degrees_of_freedom": self.protostructure.degrees_of_freedom,
            "orbits": self.orbits(),
        }


def find_symmetry(source: str, *, symprec: float = SYMPREC) -> SymmetryResult:
    """Analyse a structure.

    Args:
        source: a file that ASE reads, of which the last frame counts, or the name of a built-in system.
        symprec: how far atoms may be from where symmetry wants them, Å.

    Raises:
        InputError: if it cannot be read, is not periodic in three directions, or no space group is found.

    Example:
        >>> found = find_symmetry("silicon")
        >>> found.symbol, str(found.canonical), found.lattice_freedom
        ('F d -3 m', '227: Si a', 1)
    """
    atoms = load_structure(source)
    if not atoms.pbc.all():
        raise InputError(f"{source} is no crystal: it is not periodic in three directions")
    try:
        crystal = analyse(atoms.cell, atoms.get_scaled_positions(wrap=False), atoms.numbers, symprec=symprec)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    import moyopy

    kind = moyopy.SpaceGroupType(crystal.protostructure.space_group)
    return SymmetryResult(source, len(atoms), kind.hm_short, kind.crystal_system.lower(), symprec, crystal)


def symmetry_command(
    files: Annotated[list[str], typer.Argument(help="Structure files that ASE reads, or built-in systems.")],
    symprec: Annotated[float, typer.Option(help="How far atoms may be from where symmetry wants them, Å.")] = SYMPREC,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            show_default=False,
            help="Write the symmetrised conventional cell: a file of any format of ASE, or a folder for several.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list and nothing else.")] = False,
) -> None:
    """The space group of crystals, which element occupies which Wyckoff positions, and what symmetry leaves free.

    The canonical form is the same for every choice of origin and axes, so that equal ones are the same structure type
    with the same elements. Exit code 0, or 2 if a structure cannot be read or analysed; then nothing is written.

    Example: `atomsym symmetry rutile.cif --out symmetric.cif`.
    """  # fmt: skip
    targets = _targets(files, out)
    results = [find_symmetry(source, symprec=symprec) for source in files]
    if out is not None and len(files) > 1:
        make_folder(out)
    for result, target in zip(results, targets, strict=True):
        if target is not None:
            ase.io.write(target, result.atoms)
    if as_json:
        written = [None if target is None else str(target) for target in targets]
        plain = [result.to_plain() | {"written": path} for result, path in zip(results, written, strict=True)]
        typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
        return
    console = Console()
    for result in results:
        show_symmetry(result, console)
    if out is not None:
        console.print(f"Symmetrised: {escape(str(out))}", soft_wrap=True, highlight=False)


def show_symmetry(result: SymmetryResult, console: Console) -> None:
    """One line on the crystal, one on its keys, and a table of its orbits."""
    plain = result.to_plain()
    (a, b, c), angles = plain["lengths"], plain["angles"]
    lines = (
        f"[bold]{escape(result.source)}[/]: {result.formula}, space group [bold]{result.protostructure.space_group} "
        f"({result.symbol})[/], {result.crystal_system}, {result.crystal.n_atoms} atoms in the conventional cell",
        f"canonical {result.canonical}; template {result.template[0]}: {' | '.join(result.template[1])}",
        f"cell {a:.4f} {b:.4f} {c:.4f} Å, {angles[0]:.2f} {angles[1]:.2f} {angles[2]:.2f}°; free parameters: "
        f"{result.lattice_freedom} of the lattice, {result.protostructure.degrees_of_freedom} of the atoms",
    )
    console.print(*lines, sep="\n", highlight=False, soft_wrap=True)
    table = Table("element", "position", "site symmetry", "first atom", "free coordinates")
    for orbit in plain["orbits"]:
        first = " ".join(f"{value:.5f}" for value in orbit["first"])
        free = ", ".join(f"{name} = {value:.5f}" for name, value in orbit["free"].items())
        table.add_row(
            orbit["element"], f"{orbit['multiplicity']}{orbit['letter']}", orbit["site_symmetry"], first, free or "none"
        )
    console.print(table)


def _targets(files: list[str], out: Path | None) -> list[Path | None]:
    """Where each result goes; looked at before any work."""
    if out is None:
        return [None] * len(files)
    if len(files) == 1:
        try:
            writable = get_ioformat(filetype(str(out), read=False)).can_write
        except UnknownFileTypeError:
            writable = False
        if not writable:
            raise ConfigError(f"--out {out}: ASE knows no format of this name to write; try {out.stem}.cif")
        require_writable(out)
        return [out]
    names = [Path(file).stem for file in files]
    if len(set(names)) < len(names):
        raise ConfigError("--out: two structures would be written to the same file; give them different names")
    return [out / f"{name}.cif" for name in names]
