"""Small analytic calculators in plain numpy: one good one, and one mutant for every check.

The good one is a Lennard-Jones potential times (1 − (r/rc)²)⁵ (four continuous derivatives), with all periodic images
by brute force, energies per atom, stress, and an analytic Hessian.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from atomsym.testing.geometry import samples_from_crystal
from atomsym.testing.settings import Samples
from atomsym.testing.structure import BASIC, Array, Result, Structure

EPSILON, SIGMA, CUTOFF = 0.0103, 3.405, 6.6
Pair = Callable[[Array], tuple[Array, Array, Array]]


def lennard_jones(r: Array) -> tuple[Array, Array, Array]:
    """Value, first and second derivative."""
    s6 = (SIGMA / r) ** 6
    value = 4 * EPSILON * (s6**2 - s6)
    first = 4 * EPSILON * (-12 * s6**2 + 6 * s6) / r
    second = 4 * EPSILON * (156 * s6**2 - 42 * s6) / r**2
    return value, first, second


def smooth_pair(r: Array, order: int = 5) -> tuple[Array, Array, Array]:
    u, du, ddu = lennard_jones(r)
    q = 1 - (r / CUTOFF) ** 2
    dq, ddq = -2 * r / CUTOFF**2, -2 / CUTOFF**2
    w = q**order
    dw = order * q ** (order - 1) * dq
    ddw = order * (order - 1) * q ** (order - 2) * dq**2 + order * q ** (order - 1) * ddq
    return u * w, du * w + u * dw, ddu * w + 2 * du * dw + u * ddw


def truncated_pair(r: Array) -> tuple[Array, Array, Array]:
    return lennard_jones(r)


def shifted_pair(r: Array) -> tuple[Array, Array, Array]:
    u, du, ddu = lennard_jones(r)
    return u - lennard_jones(np.array([CUTOFF]))[0], du, ddu


def hessian_jump_pair(r: Array) -> tuple[Array, Array, Array]:
    return smooth_pair(r, 2)


def third_jump_pair(r: Array) -> tuple[Array, Array, Array]:
    return smooth_pair(r, 3)


class PairPotential:
    """The good subject. Mutants override one step."""

    def __init__(self, pair: Pair = smooth_pair, hessian: bool = True) -> None:
        self.name = type(self).__name__
        self.pair = pair
        self.properties = frozenset({"energy", "forces", "stress", "energies"} | ({"hessian"} if hessian else set()))
        self.cutoff: float | None = CUTOFF
        self.elements: tuple[int, ...] | None = (18,)

    def pairs(self, structure: Structure) -> tuple[Array, Array, Array]:
        """Receiver, sender and vector of every ordered pair within the cutoff."""
        x = wrapped(structure)
        shifts = image_shifts(structure, CUTOFF)
        vectors = x[None, :, None] - x[:, None, None] + (shifts @ structure.cell)[None, None]
        squares = np.einsum("ijsa,ijsa->ijs", vectors, vectors)
        i, j, s = np.nonzero((squares < CUTOFF**2) & (squares > 1e-12))
        return i, j, vectors[i, j, s]

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        i, j, vectors = self.pairs(structure)
        return self.finish(structure, i, j, vectors, properties)

    def finish(self, structure: Structure, i: Array, j: Array, vectors: Array, properties: Collection[str]) -> Result:
        n = structure.n_atoms
        r = np.linalg.norm(vectors, axis=1)
        u, du, ddu = self.pair(r)
        unit = vectors / r[:, None]
        energies = np.bincount(i, 0.5 * u, n)
        pair_forces = du[:, None] * unit
        forces = np.stack([np.bincount(i, pair_forces[:, a], n) for a in range(3)], axis=1).astype(float)
        stress = hessian = None
        if "stress" in properties and structure.periodic:
            stress = 0.5 * vectors.T @ pair_forces / structure.volume
        if "hessian" in properties:
            hessian = pair_hessian(i, j, unit, du / r, ddu, n)
        return Result(float(energies.sum()), forces, stress, energies, hessian)


def pair_hessian(i: Array, j: Array, unit: Array, tangential: Array, radial: Array, n: int) -> Array:
    outer = unit[:, :, None] * unit[:, None, :]
    block = radial[:, None, None] * outer + tangential[:, None, None] * (np.eye(3) - outer)
    hessian = np.zeros((n, n, 3, 3))
    np.add.at(hessian, (i, i), block)
    np.add.at(hessian, (i, j), -block)
    return np.asarray(hessian.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n))


def wrapped(structure: Structure) -> Array:
    if not structure.pbc.any():
        return structure.positions
    cell = np.where(structure.pbc[:, None], structure.cell, np.eye(3))
    fractional = structure.positions @ np.linalg.inv(cell)
    return structure.positions - np.where(structure.pbc, np.floor(fractional), 0.0) @ structure.cell


def image_shifts(structure: Structure, reach: float) -> Array:
    counts = [0, 0, 0]
    for axis in range(3):
        if structure.pbc[axis]:
            area = np.linalg.norm(np.cross(structure.cell[axis - 2], structure.cell[axis - 1]))
            counts[axis] = 1 + int(reach * area / structure.volume)
    ranges = [np.arange(-c, c + 1) for c in counts]
    return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float64)


def argon_samples(seed: int = 1) -> Samples:
    half = 0.5 * 5.6
    crystal = Structure.of(
        half * np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0.0]]), [18] * 4, 2 * half * np.eye(3)
    )
    return samples_from_crystal(crystal, [(18, 18, half * np.sqrt(2))], np.random.default_rng(seed))


# Mutants -------------------------------------------------------------------------------------------------------------


class Pinned(PairPotential):
    """A term that depends on the absolute place."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        return replace(result, energy=result.energy + 1e-6 * float(np.sin(structure.positions[0, 0])))


class Anisotropic(PairPotential):
    """Bonds along z are stronger, consistently in energy and forces."""

    def finish(self, structure: Structure, i: Array, j: Array, vectors: Array, properties: Collection[str]) -> Result:
        result = super().finish(structure, i, j, vectors, properties)
        extra = 1e-5 * np.cos(vectors[:, 2]) * (1 - (vectors**2).sum(axis=1) / CUTOFF**2) ** 4
        return replace(result, energy=result.energy + float(extra.sum()))


class Chiral(PairPotential):
    """Proper rotations leave it unchanged, reflections do not: a triple product over three neighbors."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        a, b, c = (structure.positions[k] - structure.positions[0] for k in (1, 2, 3))
        return replace(result, energy=result.energy + 1e-6 * float(a @ np.cross(b, c)))


class OrderDependent(PairPotential):
    """Weights by index."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        assert result.energies is not None
        weights = 1 + 1e-6 * np.arange(structure.n_atoms)
        return replace(result, energy=float(weights @ result.energies))


class DroppedImage(PairPotential):
    """Misses the neighbors across one face unless they are the nearest image."""

    def pairs(self, structure: Structure) -> tuple[Array, Array, Array]:
        i, j, vectors = super().pairs(structure)
        if structure.pbc.any():
            x = structure.positions
            shift = np.rint((vectors - x[j] + x[i]) @ np.linalg.inv(structure.cell))
            keep = np.abs(shift).max(axis=1) <= 1
            i, j, vectors = i[keep], j[keep], vectors[keep]
        return i, j, vectors


class MinimumImage(PairPotential):
    """Sees only the nearest image of each atom, which is wrong in cells smaller than twice the cutoff."""

    def pairs(self, structure: Structure) -> tuple[Array, Array, Array]:
        i, j, vectors = super().pairs(structure)
        r = np.linalg.norm(vectors, axis=1)
        order = np.lexsort((r, j, i))
        i, j, vectors = i[order], j[order], vectors[order]
        first = np.ones(len(i), dtype=bool)
        first[1:] = (np.diff(i) != 0) | (np.diff(j) != 0)
        keep = first & (i != j)
        return i[keep], j[keep], vectors[keep]


class MeanField(PairPotential):
    """Energy with a term quadratic in the number of atoms."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        return replace(result, energy=result.energy + 1e-6 * structure.n_atoms**2)


class Leaking(PairPotential):
    """Keeps a little of the last call."""

    last = 0.0

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        before, self.last = self.last, result.energy
        return replace(result, energy=result.energy + 1e-6 * before)


class CellBlindCache(PairPotential):
    """Takes equal positions for an equal structure."""

    key: Array | None = None
    cached: Result | None = None

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        same = self.key is not None and np.array_equal(self.key, structure.positions)
        if not same or self.cached is None or (self.cached.hessian is None) == ("hessian" in properties):
            self.key, self.cached = structure.positions.copy(), super().evaluate(structure, properties)
        assert self.cached is not None
        return replace(self.cached, forces=self.cached.forces.copy())


class HoldsInput(PairPotential):
    """Compares with the very array it was given, and so misses changes in place."""

    key: Array | None = None
    cached: Result | None = None

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        if self.key is structure.positions and self.cached is not None:
            return self.cached
        self.key, self.cached = structure.positions, super().evaluate(structure, properties)
        return self.cached


class WritesInput(PairPotential):
    """Wraps the caller's positions."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        structure.positions[...] = wrapped(structure) if structure.pbc.any() else structure.positions + 1e-9
        return super().evaluate(structure, properties)


class Aliasing(PairPotential):
    """Returns the same force array each time."""

    buffer = np.zeros((1000, 3))

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        self.buffer[: structure.n_atoms] = result.forces
        return replace(result, forces=self.buffer[: structure.n_atoms])


class StoredAliasing(PairPotential):
    """Returns copies but rewrites what it keeps."""

    buffer = np.zeros((1000, 3))

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        self.buffer[: structure.n_atoms] = result.forces
        return result

    def stored_arrays(self) -> dict[str, Array]:
        return {"forces": self.buffer[:4]}


class ScaledForces(PairPotential):
    factor = np.array([1.0, 1.0, 1.0])

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        return replace(result, forces=result.forces * self.factor)


class WrongComponent(ScaledForces):
    factor = np.array([1.0, 1.0, 1.001])


class WrongSign(ScaledForces):
    factor = np.array([-1.0, -1.0, -1.0])


class ReorderedStress(PairPotential):
    """Shear in the order xy, xz, yz."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        if result.stress is None:
            return result
        s = result.stress.copy()
        s[1, 2], s[0, 1] = s[0, 1], s[1, 2]
        s[2, 1], s[1, 0] = s[1, 2], s[0, 1]
        return replace(result, stress=s)


class NegatedStress(PairPotential):
    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        return result if result.stress is None else replace(result, stress=-result.stress)


class SignedVolumeStress(PairPotential):
    """Divides by the determinant, which is negative in a left-handed cell."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        if result.stress is None:
            return result
        return replace(result, stress=result.stress * np.sign(np.linalg.det(structure.cell)))


class NonConservative(PairPotential):
    """A small force that turns with the distance to the first atom and belongs to no energy."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        forces = result.forces.copy()
        if structure.n_atoms > 1:
            apart = structure.positions[1] - structure.positions[0]
            forces[1] += 1e-6 * (apart @ apart) * np.array([apart[1], -apart[0], 0.0])
        return replace(result, forces=forces)


class AsymmetricHessian(PairPotential):
    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        if result.hessian is None:
            return result
        hessian = result.hessian.copy()
        hessian[0, 3] += 1e-6
        return replace(result, hessian=hessian)


class NearestNeighborsOnly(PairPotential):
    """A list cut to the nearest k; consistent energy and forces otherwise."""

    limit = 20

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        i, j, vectors = self.pairs(structure)
        r = np.linalg.norm(vectors, axis=1)
        order = np.lexsort((r, i))
        rank = np.arange(len(i)) - np.searchsorted(i[order], i[order])
        keep = order[rank < self.limit]
        i, j, vectors = i[keep], j[keep], vectors[keep]
        n, r = structure.n_atoms, r[keep]
        u, du, _ = self.pair(r)
        half = 0.5 * (du / r)[:, None] * vectors
        forces = np.zeros((n, 3))
        np.add.at(forces, i, half)
        np.add.at(forces, j, -half)
        return Result(0.5 * float(u.sum()), forces, None, np.bincount(i, 0.5 * u, n))


class FrameAveraged(PairPotential):
    """Adds an energy in the principal frame of the structure, undefined where axes are degenerate."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        x = structure.positions - structure.positions.mean(axis=0)
        _, axes = np.linalg.eigh(x.T @ x)
        return replace(result, energy=result.energy + 1e-4 * float(np.cos((x @ axes) ** 2).sum()))


class StaleList(PairPotential):
    """Keeps its neighbors for 200 calls, with a skin of 0.3 Å, whatever moves."""

    age = 10**9
    known: tuple[int, Array, Array, Array] | None = None

    def pairs(self, structure: Structure) -> tuple[Array, Array, Array]:
        x, n = structure.positions, structure.n_atoms
        if self.known is None or self.known[0] != n or self.age >= 200:
            shifts = image_shifts(structure, CUTOFF + 0.3)
            vectors = x[None, :, None] - x[:, None, None] + (shifts @ structure.cell)[None, None]
            r = np.linalg.norm(vectors, axis=-1)
            i, j, s = np.nonzero((r < CUTOFF + 0.3) & (r > 1e-6))
            self.known, self.age = (n, i, j, shifts[s]), 0
        self.age += 1
        _, i, j, shift = self.known
        vectors = x[j] - x[i] + shift @ structure.cell
        inside = (vectors**2).sum(axis=1) < CUTOFF**2
        return i[inside], j[inside], vectors[inside]


class Hole(PairPotential):
    """Falls to minus infinity where it should repel."""

    def __init__(self) -> None:
        super().__init__(self.with_hole)

    @staticmethod
    def with_hole(r: Array) -> tuple[Array, Array, Array]:
        u, du, ddu = smooth_pair(r)
        close = r < 1.5
        return np.where(close, -10.0 / r, u), np.where(close, 10.0 / r**2, du), ddu


class Infinite(PairPotential):
    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        apart = structure.positions[-1] - structure.positions[0]
        return replace(result, energy=np.inf) if 0 < apart @ apart < 0.3 else result


class SinglePrecision(PairPotential):
    """Positions, energy and forces rounded as single precision would."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        rounded = structure.moved(structure.positions.astype(np.float32).astype(np.float64))
        result = super().evaluate(rounded, properties)
        return replace(
            result,
            energy=float(np.float32(result.energy)),
            forces=result.forces.astype(np.float32).astype(np.float64),
        )


class Broken(PairPotential):
    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        raise RuntimeError("out of order")


class NotANumber(PairPotential):
    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        return replace(result, energy=np.nan, forces=np.full_like(result.forces, np.nan))


class Noisy(PairPotential):
    """Forces with noise of single precision in double-precision numbers."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        seed = int.from_bytes(structure.positions.tobytes()[:7], "little")
        noise = 1e-7 * np.random.default_rng(seed).normal(size=result.forces.shape)
        return replace(result, forces=result.forces * (1 + noise))


class UndividedStress(PairPotential):
    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        return result if result.stress is None else replace(result, stress=result.stress * structure.volume)


class WrongHessian(PairPotential):
    """Symmetric and with the sum rule, but a little too stiff."""

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        result = super().evaluate(structure, properties)
        return result if result.hessian is None else replace(result, hessian=1.0001 * result.hessian)


class Batching(PairPotential):
    def evaluate_batch(self, structures: Sequence[Structure]) -> list[Result]:
        return [self.evaluate(structure) for structure in structures]


class BatchLeaking(PairPotential):
    """In a batch, every system feels the number of atoms of all."""

    def evaluate_batch(self, structures: Sequence[Structure]) -> list[Result]:
        total = sum(structure.n_atoms for structure in structures)
        results = [self.evaluate(structure) for structure in structures]
        return [replace(result, energy=result.energy + 1e-6 * total) for result in results]


class BackendsAgree(PairPotential):
    other: Callable[[], PairPotential] = PairPotential

    def backend_names(self) -> tuple[str, ...]:
        return ("reference", "other")

    def with_backend(self, name: str) -> PairPotential:
        return PairPotential() if name == "reference" else type(self).other()


class BackendsDiffer(BackendsAgree):
    other = WrongComponent


class RightGradients(PairPotential):
    def gradient_errors(self, structure: Structure) -> dict[str, float]:
        return {"first derivatives": 1e-9, "second derivatives": 1e-8}


class WrongGradients(PairPotential):
    def gradient_errors(self, structure: Structure) -> dict[str, float]:
        return {"first derivatives": 1e-9, "second derivatives": 1e-2}
