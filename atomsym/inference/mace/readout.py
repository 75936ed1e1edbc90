"""Readouts forward and in reverse."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from atomsym.models.mace.layer import Readout
from atomsym.nn.perceptron import ACTIVATIONS


def _silu_slope(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": _silu_slope,
    "tanh": lambda x: 1 - torch.tanh(x).square(),
    "abs": torch.sign,
    "none": torch.ones_like,
}
"""Derivatives of the activations."""


class ReadoutMap:
    """e = readout(h[:, 0]) and de/dh[:, 0], for perceptrons without biases.

    Args:
        readout: of the model.
        dtype: of the arithmetic.
    """

    def __init__(self, readout: Readout, dtype: torch.dtype) -> None:
        network = readout.network
        name = network.activation_name
        (self._function, self._factor), self._slope = ACTIVATIONS[name], SLOPES[name]
        self._weights = [
            (weight.detach().double() * weight.shape[0] ** -0.5).to(dtype).contiguous() for weight in network.weights
        ]

    def forward(self, scalars: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Energies, shape (n,), and what ``reverse`` needs."""
        kept, x = [], scalars
        for weight in self._weights[:-1]:
            kept.append(x @ weight)
            x = self._function(kept[-1]) * self._factor
        return (x @ self._weights[-1]).squeeze(1), kept

    def reverse(self, kept: list[Tensor], scale: float) -> Tensor:
        """scale · de/dh[:, 0], shape (n, channels) or (1, channels) where it is the same for all."""
        gradient = scale * self._weights[-1].T
        for weight, inner in zip(self._weights[-2::-1], kept[::-1], strict=True):
            gradient = (gradient * (self._factor * self._slope(inner))) @ weight.T
        return gradient
