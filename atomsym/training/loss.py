"""The loss: how far predictions are from labels, summed such that the result does not depend on how a batch is cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.derivatives import EnergyFunction, Evaluation, evaluate
from atomsym.derivatives.energies import differentiable
from atomsym.heads import HessianPotential, system_property
from atomsym.models import Potential
from atomsym.training.config import TERMS, LossSection
from atomsym.training.predicted_hessian import (
    WithHessians,
    labelled_systems,
    predicted_hessian_sums,
    subspace_entries,
)
from atomsym.training.samples import Batch, LabelCounts


@dataclass(frozen=True, eq=False)
class Predictions:
    """What the model says where the labels are.

    What was not computed, or is not given by the model, is None.

    Attributes:
        energy: shape (n_systems,), float64, eV.
        forces: shape (n_atoms, 3), eV/Å.
        stress: shape (n_systems, 3, 3), eV/Å³, zero for systems without a volume.
        direct_forces: predicted beside the energy, shape (n_atoms, 3), eV/Å.
        hessians: of a Hessian head for the systems with a label, in their order, each (3n, 3n), eV/Å².
        target: property in the place of energies, shape (n_systems,), float64, in the unit of the model.
    """

    energy: Tensor | None = None
    forces: Tensor | None = None
    stress: Tensor | None = None
    direct_forces: Tensor | None = None
    hessians: tuple[Tensor, ...] = ()
    target: Tensor | None = None


@dataclass(frozen=True, eq=False)
class BatchLoss:
    """The loss of a batch or of a part of one.

    Attributes:
        total: Σ of the weighted terms, a scalar; differentiable in the model's weights.
        terms: the weighted terms in the order of ``TERMS``, detached, shape (len(TERMS),).
        predictions: detached.
    """

    total: Tensor
    terms: Tensor
    predictions: Predictions


def batch_loss(
    potential: Potential,
    batch: Batch,
    loss: LossSection,
    counts: LabelCounts,
    *,
    seed: tuple[int, ...] = (0,),
    create_graph: bool = True,
    all_properties: bool = False,
) -> BatchLoss:
    """The loss of a batch, or of the part of a batch that one process works on.

    L = Σ_t w_t (1 / n_t) Σ_{items i of term t} v_s(i) ℓ(prediction_i - label_i)

    with the weight w_t of the term, the weight v_s of the structure, and the number n_t of labels in the *whole* batch,
    so that the losses of its parts add up to the loss of the whole. A label that is missing is in neither sum. Items
    are energies divided by the number of atoms, force components, stress components, components of the virial divided
    by the number of atoms, entries of the Hessian in rows drawn at random, and targets. ℓ(x) is x², or Huber's
    x² for |x| <= δ and 2 δ |x| - δ² beyond. Direct forces are compared with the labels and, where there are some, with
    the forces of the energy, which do not learn from it (Duval et al. 2023). Predicted Hessians have terms of their
    own, with ℓ(x) = |x|; see ``predicted_hessian_sums``.

    Args:
        potential: the model.
        batch: structures with labels.
        loss: weights and ℓ.
        counts: labels of the whole batch.
        seed: of the rows of the Hessians, together with the index of the structure.
        create_graph: False gives the same numbers without gradients.
        all_properties: predict forces and stress wherever there are labels, even if their weight is zero.

    Returns:
        The loss and the predictions.

    Raises:
        CalculationError: if a prediction is not finite.
    """
    if potential.quantity != "energy":
        return _target_loss(potential, batch, loss, counts, create_graph)
    wanted = _wanted(batch, loss, all_properties)
    curved = loss.hessian > 0 and any(hessian is not None for hessian in batch.hessians)
    graph = batch.graph
    if curved:
        graph = graph.with_positions(graph.positions.detach().requires_grad_())
    function = _with_head(potential, batch, loss, all_properties)
    found = evaluate(function, graph, ("energy", *wanted), create_graph=create_graph or curved)
    predictions = _predictions(found, graph, function)
    sums = _first_order_sums(predictions, batch, loss)
    if curved:
        sums["hessian"] = _hessian_sum(found, graph, batch, loss, seed, create_graph)
    if predictions.hessians:
        sums |= predicted_hessian_sums(list(predictions.hessians), batch, loss)
    numbers = {
        "energy": counts.energy, "forces": counts.forces, "direct_forces": counts.forces,
        "force_consistency": counts.forces, "stress": counts.stress, "virial": counts.stress,
        "hessian": counts.hessian_entries(loss.hessian_rows), "predicted_hessian": counts.hessian_entries(0),
        "hessian_subspace": subspace_entries(counts.hessian),
    }  # fmt: skip
    return _weighted(sums, numbers, loss, predictions, graph.device)


def _target_loss(
    potential: Potential, batch: Batch, loss: LossSection, counts: LabelCounts, create_graph: bool
) -> BatchLoss:
    target = _targets(potential, batch, create_graph)
    sums = {"target": _masked_sum(target - batch.target, batch.weight, loss)}
    return _weighted(sums, {"target": counts.target}, loss, Predictions(target=target), batch.graph.device)


def _targets(potential: Potential, batch: Batch, create_graph: bool) -> Tensor:
    with differentiable(batch.graph.device), torch.set_grad_enabled(create_graph):
        return system_property(potential, batch.graph)


def _weighted(
    sums: Mapping[str, Tensor],
    numbers: Mapping[str, int],
    loss: LossSection,
    predictions: Predictions,
    device: torch.device,
) -> BatchLoss:
    """The loss of Σ v ℓ(residual) and number of labels of each term that there is."""
    zero = torch.zeros((), dtype=torch.float64, device=device)
    terms = [loss.weights[t] * sums[t] / max(numbers[t], 1) if t in sums else zero for t in TERMS]
    total = torch.stack(terms).sum()
    return BatchLoss(total, torch.stack([term.detach() for term in terms]), _detached(predictions))


def predict(potential: Potential, batch: Batch) -> Predictions:
    """Energies of a batch, and forces, stresses and (with a head) Hessians where there are labels of them; detached.

    Of a model that gives no energies, the property that it gives.

    Raises:
        CalculationError: if a prediction is not finite.
    """
    if potential.quantity != "energy":
        return Predictions(target=_targets(potential, batch, create_graph=False))
    wanted = _wanted(batch, LossSection(), all_properties=True)
    function = _with_head(potential, batch, LossSection(), all_properties=True)
    found = evaluate(function, batch.graph, ("energy", *wanted))
    return _detached(_predictions(found, batch.graph, function))


def _with_head(potential: Potential, batch: Batch, loss: LossSection, all_properties: bool) -> EnergyFunction:
    """The potential, or what runs its Hessian head too if there are labels for it and somebody looks."""
    wanted = all_properties or loss.predicted_hessian > 0 or loss.hessian_subspace > 0
    systems = labelled_systems(batch)
    if not wanted or not len(systems) or not isinstance(potential, HessianPotential):
        return potential
    return WithHessians(potential, systems)


def _wanted(batch: Batch, loss: LossSection, all_properties: bool) -> list[str]:
    """Derivatives that are needed. The virial serves stress too: unlike it, it exists for molecules in the batch."""
    has_forces = not bool(batch.forces.isnan().all())
    has_stress = not bool(batch.stress.isnan().all())
    needed = loss.forces > 0 or loss.force_consistency > 0 or all_properties
    forces = (has_forces and needed) or loss.hessian > 0
    virial = has_stress and (loss.stress > 0 or loss.virial > 0 or all_properties)
    return [name for name, needed in (("forces", forces), ("virial", virial)) if needed]


def _predictions(found: Evaluation, graph: AtomGraph, function: EnergyFunction) -> Predictions:
    stress = None
    if found.virial is not None:
        volume = graph.volume.to(torch.float64)[:, None, None]
        stress = torch.where(volume > 0, -found.virial.to(torch.float64) / volume.clamp_min(1e-30), 0.0)
    forces = None if found.forces is None else found.forces.to(torch.float64)
    hessians = tuple(function.matrices()) if isinstance(function, WithHessians) else ()
    direct = found.outputs.get("forces")
    return Predictions(found.energy, forces, stress, None if direct is None else direct.to(torch.float64), hessians)


def _first_order_sums(predictions: Predictions, batch: Batch, loss: LossSection) -> dict[str, Tensor]:
    """Σ v ℓ(residual) of the terms with a weight, but the Hessian."""
    graph = batch.graph
    n_atoms = graph.atoms_per_system.to(torch.float64).clamp_min(1)
    sums = {}
    if loss.energy > 0 and predictions.energy is not None:
        sums["energy"] = _masked_sum((predictions.energy - batch.energy) / n_atoms, batch.weight, loss)
    if loss.forces > 0 and predictions.forces is not None:
        sums["forces"] = _masked_sum(predictions.forces - batch.forces, batch.weight[graph.system_index, None], loss)
    sums |= _direct_force_sums(predictions, batch, loss)
    if predictions.stress is not None:
        residual = predictions.stress - batch.stress
        weight = batch.weight[:, None, None]
        if loss.stress > 0:
            sums["stress"] = _masked_sum(residual, weight, loss)
        if loss.virial > 0:
            per_atom = (graph.volume.to(torch.float64) / n_atoms)[:, None, None]
            sums["virial"] = _masked_sum(residual * per_atom, weight, loss)
    return sums


def _direct_force_sums(predictions: Predictions, batch: Batch, loss: LossSection) -> dict[str, Tensor]:
    direct, weight = predictions.direct_forces, batch.weight[batch.graph.system_index, None]
    if direct is None:
        return {}
    sums = {}
    if loss.direct_forces > 0:
        sums["direct_forces"] = _masked_sum(direct - batch.forces, weight, loss)
    if loss.force_consistency > 0 and predictions.forces is not None:
        target = torch.where(batch.forces.isnan(), torch.nan, predictions.forces.detach())
        sums["force_consistency"] = _masked_sum(direct - target, weight, loss)
    return sums


def _masked_sum(residual: Tensor, weight: Tensor, loss: LossSection) -> Tensor:
    """Σ v ℓ(residual) over the entries that are not NaN; no NaN reaches a gradient."""
    known = ~residual.detach().isnan()
    values = _pointwise(torch.where(known, residual, 0.0), loss)
    return (weight * values).sum()


def _pointwise(residual: Tensor, loss: LossSection) -> Tensor:
    if loss.function == "squared":
        return residual.square()
    size, delta = residual.abs(), loss.huber_delta
    return torch.where(size <= delta, residual.square(), 2 * delta * size - delta**2)


def _hessian_sum(
    found: Evaluation, graph: AtomGraph, batch: Batch, loss: LossSection, seed: tuple[int, ...], create_graph: bool
) -> Tensor:
    """Σ v ℓ(residual) over chosen rows. A Hessian-vector product gives one row of every structure of the batch."""
    forces = cast(Tensor, found.forces)
    rows = _chosen_rows(batch, loss.hessian_rows, seed)
    starts = np.cumsum([0, *graph.atoms_per_system.tolist()])
    total = torch.zeros((), dtype=torch.float64, device=graph.device)
    if not forces.requires_grad:  # no edges: the Hessian is zero
        for hessian, chosen, weight in zip(batch.hessians, rows, batch.weight, strict=True):
            if hessian is not None:
                total = total + weight * _pointwise(-hessian[chosen], loss).sum()
        return total
    for number in range(max(len(chosen) for chosen in rows)):
        seeds = torch.zeros_like(graph.positions)
        target = torch.full((graph.n_atoms, 3), torch.nan, dtype=torch.float64, device=graph.device)
        for system, (hessian, chosen) in enumerate(zip(batch.hessians, rows, strict=True)):
            if hessian is not None and number < len(chosen):
                start, stop = int(starts[system]), int(starts[system + 1])
                seeds[start + chosen[number] // 3, chosen[number] % 3] = 1
                target[start:stop] = hessian[chosen[number]].reshape(-1, 3)
        (product,) = torch.autograd.grad(
            forces, graph.positions, seeds, create_graph=create_graph, retain_graph=True, materialize_grads=True
        )
        residual = -product.to(torch.float64) - target
        total = total + _masked_sum(residual, batch.weight[graph.system_index, None], loss)
    return total


def _chosen_rows(batch: Batch, n_rows: int, seed: tuple[int, ...]) -> list[list[int]]:
    """Rows of each structure's Hessian; drawn from the seed and its index, so that every way of cutting agrees."""
    chosen = []
    for hessian, index in zip(batch.hessians, batch.indices, strict=True):
        size = 0 if hessian is None else hessian.shape[0]
        if n_rows == 0 or n_rows >= size:
            chosen.append(list(range(size)))
        else:
            generator = np.random.default_rng([*seed, index])
            chosen.append([int(row) for row in generator.choice(size, n_rows, replace=False)])
    return chosen


def _detached(predictions: Predictions) -> Predictions:
    def free(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.detach()

    hessians = tuple(matrix.detach() for matrix in predictions.hessians)
    return Predictions(
        free(predictions.energy),
        free(predictions.forces),
        free(predictions.stress),
        free(predictions.direct_forces),
        hessians,
        free(predictions.target),
    )
