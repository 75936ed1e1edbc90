"""Energy surfaces with known minima and saddle points, as ASE calculators: to try and to test optimizers on."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms


class Surface(Calculator):
    """Energy and forces of the first atom as functions of its position; other atoms feel and do nothing.

    Attributes:
        evaluations: how often it was asked.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]
    evaluations = 0

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.evaluations += 1
        forces = np.zeros((len(self.atoms), 3))
        forces[0] = -self.gradient(self.atoms.positions[0])
        self.results = {"energy": self.value(self.atoms.positions[0]), "forces": forces}

    def value(self, x: np.ndarray) -> float:
        """Energy in eV at a position, shape (3,), Å."""
        raise NotImplementedError

    def gradient(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, shape (3,), eV/Å."""
        raise NotImplementedError


class Quadratic(Surface):
    """½ (x − x₀)·A (x − x₀) with A in a turned frame and x₀ = (0.3, −0.2, 0.1) Å.

    Args:
        curvatures: eigenvalues of A, eV/Å².
    """

    minimum = np.array([0.3, -0.2, 0.1])

    def __init__(self, curvatures: tuple[float, float, float] = (1.0, 4.0, 9.0)) -> None:
        super().__init__()
        axes, _ = np.linalg.qr(np.array([[1.0, 2, 0], [0, 1, 1], [1, 0, 3]]))
        self.matrix = axes @ np.diag(curvatures) @ axes.T

    def value(self, x: np.ndarray) -> float:
        return float(0.5 * (x - self.minimum) @ self.matrix @ (x - self.minimum))

    def gradient(self, x: np.ndarray) -> np.ndarray:
        return self.matrix @ (x - self.minimum)

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        """Second derivatives, shape (3n, 3n), eV/Å²."""
        whole = np.zeros((3 * len(atoms), 3 * len(atoms)))
        whole[:3, :3] = self.matrix
        return whole


class MullerBrown(Surface):
    """The surface of Müller and Brown, Theor. Chim. Acta 53, 75 (1979), × 0.01 eV in x and y, and 10 z² / 2 along z.

    Its stationary points are known: minima (−0.558, 1.442), (0.623, 0.028), (−0.050, 0.467); saddle points
    (−0.822, 0.624) and (0.212, 0.293).
    """

    saddle = np.array([-0.82200156, 0.62431280, 0.0])
    heights = np.array([-2.0, -1.0, -1.7, 0.15])
    a, b, c = np.array([-1, -1, -6.5, 0.7]), np.array([0, 0, 11, 0.6]), np.array([-10, -10, -6.5, 0.7])
    x0, y0 = np.array([1, 0, -0.5, -1]), np.array([0, 0.5, 1.5, 1])

    def _terms(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        u, v = x[0] - self.x0, x[1] - self.y0
        return u, v, self.heights * np.exp(self.a * u**2 + self.b * u * v + self.c * v**2)

    def value(self, x: np.ndarray) -> float:
        return float(self._terms(x)[2].sum() + 5 * x[2] ** 2)

    def gradient(self, x: np.ndarray) -> np.ndarray:
        u, v, e = self._terms(x)
        along = [(e * (2 * self.a * u + self.b * v)).sum(), (e * (self.b * u + 2 * self.c * v)).sum(), 10 * x[2]]
        return np.array(along)


def one_atom(calculator: Surface, position: tuple[float, float, float]) -> Atoms:
    """An atom on a surface, in Å, and three held ones far off, without which it could only drift."""
    atoms = Atoms("HAr3", [position, (9.0, 0, 0), (0, 9.0, 0), (0, 0, 9.0)], calculator=calculator)
    atoms.set_constraint(FixAtoms([1, 2, 3]))
    return atoms
