"""Hessian-vector products: the Hessian as an operator that is never written down."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from atomsym.core import AtomGraph, InputError
from atomsym.derivatives.energies import (
    EnergyFunction,
    atom_energies,
    differentiable,
    gradients,
    prepared,
    second_order,
)
from atomsym.derivatives.memory import counted_saves


class HessianOperator:
    """The symmetric matrix d²E/dx dx of a graph, applied to vectors by ``@``.

    The gradient is computed once and differentiated again for each product: a product costs about two force
    evaluations and the memory of one, whatever the number of atoms. For a batch the matrix is block-diagonal. The
    operator holds the positions of the graph it was made from; make a new one when atoms have moved.

    Args:
        potential: a ``Potential`` or a function from a graph to the energies of its atoms, twice differentiable.
        graph: one system or a batch, with edges.

    Attributes:
        kept_bytes: memory that the recorded gradient holds.

    Raises:
        InputError: if the graph does not fit the potential.

    Example:
        >>> from atomsym.models import ARGON, LennardJones
        >>> graph = AtomGraph.from_arrays([[0, 0, 0], [0, 0, 4.0]], [18, 18])
        >>> edges, shifts = torch.tensor([[0, 1], [1, 0]]), torch.zeros(2, 3, dtype=torch.int32)
        >>> operator = HessianOperator(LennardJones(ARGON), graph.with_edges(edges, shifts, 8.5))
        >>> (operator @ torch.ones(6, dtype=torch.float64)).abs().max() < 1e-12  # a translation costs nothing
        tensor(True)
    """

    def __init__(self, potential: EnergyFunction, graph: AtomGraph) -> None:
        with differentiable(graph.device):
            graph = prepared(potential, graph)
            self._positions = graph.positions.detach().requires_grad_()
            expanded = second_order(potential, graph)
            with counted_saves() as saved:
                energies, _ = atom_energies(expanded, graph.with_positions(self._positions))
                (self._gradient,) = gradients(energies, (self._positions,), graph, create_graph=True)
        self.kept_bytes = saved.n_bytes + self._gradient.nbytes

    @property
    def shape(self) -> tuple[int, int]:
        """(3 n_atoms, 3 n_atoms)."""
        return self._positions.numel(), self._positions.numel()

    @property
    def dtype(self) -> torch.dtype:
        return self._positions.dtype

    @property
    def device(self) -> torch.device:
        return self._positions.device

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """H v for one vector, shape (3 n_atoms,) or (n_atoms, 3), or for columns, shape (3 n_atoms, k); eV/Å² × unit.

        Raises:
            InputError: if the shape, dtype or device is another one.
        """
        size, n_atoms = self.shape[0], self._positions.shape[0]
        if vectors.dtype != self.dtype or vectors.device != self.device:
            raise InputError(
                f"the vector is {vectors.dtype} on {vectors.device}, the operator {self.dtype} on {self.device}"
            )
        if vectors.shape in ((size,), (n_atoms, 3)):
            return self._product(vectors.reshape(n_atoms, 3)).reshape(vectors.shape)
        if vectors.ndim != 2 or vectors.shape[0] != size:
            raise InputError(
                f"a vector must have shape ({size},), ({n_atoms}, 3) or ({size}, k); found {tuple(vectors.shape)}"
            )
        columns = [self._product(column.reshape(n_atoms, 3)).reshape(size) for column in vectors.unbind(dim=1)]
        return torch.stack(columns, dim=1) if columns else torch.zeros_like(vectors)

    def products(self, vectors: Tensor) -> Tensor:
        """H v for several vectors in one vectorised pass, shape (k, n_atoms, 3); memory grows with their number."""
        if not self._gradient.requires_grad:
            return torch.zeros_like(vectors)
        with differentiable(self.device), torch.no_grad():
            seeds = vectors.clone() if vectors.is_inference() else vectors.detach()
            return torch.func.vmap(self._pulled_back)(seeds).detach()

    def _pulled_back(self, seed: Tensor) -> Tensor:
        (product,) = torch.autograd.grad(
            self._gradient, self._positions, seed, retain_graph=True, materialize_grads=True, allow_unused=True
        )
        return product

    def _product(self, vector: Tensor) -> Tensor:
        if not self._gradient.requires_grad:  # no edges, or an energy linear in the positions
            return torch.zeros_like(vector)
        with differentiable(self.device):
            seed = vector.clone() if vector.is_inference() else vector.detach()
            return self._pulled_back(seed).detach()

    def to_scipy(self) -> Any:
        """The same operator for ``scipy.sparse.linalg`` (``eigsh``, ``cg`` …), in numpy arrays on the host.

        Example:
            ``eigsh(HessianOperator(potential, graph).to_scipy(), k=10, which="SA")`` gives the ten softest modes.
        """
        from scipy.sparse.linalg import LinearOperator  # scipy comes with ase; loading it takes a noticeable while

        def product(vectors: Any) -> Any:
            columns = torch.tensor(vectors, dtype=self.dtype, device=self.device)
            return (self @ columns).cpu().numpy()

        kind = torch.empty(0, dtype=self.dtype).numpy().dtype
        return LinearOperator(self.shape, matvec=product, matmat=product, rmatvec=product, dtype=kind)


def hessian_vector_product(potential: EnergyFunction, graph: AtomGraph, vector: Tensor) -> Tensor:
    """H v, the change of the gradient along a displacement. For many vectors make a ``HessianOperator`` once.

    Args:
        potential: a ``Potential`` or a function from a graph to the energies of its atoms.
        graph: one system or a batch, with edges.
        vector: shape (n_atoms, 3) or (3 n_atoms,), dtype of the positions.

    Returns:
        Shape of the vector, eV/Å² × its unit, detached.

    Raises:
        InputError: if shapes or dtypes do not fit.
    """
    return HessianOperator(potential, graph) @ vector
