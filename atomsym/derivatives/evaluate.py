"""Energy, forces, stress and virial of an energy function of an atom graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from atomsym.core import AtomGraph, CalculationError, InputError, PropertyNotAvailableError
from atomsym.derivatives.energies import EnergyFunction, atom_energies, differentiable, gradients, prepared

PROPERTIES = ("energy", "energies", "forces", "stress", "virial")
"""What ``evaluate`` can be asked for; ``energy`` and ``energies`` always come along."""

_FLAT = 1e-12  # cell volume / product of the vector lengths, below which there is no volume


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results for a graph; what was not asked for is None.

    Attributes:
        energy: of each system, shape (n_systems,), float64 for models of any precision, eV.
        energies: of each atom, shape (n_atoms,), dtype of the model, eV.
        forces: -dE/dx, shape (n_atoms, 3), eV/Å.
        stress: dE/dε / |V|, shape (n_systems, 3, 3), symmetric, positive under tension, eV/Å³.
        virial: -dE/dε, shape (n_systems, 3, 3), symmetric, eV; needs no volume.
        outputs: direct outputs of the model besides energies, by name.
    """

    energy: Tensor
    energies: Tensor
    forces: Tensor | None = None
    stress: Tensor | None = None
    virial: Tensor | None = None
    outputs: Mapping[str, Tensor] = field(default_factory=dict)


def evaluate(
    potential: EnergyFunction,
    graph: AtomGraph,
    properties: Sequence[str] = ("energy", "forces", "stress"),
    *,
    create_graph: bool = False,
    check_finite: bool = True,
) -> Evaluation:
    """Evaluate a potential and the first derivatives of its energy.

    F = -dE/dx,  σ = (dE/dε) / |V| at ε = 0, where edge vectors are deformed as r (1 + ε); dE/dε is symmetrised, which
    is the derivative with respect to a symmetric strain.

    The energy of a system is the float64 sum of its atoms' energies. Atoms without neighbors have zero forces, and a
    graph without atoms has energy 0 and forces of shape (0, 3). The caller's tensors, autograd mode and autocast state
    are left alone: it works under ``torch.no_grad`` and ``torch.inference_mode``, and never in reduced precision.

    Args:
        potential: a ``Potential`` or a function from a graph to the energies of its atoms.
        graph: one system or a batch, with edges and without strain.
        properties: any of ``PROPERTIES``.
        create_graph: for training: results stay differentiable in the weights, and in ``graph.positions`` if those
            require gradients. Default: everything is detached.
        check_finite: raise when an energy or a derivative is not finite; costs one synchronisation on a GPU.

    Returns:
        Results on the device of the graph.

    Raises:
        PropertyNotAvailableError: if a property is unknown.
        InputError: if the graph does not fit the potential, or stress is asked of a system that has no volume.
        CalculationError: if a result is not finite or the energies are not differentiable.

    Example:
        >>> from atomsym.models import ARGON, LennardJones
        >>> graph = AtomGraph.from_arrays([[0, 0, 0], [0, 0, 3.405]], [18, 18])
        >>> edges, shifts = torch.tensor([[0, 1], [1, 0]]), torch.zeros(2, 3, dtype=torch.int32)
        >>> result = evaluate(LennardJones(ARGON), graph.with_edges(edges, shifts, 8.5), ("energy", "forces"))
        >>> round(float(result.forces[1, 2]), 4)  # 24 ε / σ
        0.0728
    """
    unknown = set(properties) - set(PROPERTIES)
    if unknown:
        raise PropertyNotAvailableError(f"{', '.join(sorted(unknown))}: evaluate gives {', '.join(PROPERTIES)}")
    if "stress" in properties:
        require_volume(graph)
    deformed = "stress" in properties or "virial" in properties
    with differentiable(graph.device):
        graph = prepared(potential, graph)
        inputs = _inputs(graph, create_graph, "forces" in properties, deformed)
        with torch.set_grad_enabled(bool(inputs) or create_graph):
            energies, outputs = atom_energies(potential, graph.with_positions(**inputs) if inputs else graph)
        found = gradients(energies, tuple(inputs.values()), graph, create_graph=create_graph) if inputs else ()
        result = _assemble(graph, properties, energies, outputs, dict(zip(inputs, found, strict=True)))
        if not create_graph:
            result = _detached(result)
    if check_finite:
        require_finite(result)
    return result


def _inputs(graph: AtomGraph, create_graph: bool, forces: bool, deformed: bool) -> dict[str, Tensor]:
    """What to differentiate with respect to, by the names of ``AtomGraph.with_positions``; empty if nothing."""
    if not forces and not deformed:
        return {}
    attached = create_graph and graph.positions.requires_grad
    inputs = {"positions": graph.positions if attached else graph.positions.detach().requires_grad_()}
    if deformed:
        inputs["strain"] = torch.zeros_like(graph.cell, requires_grad=True)
    return inputs


def _assemble(
    graph: AtomGraph,
    properties: Sequence[str],
    energies: Tensor,
    outputs: dict[str, Tensor],
    gradient: dict[str, Tensor],
) -> Evaluation:
    energy = torch.zeros(graph.n_systems, dtype=torch.float64, device=energies.device)
    energy = energy.index_add(0, graph.system_index, energies.to(torch.float64))
    forces = -gradient["positions"] if "forces" in properties else None
    stress = virial = None
    if "strain" in gradient:
        slope = 0.5 * (gradient["strain"] + gradient["strain"].transpose(1, 2))
        stress = slope / graph.volume[:, None, None] if "stress" in properties else None
        virial = -slope if "virial" in properties else None
    return Evaluation(energy, energies, forces, stress, virial, outputs)


def _detached(result: Evaluation) -> Evaluation:
    def free(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.detach()

    return Evaluation(
        result.energy.detach(),
        result.energies.detach(),
        free(result.forces),
        free(result.stress),
        free(result.virial),
        {name: tensor.detach() for name, tensor in result.outputs.items()},
    )


def require_volume(graph: AtomGraph) -> None:
    """Raise InputError if a system has no volume."""
    lengths = torch.linalg.vector_norm(graph.cell, dim=2).prod(dim=1)
    flat = ~(graph.volume > _FLAT * lengths)
    if flat.any():
        system = int(flat.nonzero()[0, 0])
        raise InputError(
            f"system {system} has no volume, so it has no stress (its cell is {graph.cell[system].tolist()}); "
            "give three independent lattice vectors, or ask for 'virial'"
        )


def require_finite(result: Evaluation) -> None:
    """Raise CalculationError, naming the place, if a result is not finite."""
    named = {"energies": result.energies, "forces": result.forces, "stress": result.stress, "virial": result.virial}
    for name, values in named.items():
        if values is None or values.isfinite().all():
            continue
        first = int((~values.isfinite()).nonzero()[0, 0])
        place = f"atoms[{first}]" if name in ("energies", "forces") else f"system {first}"
        raise CalculationError(
            f"the model gave {name} of {place} = {values[first].tolist()}; check the structure near it "
            "(overlapping atoms?) and the model's weights"
        )
