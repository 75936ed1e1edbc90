"""What symmetry leaves free in a crystal, as one flat vector: the lattice first, then the coordinates of the orbits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atomsym.core.errors import InputError
from atomsym.symmetry.wyckoff.crystal import SymmetricCrystal
from atomsym.symmetry.wyckoff.table import wyckoff_positions

LARGEST_MISFIT = 1e-3
"""Of the metric of a cell from one of its crystal system, relative to the largest element; more is refused."""

_SHEARS = ((0.0, 0, 0, 1, 0, 0), (0.0, 0, 0, 0, 1, 0), (0.0, 0, 0, 0, 0, 1))  # yz, xz, xy
_CANDIDATES = ((1.0, 1, 1, 0, 0, 0), (1.0, 1, -2, 0, 0, 0), (1.0, -1, 0, 0, 0, 0), *_SHEARS)


class Freedom:
    """The free parameters of a crystal, measured from a reference, and the derivatives with respect to them.

    The cell is C = C₀ exp(S), where the symmetric matrix S = Σᵢ sᵢ Bᵢ commutes with the point group: every vector is a
    cell of the crystal system with a positive volume. The first lattice variable is the volume alone. The coordinates
    are those parameters of each Wyckoff position that move its atoms. In polar groups a shift of all atoms together
    along a polar axis changes nothing; it is left out, and the mean of the atoms stays where it is.

    All variables are in Å and scaled alike: a step of length d in the coordinates moves the atoms of the conventional
    cell by d in total (the root of the sum of squares) in the reference cell; a step of length d in the lattice is a
    strain of Frobenius norm d / (√N · (V / N)^(1/3)). The Hessian of a crystal is then of the same order of magnitude
    in all of them.

    Args:
        reference: the crystal at the zero vector; its cell is brought exactly to its crystal system.

    Attributes:
        reference: that crystal.
        n_lattice: lattice variables, 1 (cubic) to 6 (triclinic).
        n_coordinates: variables of the orbits.

    Raises:
        InputError: if the cell is not of the crystal system of the group.

    Example:
        >>> from atomsym.symmetry.wyckoff import Protostructure
        >>> rutile = Protostructure(136, ((22, "a"), (8, "f")))
        >>> cell, parameters = np.diag([4.6, 4.6, 2.95]), np.array([[0, 0, 0], [0.305, 0, 0]])
        >>> freedom = Freedom(SymmetricCrystal(rutile, cell, parameters))
        >>> freedom.n_lattice, freedom.n_coordinates
        (2, 1)
    """

    def __init__(self, reference: SymmetricCrystal) -> None:
        structure = reference.protostructure
        cell = symmetrised_cell(structure.space_group, reference.cell)
        self.reference = SymmetricCrystal(structure, cell, reference.parameters)
        self._free = np.array([position.matrices.any(axis=(0, 1)) for position in structure.positions])
        self._matrices = np.concatenate([position.matrices for position in structure.positions])
        self._orbit = np.repeat(np.arange(len(structure.orbits)), structure.multiplicities)
        n_atoms, volume = reference.n_atoms, abs(float(np.linalg.det(cell)))
        strains = lattice_strains(structure.space_group, cell)
        self._strains = strains / (np.sqrt(n_atoms) * (volume / n_atoms) ** (1 / 3))
        self._directions, self._inverse = self._coordinate_directions()
        self.n_lattice = len(strains)
        self.n_coordinates = self._directions.shape[1]

    @property
    def size(self) -> int:
        """Of the vector."""
        return self.n_lattice + self.n_coordinates

    def crystal(self, vector: NDArray[np.float64]) -> SymmetricCrystal:
        """The crystal at a vector.

        Args:
            vector: Å, shape (size,).

        Raises:
            InputError: if the shape is another one or a value is not finite.
        """
        vector = self._checked(vector)
        parameters = self.reference.parameters.copy()
        parameters[self._free] += self._directions @ vector[self.n_lattice :]
        values, axes = np.linalg.eigh(self._strain(vector))
        stretch = (axes * np.exp(values)) @ axes.T
        return SymmetricCrystal(self.reference.protostructure, self.reference.cell @ stretch, parameters)

    def vector(self, crystal: SymmetricCrystal) -> NDArray[np.float64]:
        """The vector of a crystal of the same protostructure: the inverse of ``crystal``.

        How the crystal is turned in space, and shifts of all atoms along a polar axis, are not part of it.

        Raises:
            InputError: if it has another protostructure, or its cell is not of the crystal system.
        """
        structure = self.reference.protostructure
        if crystal.protostructure != structure:
            raise InputError(f"the crystal is {crystal.protostructure}, the reference is {structure}")
        cell = symmetrised_cell(structure.space_group, crystal.cell)
        inverse = np.linalg.inv(self.reference.cell)
        values, axes = np.linalg.eigh(inverse @ cell @ cell.T @ inverse.T)
        strain = (axes * (0.5 * np.log(values))) @ axes.T
        norms = np.einsum("kij,kij->k", self._strains, self._strains)
        lattice = np.einsum("kij,ij->k", self._strains, strain) / norms
        moved = (crystal.parameters - self.reference.parameters)[self._free]
        return np.concatenate([lattice, self._inverse @ moved])

    def gradient(
        self, vector: NDArray[np.float64], forces: NDArray[np.float64], stress: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Derivative of the energy of the conventional cell with respect to the vector, eV/Å.

        Args:
            vector: where forces and stress were calculated, shape (size,).
            forces: on the atoms of the conventional cell in the order of ``SymmetricCrystal.positions``, eV/Å, shape
                (n_atoms, 3).
            stress: eV/Å³, tension positive, shape (3, 3); None: the cell is held, its derivatives are zero.

        Raises:
            InputError: if a shape is wrong or a value is not finite.

        Source: own derivation. With the derivative D of the exponential at S and V the volume,
        ∂E/∂sᵢ = V ⟨D[exp(-S) σ], Bᵢ⟩, because D is its own adjoint; ∂E/∂u = -Σₐ Aₐᵀ C fₐ over the atoms a.
        """
        vector = self._checked(vector)
        forces = np.asarray(forces, dtype=np.float64)
        if forces.shape != (len(self._orbit), 3) or not np.isfinite(forces).all():
            raise InputError(f"forces must be finite, of shape {(len(self._orbit), 3)}; found shape {forces.shape}")
        values, axes = np.linalg.eigh(self._strain(vector))
        cell = self.reference.cell @ (axes * np.exp(values)) @ axes.T
        by_atom = -np.einsum("aij,ai->aj", self._matrices, forces @ cell.T)
        by_orbit = np.zeros((len(self._free), 3))
        np.add.at(by_orbit, self._orbit, by_atom)
        lattice = np.zeros(self.n_lattice)
        if stress is not None:
            stress = np.asarray(stress, dtype=np.float64)
            if stress.shape != (3, 3) or not np.isfinite(stress).all():
                raise InputError(f"stress must be finite, of shape (3, 3); found shape {stress.shape}")
            work = axes.T @ stress @ axes * np.exp(-values)[:, None]  # exp(-S) σ in the axes of S
            derivative = axes @ (_exponential_differences(values) * work) @ axes.T
            lattice = abs(np.linalg.det(cell)) * np.einsum("kij,ij->k", self._strains, derivative)
        return np.concatenate([lattice, self._directions.T @ by_orbit[self._free]])

    def _strain(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.einsum("k,kij->ij", vector[: self.n_lattice], self._strains))

    def _checked(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        vector = np.asarray(vector, dtype=np.float64)
        if vector.shape != (self.size,) or not np.isfinite(vector).all():
            raise InputError(f"the vector must be finite, of shape {(self.size,)}; found shape {vector.shape}")
        return vector

    def _coordinate_directions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """From variables to changes of the parameters that are free, shape (n_free, n_coordinates), and back."""
        structure, cell = self.reference.protostructure, self.reference.cell
        n_free = int(self._free.sum())
        root, inverse_root = np.zeros((n_free, n_free)), np.zeros((n_free, n_free))
        polar = _polar_axes(structure.space_group)
        rigid = np.zeros((n_free, len(polar)))
        start = 0
        for position, free in zip(structure.positions, self._free, strict=True):
            own = slice(start, start + int(free.sum()))
            start = own.stop
            first = position.matrices[0][:, free].astype(np.float64)
            moves = first.T @ cell
            values, axes = np.linalg.eigh(position.multiplicity * moves @ moves.T)
            root[own, own] = (axes * np.sqrt(values)) @ axes.T
            inverse_root[own, own] = (axes / np.sqrt(values)) @ axes.T
            if free.any():
                rigid[own] = np.linalg.lstsq(first, polar.T, rcond=None)[0]
        left, _, _ = np.linalg.svd(root @ rigid) if rigid.size else (np.eye(n_free), None, None)
        kept = left[:, len(polar) :] if n_free else left
        return inverse_root @ kept, kept.T @ root


def lattice_strains(space_group: int, cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal basis of the symmetric strains that keep the crystal system, the isotropic one first.

    Args:
        space_group: number, 1 to 230.
        cell: of its crystal system, lattice vectors in rows, shape (3, 3).

    Returns:
        Cartesian matrices, shape (n_lattice, 3, 3).

    Raises:
        InputError: if there is no such group.
    """
    matrices = _point_group(space_group)
    rotations = cell.T @ matrices @ np.linalg.inv(cell.T)
    found: list[NDArray[np.float64]] = []
    for xx, yy, zz, yz, xz, xy in _CANDIDATES:
        strain = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        strain = np.mean(rotations @ strain @ rotations.transpose(0, 2, 1), axis=0)
        strain = 0.5 * (strain + strain.T)
        for other in found:
            strain = strain - np.sum(strain * other) * other
        norm = np.linalg.norm(strain)
        if norm > 1e-6:
            found.append(strain / norm)
    return np.array(found)


def symmetrised_cell(space_group: int, cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest cell, without a rotation, whose metric has the symmetry of the group.

    Args:
        space_group: number, 1 to 230.
        cell: lattice vectors in rows, Å, shape (3, 3).

    Raises:
        InputError: if there is no such group, or the cell is farther from its crystal system than ``LARGEST_MISFIT``.
    """
    matrices = _point_group(space_group)
    metric = cell @ cell.T
    mean = np.mean(matrices.transpose(0, 2, 1) @ metric @ matrices, axis=0)
    misfit = np.abs(mean - metric).max() / np.abs(metric).max()
    if misfit > LARGEST_MISFIT:
        raise InputError(
            f"the cell is not one of space group {space_group} in its standard setting: its metric is off by "
            f"{misfit:.2g} of its largest element"
        )
    inverse = np.linalg.inv(cell)
    values, axes = np.linalg.eigh(inverse @ mean @ inverse.T)
    return np.asarray(cell @ (axes * np.sqrt(values)) @ axes.T)


def _point_group(space_group: int) -> NDArray[np.int64]:
    """Matrices of the operators on fractional coordinates; centred cells have each several times."""
    return wyckoff_positions(space_group)[-1].matrices


def _polar_axes(space_group: int) -> NDArray[np.float64]:
    """Basis of the fractional vectors that all operators leave in place, shape (n_axes, 3)."""
    projector = _point_group(space_group).mean(axis=0)
    left, values, _ = np.linalg.svd(projector)
    return np.asarray(left[:, values > 0.5].T)


def _exponential_differences(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(exp λᵢ - exp λⱼ) / (λᵢ - λⱼ), in the limit exp λ where they are equal, shape (3, 3)."""
    half = 0.5 * (values[:, None] - values)
    mean = np.exp(0.5 * (values[:, None] + values))
    small = np.abs(half) < 1e-4
    safe = np.where(small, 1.0, half)
    return np.asarray(mean * np.where(small, 1 + half**2 / 6, np.sinh(safe) / safe))
