"""ASE's Atoms to atom graphs and back, and Hessians to ASE's vibrations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from atomsym.calculators.ase.errors import AseInputError, as_ase_errors
from atomsym.core import AtomGraph, validate_structure

if TYPE_CHECKING:
    from ase.vibrations.data import VibrationsData


def to_graph(
    atoms: Atoms | Sequence[Atoms], dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> AtomGraph:
    """A graph without edges of one structure, or a batch of several; ``atomsym.kernels.neighbors.connect`` adds edges.

    Positions are taken as they are, not wrapped. Constraints, momenta, charges and info are not part of a graph.

    Args:
        atoms: one structure or a sequence of them; a structure without atoms is valid.
        dtype: torch.float32 or torch.float64.
        device: where the graph is put.

    Raises:
        InputError: for values that are not finite, impossible atomic numbers or cells, overlapping atoms; also ASE's
            InputError.

    Example:
        >>> from ase.build import bulk
        >>> to_graph([bulk("Ar"), bulk("Cu")]).numbers
        tensor([18, 29])
    """
    with as_ase_errors():
        if isinstance(atoms, Atoms):
            validate_structure(atoms.positions, atoms.numbers, atoms.cell.array, atoms.pbc)
            return AtomGraph.from_arrays(
                atoms.positions, atoms.numbers, atoms.cell.array, atoms.pbc, dtype=dtype, device=device
            )
        return AtomGraph.batch([to_graph(one, dtype, device) for one in atoms])


def from_graph(graph: AtomGraph) -> Atoms | list[Atoms]:
    """The structure of a graph, or the list of structures of a batch; edges and strain are left out.

    Example:
        >>> from ase.build import molecule
        >>> str(from_graph(to_graph(molecule("H2O"))).symbols)
        'OH2'
    """
    counts = graph.atoms_per_system.tolist()
    positions = _array(graph.positions.double())
    numbers, cells, pbc = _array(graph.numbers), _array(graph.cell.double()), _array(graph.pbc)
    stops = np.cumsum(counts)
    found = [
        Atoms(numbers=numbers[stop - n : stop], positions=positions[stop - n : stop], cell=cell, pbc=periodic)
        for n, stop, cell, periodic in zip(counts, stops, cells, pbc, strict=True)
    ]
    return found[0] if graph.n_systems == 1 else found


def as_vibrations_data(
    atoms: Atoms, hessian: NDArray[np.float64], indices: Sequence[int] | None = None
) -> VibrationsData:
    """Modes and frequencies from a Hessian, by ASE.

    Args:
        atoms: at a stationary point.
        hessian: shape (3n, 3n), eV/Å²: of all atoms, or of ``indices`` in their order.
        indices: the atoms that vibrate. Default: those that no FixAtoms or FixCartesian constraint holds; their rows
            and columns are taken out of a Hessian of all atoms.

    Raises:
        InputError: if the shape fits neither.
    """
    from ase.vibrations.data import VibrationsData  # imports half of ASE and SciPy: only when it is used

    moving = VibrationsData.indices_from_constraints(atoms) if indices is None else [int(i) for i in indices]
    matrix = np.asarray(hessian, dtype=np.float64)
    if matrix.shape == (3 * len(atoms),) * 2 and len(moving) < len(atoms):
        rows = (3 * np.asarray(moving, dtype=np.int64)[:, None] + np.arange(3)).ravel()
        matrix = matrix[np.ix_(rows, rows)]
    if matrix.shape != (3 * len(moving),) * 2:
        wanted = sorted({3 * len(moving), 3 * len(atoms)})
        raise AseInputError(
            f"a Hessian of {len(moving)} moving of {len(atoms)} atoms must be square with "
            f"{' or '.join(map(str, wanted))} rows; found {matrix.shape}"
        )
    return VibrationsData.from_2d(atoms, matrix, indices=moving)


def _array(tensor: torch.Tensor) -> NDArray[np.generic]:
    return np.array(tensor.detach().cpu().numpy())
