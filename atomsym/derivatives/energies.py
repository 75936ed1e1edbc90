"""The energy function under differentiation: called in a known state of autograd, its answer checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from atomsym.core import AtomGraph, CalculationError, InputError, check_elements
from atomsym.models import Potential

EnergyFunction: TypeAlias = Potential | Callable[[AtomGraph], Any]
"""A ``Potential``, or any function of a graph that returns energies of the atoms, shape (n_atoms,), eV, or a mapping
with ``energies`` in it. Autograd must be able to differentiate it, and the systems of a batch must not interact.
"""


@contextmanager
def differentiable(device: torch.device) -> Iterator[None]:
    """Autograd switched on whatever the caller's state is, and no automatic casts; the state is restored after.

    A caller's autocast would take positions and shifts through half precision, where an ångström has three digits.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        yield


def prepared(potential: EnergyFunction, graph: AtomGraph) -> AtomGraph:
    """The graph, checked against the potential and usable by autograd. The caller's graph is left as it is.

    Raises:
        InputError: if edges are missing or too short, a strain is set, the weights were made in inference mode, or the
            model gives another quantity than energies.
        UnsupportedElementError: if the potential does not know an element.
    """
    if graph.strain is not None:
        raise InputError("derivatives are taken at zero strain; deform positions and cell instead of setting a strain")
    if isinstance(potential, Potential):
        if potential.quantity != "energy":
            raise InputError(f"this model gives the {potential.quantity} ({potential.unit}), not energies")
        potential.require_edges(graph)
        check_elements(graph, potential.elements)
    if isinstance(potential, torch.nn.Module) and any(weight.is_inference() for weight in potential.parameters()):
        raise InputError(
            "the weights were made under torch.inference_mode, where autograd cannot follow; "
            "build or load the potential outside of it"
        )
    foreign: dict[str, Any] = {}
    for field in fields(graph):
        value = getattr(graph, field.name)
        if isinstance(value, Tensor) and value.is_inference():
            foreign[field.name] = value.clone()
    return replace(graph, **foreign) if foreign else graph


def atom_energies(potential: EnergyFunction, graph: AtomGraph) -> tuple[Tensor, dict[str, Tensor]]:
    """Energies of the atoms, shape (n_atoms,), and whatever else the function returned.

    Raises:
        CalculationError: if the energies have another shape or are not floating-point numbers.
    """
    output = potential(graph)
    energies = output["energies"] if isinstance(output, Mapping) else output
    others = {name: v for name, v in output.items() if name != "energies"} if isinstance(output, Mapping) else {}
    if not isinstance(energies, Tensor) or energies.shape != (graph.n_atoms,) or not energies.dtype.is_floating_point:
        found = f"{energies.dtype} {tuple(energies.shape)}" if isinstance(energies, Tensor) else type(energies).__name__
        raise CalculationError(f"energies must be a float tensor of shape ({graph.n_atoms},); the model gave {found}")
    return energies, others


def second_order(potential: EnergyFunction, graph: AtomGraph) -> EnergyFunction:
    """What to differentiate twice at the positions of a graph: the potential, or what it offers in its place."""
    return potential.second_order(graph) if isinstance(potential, Potential) else potential


def gradients(
    energies: Tensor, inputs: tuple[Tensor, ...], graph: AtomGraph, *, create_graph: bool
) -> tuple[Tensor, ...]:
    """Derivatives of the total energy; zeros where there are no edges that could carry them.

    Raises:
        CalculationError: if there are edges but autograd finds no path to the inputs: zeros would be a wrong answer.
    """
    found: tuple[Tensor | None, ...] = (None,) * len(inputs)
    if energies.requires_grad:
        found = torch.autograd.grad(energies.sum(), inputs, create_graph=create_graph, allow_unused=True)
    if graph.n_edges and any(gradient is None for gradient in found):
        raise CalculationError(
            "the energies do not depend on the positions and strain as far as autograd can see, though the graph has "
            "edges; use graph.edge_vectors(), and look for .detach(), numpy or torch.no_grad inside the model"
        )
    return tuple(torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True))
