"""pymatgen's Structure and Molecule to atom graphs and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atomsym.core import AtomGraph, InputError, MissingDependencyError, UnsupportedElementError, validate_structure
from atomsym.core.elements import SYMBOLS

if TYPE_CHECKING:
    from pymatgen.core import Molecule, Structure


def to_graph(
    structure: Structure | Molecule | Sequence[Structure | Molecule],
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> AtomGraph:
    """A graph without edges of one structure or molecule, or a batch of several.

    Positions are taken as they are, not wrapped. Oxidation states, charge, spin and site properties are not part of a
    graph.

    Args:
        structure: one structure or molecule, or a sequence of them; every site holds one atom of one element.
        dtype: torch.float32 or torch.float64.
        device: where the graph is put.

    Raises:
        MissingDependencyError: if pymatgen is not installed.
        InputError: naming the site, if it is disordered, partially occupied, an isotope (D, T) or a dummy species; or
            for values that are not finite and overlapping atoms.

    Example:
        >>> from pymatgen.core import Lattice, Structure
        >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        >>> to_graph(salt).n_atoms
        8
    """
    core = _pymatgen()
    if isinstance(structure, core.IStructure | core.IMolecule):
        numbers = [_atomic_number(site, index) for index, site in enumerate(structure)]
        positions = np.asarray(structure.cart_coords, dtype=np.float64).reshape(-1, 3)
        lattice = getattr(structure, "lattice", None)
        cell = None if lattice is None else np.asarray(lattice.matrix)
        pbc = None if lattice is None else np.asarray(lattice.pbc)
        validate_structure(positions, numbers, cell, pbc)
        return AtomGraph.from_arrays(positions, numbers, cell, pbc, dtype=dtype, device=device)
    if isinstance(structure, str | bytes) or not isinstance(structure, Sequence):
        raise InputError(f"expected a Structure or Molecule of pymatgen, or several; found {type(structure).__name__}")
    return AtomGraph.batch([to_graph(one, dtype, device) for one in structure])


def from_graph(graph: AtomGraph) -> Structure | Molecule | list[Structure | Molecule]:
    """The structure (or molecule, where nothing is periodic) of a graph, or the list of those of a batch.

    Edges and strain are left out.

    Raises:
        MissingDependencyError: if pymatgen is not installed.
        InputError: if a partly periodic system has no lattice vector on an axis: pymatgen needs all three.
    """
    core = _pymatgen()
    stops = np.cumsum(graph.atoms_per_system.tolist())
    found = [_from_system(core, graph, system, int(stop)) for system, stop in enumerate(stops)]
    return found[0] if graph.n_systems == 1 else found


def _from_system(core: Any, graph: AtomGraph, system: int, stop: int) -> Any:
    start = stop - int(graph.atoms_per_system[system])
    species = [SYMBOLS[number] for number in graph.numbers[start:stop].tolist()]
    positions = graph.positions[start:stop].detach().cpu().double().numpy()
    pbc = graph.pbc[system].tolist()
    if not any(pbc):
        return core.Molecule(species, positions)
    cell = graph.cell[system].detach().cpu().double().numpy()
    empty = np.flatnonzero(~cell.any(axis=1))
    if len(empty):
        raise InputError(
            f"system {system} has no lattice vector on axis {empty[0]} (pbc = {pbc}); pymatgen needs all three: "
            "set one that is longer than the system"
        )
    return core.Structure(core.Lattice(cell, pbc=tuple(pbc)), species, positions, coords_are_cartesian=True)


def _atomic_number(site: Any, index: int) -> int:
    """Atomic number of the one atom of a site.

    Raises:
        InputError: if there is not exactly one atom of a chemical element.
    """
    if not site.is_ordered:
        raise InputError(
            f"sites[{index}] is disordered ({site.species_string}); every site must hold exactly one atom. "
            "Order the structure first, for example with OrderDisorderedStructureTransformation"
        )
    specie = site.specie
    element = getattr(specie, "element", specie)  # of an ion: its element
    number = getattr(element, "Z", 0)
    symbol = getattr(element, "name", str(specie))  # D and T call themselves H in all but their names
    if not hasattr(element, "atomic_mass") or not 0 < number < len(SYMBOLS):
        raise UnsupportedElementError(f"sites[{index}] is the dummy species {specie}; expected an element from H to Og")
    if symbol != SYMBOLS[number]:
        raise UnsupportedElementError(
            f"sites[{index}] is the isotope {symbol}; potentials know elements: use {SYMBOLS[number]} "
            "and set its mass where it matters"
        )
    return int(number)


def _pymatgen() -> Any:
    try:
        import pymatgen.core as core
    except ImportError as error:
        raise MissingDependencyError.for_package("pymatgen", "pymatgen", "conversion of structures") from error
    return core
