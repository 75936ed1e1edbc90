"""The one place that talks to RDKit: canonical SMILES, patterns, starting geometries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomsym.core import InputError, MissingDependencyError


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A molecule with its hydrogens.

    Attributes:
        smiles: canonical.
        numbers: atomic numbers, shape (n_atoms,).
        bonds: pairs of bonded atoms.
        n_heavy: atoms that are not hydrogen.
    """

    smiles: str
    numbers: NDArray[np.int64]
    bonds: tuple[tuple[int, int], ...]
    n_heavy: int


def rdkit_chem() -> ModuleType:
    """``rdkit.Chem``.

    Raises:
        MissingDependencyError: if RDKit is not installed.
    """
    try:
        from rdkit import Chem
    except ImportError as error:
        raise MissingDependencyError.for_package("RDKit", "label", "the enumeration of molecules") from error
    chem: ModuleType = Chem
    return chem


def canonical_smiles(elements: Sequence[str], bonds: Sequence[tuple[int, int, int]]) -> str:
    """Canonical SMILES of heavy atoms with their bond orders; hydrogen fills the valences."""
    chem = rdkit_chem()
    orders = (None, chem.BondType.SINGLE, chem.BondType.DOUBLE, chem.BondType.TRIPLE)
    molecule = chem.RWMol()
    for element in elements:
        molecule.AddAtom(chem.Atom(element))
    for i, j, order in bonds:
        molecule.AddBond(i, j, orders[order])
    chem.SanitizeMol(molecule)
    return str(chem.MolToSmiles(molecule))


def molecule_of(smiles: str) -> Any:
    """The RDKit molecule.

    Raises:
        InputError: if RDKit cannot read the SMILES.
    """
    chem = rdkit_chem()
    with quiet():
        molecule = chem.MolFromSmiles(smiles)
    if molecule is None:
        raise InputError(f"'{smiles}' is not a SMILES that RDKit reads")
    return molecule


@contextmanager
def quiet() -> Iterator[None]:
    """RDKit's remarks on the standard error are held back while the block runs."""
    from rdkit import rdBase

    block = rdBase.BlockLogs()
    try:
        yield
    finally:
        del block


def skeleton_of(smiles: str) -> Skeleton:
    """Atoms and bonds with all hydrogens.

    Raises:
        InputError: if RDKit cannot read the SMILES.
    """
    molecule = rdkit_chem().AddHs(molecule_of(smiles))
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()], dtype=np.int64)
    bonds = tuple(sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()))
    return Skeleton(smiles, numbers, bonds, int((numbers != 1).sum()))


def embed(smiles: str, count: int, seed: int) -> list[NDArray[np.float64]]:
    """Starting geometries by distance geometry with torsion knowledge (ETKDG v3).

    Args:
        smiles: of the molecule; atoms come in the order of ``skeleton_of``.
        count: how many are tried.
        seed: of the random numbers; the same seed gives the same geometries.

    Returns:
        Positions, shape (n_atoms, 3), Å; fewer than ``count``, also none, where the method fails.

    Source: S. Wang et al., J. Chem. Inf. Model. 60, 2044 (2020).
    """
    from rdkit.Chem import rdDistGeom

    molecule = rdkit_chem().AddHs(molecule_of(smiles))
    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed % 2**31
    parameters.numThreads = 1
    parameters.maxIterations = 20
    with quiet():
        found = list(rdDistGeom.EmbedMultipleConfs(molecule, count, parameters))
        if not found:
            parameters.useRandomCoords = True
            found = list(rdDistGeom.EmbedMultipleConfs(molecule, count, parameters))
    return [np.array(molecule.GetConformer(one).GetPositions(), dtype=np.float64) for one in found]
