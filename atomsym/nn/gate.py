"""The equivariant gate: the only elementwise non-linearity that features of any degree allow."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.nn.perceptron import activation
from atomsym.symmetry import Irrep, Irreps

_EVEN_SCALAR = Irrep(0, 1)


class Gate(torch.nn.Module):
    """y_s = f(x_s) for scalars, y_v = x_v · g(x_gate(v)) for everything else.

    A function of single components commutes with rotations for scalars only, and with the inversion for odd scalars
    only if it is odd. Features of higher degree are multiplied with a function of an even scalar of their own instead.
    All functions keep unit variance, see ``activation``. Differentiable any number of times.

    Args:
        irreps: of the output, none twice.
        even: name of the activation of even scalars.
        odd: of odd scalars; must be an odd function.
        gates: of the scalars that gate.

    Attributes:
        irreps_in: what goes in: the scalars, a gate 0e for every other irrep, and the other irreps, each in the order
            of ``irreps``.
        irreps_out: ``irreps``.

    Source: Weiler et al., NeurIPS 2018 (arXiv 1807.02547); activations as NequIP (Batzner et al. 2022).

    Example:
        >>> gate = Gate(Irreps.parse("0e+1o"))
        >>> str(gate.irreps_in), gate(torch.zeros(2, 5, 8)).shape
        ('0e+0e+1o', torch.Size([2, 4, 8]))
    """

    def __init__(self, irreps: Irreps, *, even: str = "silu", odd: str = "tanh", gates: str = "silu") -> None:
        super().__init__()
        self.irreps_out = irreps
        scalars = tuple(irrep for irrep in irreps if irrep.degree == 0)
        others = tuple(irrep for irrep in irreps if irrep.degree > 0)
        self.irreps_in = Irreps(scalars + (_EVEN_SCALAR,) * len(others) + others)
        self._functions = {1: activation(even), -1: activation(odd)}
        self._gate = activation(gates)
        places = self._places(scalars, others)
        self._plan = [(irrep, *places[irrep]) for irrep in irreps]

    def _places(self, scalars: tuple[Irrep, ...], others: tuple[Irrep, ...]) -> dict[Irrep, tuple[slice, slice]]:
        """Where each irrep and its gate lie in the input; the gate of a scalar is not used."""
        slices, n = self.irreps_in.slices, len(scalars)
        found = {irrep: (slices[i], slices[i]) for i, irrep in enumerate(scalars)}
        return found | {irrep: (slices[n + len(others) + i], slices[n + i]) for i, irrep in enumerate(others)}

    def forward(self, features: Tensor) -> Tensor:
        """(n, irreps_in.dim, channels) → (n, irreps_out.dim, channels)."""
        results = []
        for irrep, place, gate in self._plan:
            block = features[:, place]
            scalar = irrep.degree == 0
            results.append(self._functions[irrep.parity](block) if scalar else block * self._gate(features[:, gate]))
        return results[0] if len(results) == 1 else torch.cat(results, dim=1)

    def extra_repr(self) -> str:
        return f"{self.irreps_in} -> {self.irreps_out}"
