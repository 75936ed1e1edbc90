"""A multilayer perceptron without biases: what is zero at the cutoff stays zero behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from atomsym.core.errors import ConfigError
from atomsym.kernels.matrix_product import matrix_product
from atomsym.kernels.silu import silu

# 1 / sqrt(E[f(z)²]) for standard normal z: the factor that makes an activation keep unit variance. e3nn estimates it
# from a sample; its estimates are used where they exist, since the weights of published models belong to them.
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "silu": (silu, 1.6791767923989418),
    "tanh": (torch.tanh, 1.5937334472592695),
    "abs": (torch.abs, 1.001110600838467),
    "none": (lambda x: x, 1.0),
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """An activation that keeps unit variance.

    Raises:
        ConfigError: if there is none of this name.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(f"no activation '{name}'; known: {', '.join(ACTIVATIONS)}")
    return partial(_activated, name)


def _activated(name: str, x: Tensor) -> Tensor:
    """A function of the module, so that what holds it can be pickled."""
    function, factor = ACTIVATIONS[name]
    return function(x) * factor


class Perceptron(torch.nn.Module):
    """x → f(… f(x W_1 / sqrt(n_0)) …) W_k / sqrt(n_{k-1}); f only between layers, no biases.

    f(0) = 0 for the activations here, so an input of zeros gives zeros: multiplied by an envelope, the input takes the
    output smoothly to zero at the cutoff.

    Args:
        sizes: of the input, the hidden layers and the output.
        activation_name: one of ``ACTIVATIONS``.

    Attributes:
        weights: shape (n_in, n_out) of each layer; drawn with unit variance.

    Example:
        >>> Perceptron((8, 64, 12))(torch.zeros(3, 8)).abs().sum().item()
        0.0
    """

    def __init__(self, sizes: Sequence[int], activation_name: str = "silu") -> None:
        super().__init__()
        self.sizes, self.activation_name = tuple(sizes), activation_name
        activation(activation_name)  # an unknown name is an error here
        self.weights = torch.nn.ParameterList(torch.randn(n_in, n_out) for n_in, n_out in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to the last axis: (n, sizes[0]) → (n, sizes[-1])."""
        function, gain = ACTIVATIONS[self.activation_name]
        for number, weight in enumerate(self.weights):
            scale = weight.shape[0] ** -0.5
            if number:  # the activation's factor is cheaper on the weights than on its output
                x, scale = function(x), scale * gain
            x = matrix_product(x, weight * scale)
        return x

    def extra_repr(self) -> str:
        return f"{' -> '.join(map(str, self.sizes))}, {self.activation_name}"
