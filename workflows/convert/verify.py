"""Whether a converted potential gives what the foreign model gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core import AtomGraph, CalculationError
from atomsym.derivatives import evaluate
from atomsym.kernels.neighbors import connect
from atomsym.models import Potential

BOUND = 1e-6
_SMALLEST = 1e-3  # eV per atom: the scale of energies of a model that has learned nothing


@dataclass(frozen=True)
class Deviations:
    """Largest relative deviations over all structures.

    Attributes:
        energy: of the interaction energy, relative to it.
        forces: largest component, relative to the largest force of the structure.
        stress: the same for the stress, over the periodic structures.
        n_structures: how many were compared.
        n_atoms: in all of them.
    """

    energy: float
    forces: float
    stress: float
    n_structures: int
    n_atoms: int

    @property
    def largest(self) -> float:
        return max(self.energy, self.forces, self.stress)


def compare(potential: Potential, reference: Mapping[str, Tensor]) -> Deviations:
    """Evaluate the reference structures in double precision.

    Args:
        potential: in double precision.
        reference: the arrays ``reference.<number>.<quantity>`` of the extractor.
    """
    energy = forces = stress = 0.0
    n_atoms = 0
    cases = list(_cases(reference))
    for case in cases:
        cell = case["cell"]
        periodic = bool(cell.any())
        graph = AtomGraph.without_edges(
            case["positions"], case["numbers"], cell if periodic else None, torch.full((3,), periodic)
        )
        wanted = ("energy", "forces", "stress") if periodic else ("energy", "forces")
        found = evaluate(potential, connect(graph, potential.cutoff), wanted)
        n_atoms += graph.n_atoms
        interaction = max(abs(float(case["energy"] - case["isolated"])), _SMALLEST * graph.n_atoms)
        energy = max(energy, abs(float(found.energy[0] - case["energy"])) / interaction)
        forces = max(forces, _relative(found.forces, case["forces"]))
        if periodic:
            stress = max(stress, _relative(found.stress, case["stress"]))
    return Deviations(energy, forces, stress, len(cases), n_atoms)


def require_agreement(deviations: Deviations) -> None:
    """Refuse a conversion that deviates.

    Raises:
        CalculationError: if a deviation exceeds ``BOUND``, or nothing was compared.
    """
    if deviations.n_structures == 0 or not deviations.largest <= BOUND:
        raise CalculationError(
            f"the converted model does not agree with the original on {deviations.n_structures} structures: relative "
            f"deviations are {deviations.energy:.1e} (energy), {deviations.forces:.1e} (forces), "
            f"{deviations.stress:.1e} (stress), allowed is {BOUND:g}. Nothing was written; please report this model"
        )


def _cases(reference: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    number = 0
    while f"reference.{number}.energy" in reference:
        prefix = f"reference.{number}."
        yield {key.removeprefix(prefix): value for key, value in reference.items() if key.startswith(prefix)}
        number += 1


def _relative(found: Tensor | None, expected: Tensor) -> float:
    if found is None:
        return float("inf")
    expected = expected.reshape(found.shape)
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
