"""Energy, forces, stress and virial from an engine: the counterpart of ``atomsym.derivatives.evaluate``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atomsym.core import AtomGraph, InputError, PropertyNotAvailableError, check_elements
from atomsym.derivatives.evaluate import PROPERTIES, Evaluation, require_finite, require_volume
from atomsym.inference.engine import Engine
from atomsym.kernels.segments.differentiable import raw_segment_sum


def evaluate_with_engine(
    engine: Engine,
    graph: AtomGraph,
    properties: Sequence[str] = ("energy", "forces", "stress"),
    *,
    check_finite: bool = True,
) -> Evaluation:
    """As ``atomsym.derivatives.evaluate``, by an engine: everything detached, never differentiable.

    From g = dE/dr of the edges: dE/dx[n] = Σ_{e: sender n} g_e − Σ_{e: receiver n} g_e and dE/dε = Σ_e r_e ⊗ g_e,
    symmetrised. Sums run in double precision.

    Args:
        engine: made from the potential, in the dtype of the graph.
        graph: one system or a batch on the CPU, with edges and without strain.
        properties: any of energy, energies, forces, stress, virial.
        check_finite: raise when an energy or a derivative is not finite.

    Raises:
        PropertyNotAvailableError: if a property is unknown.
        InputError: if the graph does not fit the engine, or stress is asked of a system that has no volume.
        CalculationError: if a result is not finite.
        NotCoveredError: if the structure is outside of what the engine covers; ``evaluate`` does it.
    """
    unknown = set(properties) - set(PROPERTIES)
    if unknown:
        raise PropertyNotAvailableError(f"{', '.join(sorted(unknown))}: evaluate gives {', '.join(PROPERTIES)}")
    _require_fit(engine, graph)
    if "stress" in properties:
        require_volume(graph)
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        forces = stress = virial = None
        if {"forces", "stress", "virial"}.isdisjoint(properties):
            energies = engine.energies(graph)
        else:
            energies, vectors, slopes = engine.edge_gradients(graph)
            forces = _forces(graph, slopes) if "forces" in properties else None
            if "stress" in properties or "virial" in properties:
                strained = _strain_gradient(graph, vectors, slopes)
                stress = strained / graph.volume[:, None, None] if "stress" in properties else None
                virial = -strained if "virial" in properties else None
        energy = torch.zeros(graph.n_systems, dtype=torch.float64)
        energy.index_add_(0, graph.system_index, energies.to(torch.float64))
    result = Evaluation(energy, energies, forces, stress, virial)
    if check_finite:
        require_finite(result)
    return result


def _require_fit(engine: Engine, graph: AtomGraph) -> None:
    if graph.strain is not None:
        raise InputError("derivatives are taken at zero strain; deform positions and cell instead of setting a strain")
    if graph.dtype != engine.dtype or graph.device.type != "cpu":
        raise InputError(f"the engine takes graphs in {engine.dtype} on the cpu; found {graph.dtype} on {graph.device}")
    engine.potential.require_edges(graph)
    check_elements(graph, engine.potential.elements)


def _forces(graph: AtomGraph, slopes: Tensor) -> Tensor:
    topology = graph.topology
    return raw_segment_sum(slopes, topology.receiver, graph.n_atoms) - raw_segment_sum(
        slopes, topology.sender, graph.n_atoms
    )


def _strain_gradient(graph: AtomGraph, vectors: Tensor, slopes: Tensor) -> Tensor:
    """dE/dε of each system, shape (n_systems, 3, 3), symmetric."""
    if graph.n_systems == 1:
        total = (vectors.double().T @ slopes.double()).unsqueeze(0)
    else:
        each = vectors.double().unsqueeze(2) * slopes.double().unsqueeze(1)
        total = raw_segment_sum(each, graph.system_index[graph.edge_index[0]], graph.n_systems)
    return (0.5 * (total + total.transpose(1, 2))).to(slopes.dtype)
