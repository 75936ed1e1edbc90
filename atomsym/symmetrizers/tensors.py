"""Vectors and tensors of any network, averaged over frames."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from atomsym.core import AtomGraph, InputError
from atomsym.symmetrizers.copies import rotated_copies
from atomsym.symmetrizers.symmetrizer import Symmetrizer


def symmetrized_tensors(
    symmetrizer: Symmetrizer, output: Callable[[AtomGraph], Tensor], graph: AtomGraph, of_systems: bool = False
) -> Tensor:
    """T = Σ_f w_f R_f … R_f T_model(x R_f): Cartesian tensors that turn with the structure, whatever the network is.

    For what has no energy to be a derivative of: dipoles, polarizabilities, elastic or dielectric tensors, predicted
    stress or diagonal blocks of a Hessian. As exact and as continuous as the symmetrizer is, and differentiable through
    the frames. Polar tensors; an axial one (a magnetic moment) needs a group without reflections.

    Args:
        symmetrizer: the choice of frames.
        output: the network, from a graph (here of all rotated copies) to one tensor for each of its atoms or systems,
            shape (n, 3, …, 3); with shape (n,), scalars.
        graph: one system or a batch, with edges.
        of_systems: the tensors are those of systems, not of atoms.

    Returns:
        One tensor for each atom or system of the graph, shape (n, 3, …, 3).

    Raises:
        InputError: if the output has another shape.
    """
    frames = symmetrizer.frames(graph)
    copies = rotated_copies(graph, frames)
    values = output(copies.graph)
    expected = copies.graph.n_systems if of_systems else copies.graph.n_atoms
    if values.ndim < 1 or values.shape[0] != expected or any(size != 3 for size in values.shape[1:]):
        whose = "systems" if of_systems else "atoms"
        raise InputError(
            f"the output must have the shape ({expected}, 3, …, 3), a Cartesian tensor for each of the {whose} of the "
            f"rotated copies; found {tuple(values.shape)}"
        )
    return copies.mean_tensors(values, graph.n_systems if of_systems else graph.n_atoms, of_systems)
