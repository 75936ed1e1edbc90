"""What can be asked of our own models only: kernel backends, automatic derivatives, a double-precision twin."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.calculators.evaluator import Evaluator as ModelEvaluator
from atomsym.core import AtomGraph
from atomsym.derivatives.energies import atom_energies, differentiable
from atomsym.kernels.neighbors import NEIGHBOR_LIST
from atomsym.testing.derivatives import five_point
from atomsym.testing.structure import Evaluator, Structure
from atomsym.workflows.check.ase_evaluator import AseEvaluator

STEP = 1e-3  # Å
DIRECTIONS = 3


class OwnModelEvaluator(AseEvaluator):
    """An ``AtomsymCalculator`` in double precision: adds F-14 and F-15."""

    calculator: AtomsymCalculator

    def __init__(self, calculator: AtomsymCalculator, name: str | None = None) -> None:
        super().__init__(calculator, name)
        self.cutoff = float(calculator.potential.cutoff)
        self.elements = tuple(calculator.potential.elements)

    def backend_names(self) -> tuple[str, ...]:
        """Usable neighbor-list backends, the reference first."""
        provenance = self.calculator.provenance
        dtype = torch.float32 if provenance["dtype"] == "float32" else torch.float64
        device = torch.device(provenance["device"])
        # Triton's interpreter also runs on a CPU, but nobody simulates with it: the kernel tests compare it.
        skipped = {"reference", "triton"} if device.type == "cpu" else {"reference"}
        usable = NEIGHBOR_LIST.available(device=device, dtype=dtype)
        return ("reference", *(name for name in usable if name not in skipped))

    def with_backend(self, name: str) -> Evaluator:
        """The same weights with another neighbor list."""
        provenance = self.calculator.provenance
        other = AtomsymCalculator(
            self.calculator.potential, device=provenance["device"], dtype=provenance["dtype"], backend=name
        )
        return AseEvaluator(other, self.name)

    def gradient_errors(self, structure: Structure) -> dict[str, float]:
        """First and second directional derivatives by autograd against differences of one order less, relative."""
        graph = _graph(self.calculator, structure)
        rng = np.random.default_rng(14)
        errors = {"first derivatives": 0.0, "second derivatives": 0.0}
        for _ in range(DIRECTIONS):
            direction = torch.from_numpy(rng.normal(size=structure.positions.shape)).to(graph.positions)
            direction = direction / torch.linalg.norm(direction)
            _, gradient, curvature = self._derivatives(graph, direction, 0.0)
            slope = five_point(lambda by, u=direction: self._derivatives(graph, u, by)[0], STEP)  # type: ignore[misc]
            bend = five_point(lambda by, u=direction: self._derivatives(graph, u, by)[1], STEP)  # type: ignore[misc]
            along = float((gradient * direction.cpu().numpy()).sum())
            first = abs(float(slope) - along) / max(float(np.abs(gradient).max()), 1e-300)
            second = float(np.abs(bend - curvature).max()) / max(float(np.abs(curvature).max()), 1e-300)
            errors["first derivatives"] = max(errors["first derivatives"], first)
            errors["second derivatives"] = max(errors["second derivatives"], second)
        return errors

    def _derivatives(self, graph: AtomGraph, direction: Tensor, by: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Energy, gradient, and Hessian times direction, at positions moved along the direction."""
        with differentiable(graph.device):
            x = (graph.positions + by * direction).detach().requires_grad_()
            energy = atom_energies(self.calculator.potential, graph.with_positions(x))[0].sum()
            (gradient,) = torch.autograd.grad(energy, x, create_graph=True)
            (curvature,) = torch.autograd.grad((gradient * direction).sum(), x)
        return tuple(t.detach().cpu().numpy() for t in (energy, gradient, curvature))  # type: ignore[return-value]


class SinglePrecisionEvaluator(AseEvaluator):
    """An ``AtomsymCalculator`` in single precision, which has a double-precision twin."""

    calculator: AtomsymCalculator

    def in_float64(self) -> Evaluator:
        """The same weights, cast."""
        device = self.calculator.provenance["device"]
        return AseEvaluator(AtomsymCalculator(self.calculator.potential, device=device, dtype="float64"), self.name)


def own_evaluator(calculator: AtomsymCalculator, name: str | None = None) -> AseEvaluator:
    """The evaluator for the precision of the calculator."""
    if calculator.provenance["dtype"] == "float32":
        return SinglePrecisionEvaluator(calculator, name)
    return OwnModelEvaluator(calculator, name)


def _graph(calculator: AtomsymCalculator, structure: Structure) -> AtomGraph:
    model = ModelEvaluator(calculator.potential, device=_device(calculator), dtype=torch.float64)
    return model.graph(structure.positions, structure.numbers, structure.cell, structure.pbc)


def _device(calculator: AtomsymCalculator) -> torch.device:
    return torch.device(calculator.provenance["device"])
