"""Functions of one number as Taylor polynomials of second order: networks that need not be differentiated twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from atomsym.core.errors import BackendError
from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs
from atomsym.nn.perceptron import ACTIVATIONS, Perceptron


@dataclass(frozen=True, eq=False)
class Expansion:
    """f(d) around d0, with f(d0), f'(d0) and f''(d0) for n numbers d and k functions: each of shape (n, k), detached.

    A Hessian of the energy differentiates radial networks once and twice at one set of distances. Where those
    derivatives are known from one sweep along the distance, a row of the Hessian costs a product with them instead of
    going back and forth through the network.

    Example:
        >>> d = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
        >>> cubes = Expansion.of(lambda d: d.pow(3).unsqueeze(1), d)
        >>> (slope,) = torch.autograd.grad(cubes.at(d).sum(), d, create_graph=True)
        >>> slope.tolist(), torch.autograd.grad(slope.sum(), d)[0].tolist()
        ([3.0, 12.0], [6.0, 12.0])
    """

    value: Tensor
    slope: Tensor
    curvature: Tensor

    @classmethod
    def of(cls, function: Callable[[Tensor], Tensor], distance: Tensor) -> Expansion:
        """Of a function that autograd can differentiate twice, (n,) → (n, k), each row by its own number only.

        Backward passes give v·f' and v·f'' for all rows; they are linear in v, so that one more each gives f' and f''.
        """
        with torch.inference_mode(False), torch.enable_grad():
            at = distance.detach().clone().requires_grad_()
            value = function(at)
            if not value.requires_grad:
                return cls(value, torch.zeros_like(value), torch.zeros_like(value))
            weights = torch.ones_like(value, requires_grad=True)
            (first,) = torch.autograd.grad(value, at, weights, create_graph=True)
            (slope,) = torch.autograd.grad(first.sum(), weights, retain_graph=True)
            curvature = torch.zeros_like(value)
            if first.requires_grad:
                (second,) = torch.autograd.grad(first.sum(), at, create_graph=True, materialize_grads=True)
                if second.requires_grad:
                    (curvature,) = torch.autograd.grad(second.sum(), weights, materialize_grads=True)
        return cls(value.detach(), slope.detach(), curvature.detach())

    def through(self, network: Perceptron) -> Expansion:
        """Of network(f(d)), by the chain rule layer for layer; one matrix product a layer for all three parts."""
        function, gain = ACTIVATIONS[network.activation_name]
        n = self.value.shape[0]
        parts = torch.cat((self.value, self.slope, self.curvature))
        for number, weight in enumerate(network.weights):
            scale = weight.shape[0] ** -0.5
            if number:
                activated = Expansion(*parts.split(n)).mapped(function)
                parts, scale = torch.cat((activated.value, activated.slope, activated.curvature)), scale * gain
            parts = parts @ (weight.detach() * scale)
        return Expansion(*parts.split(n))

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Expansion:
        """Of g(f(d)) for a function g of each element."""
        with torch.inference_mode(False), torch.enable_grad():
            x = self.value.detach().clone().requires_grad_()
            g = function(x)
            (g1,) = torch.autograd.grad(g.sum(), x, create_graph=True)
            g2 = torch.autograd.grad(g1.sum(), x)[0] if g1.requires_grad else torch.zeros_like(x)
        g, g1 = g.detach(), g1.detach()
        return Expansion(g, g1 * self.slope, g2 * self.slope.square() + g1 * self.curvature)

    def columns(self, some: slice) -> Expansion:
        """Of some of the functions."""
        return Expansion(self.value[:, some], self.slope[:, some], self.curvature[:, some])

    def times(self, other: Expansion) -> Expansion:
        """Of the product of two; columns of one are broadcast over those of the other."""
        (a, a1, a2), (b, b1, b2) = ((e.value, e.slope, e.curvature) for e in (self, other))
        return Expansion(a * b, a1 * b + a * b1, a2 * b + 2 * a1 * b1 + a * b2)

    def at(self, distance: Tensor) -> Tensor:
        """The values, shape (n, k), differentiable in ``distance``, which must be d0: others go unnoticed.

        Raises:
            BackendError: when the second derivative is taken in a way that a third one could follow.
        """
        return cast(Tensor, _VALUE(distance, self.value, self.slope, self.curvature))


def _stacked(call: Call, size: int, axes: tuple[int | None, ...], inputs: Inputs) -> tuple[Tensor, int]:
    """Member by member."""
    members = [
        [x if axis is None else x.select(axis, number) for x, axis in zip(inputs, axes, strict=True)]
        for number in range(size)
    ]
    return torch.stack([call(*member) for member in members]), 0


_VALUE = DifferentiableOperator(
    "expansion_value",
    "(Tensor distance, Tensor value, Tensor slope, Tensor curvature) -> Tensor",
    dict.fromkeys(("CPU", "CUDA"), lambda distance, value, slope, curvature: value.clone()),
    shapes=lambda distance, value, slope, curvature: torch.empty_like(value),
    backward=lambda needs, inputs, grads: [_SLOPE(grads[0], inputs[0], inputs[2], inputs[3])],
    batching=_stacked,
    saved=(0, 2, 3),
)
"""f(d0), with f' as its derivative."""


def _row_products(gradient: Tensor, distance: Tensor, slope: Tensor, curvature: Tensor) -> Tensor:
    """Σ_k g_k f_k'(d0): (…, n, k) → (…, n), without copies of f' for the leading axes."""
    if gradient.ndim == 2:
        return (gradient.unsqueeze(1) @ slope.unsqueeze(2)).flatten()
    return (gradient.transpose(0, 1) @ slope.unsqueeze(2)).squeeze(2).transpose(0, 1).contiguous()


def _slope_backward(needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    gradient, distance, slope, curvature = inputs
    if torch.is_grad_enabled():
        raise BackendError("an expansion of second order has no third derivative; differentiate the networks instead")
    along = cast(Tensor, grads[0])
    for_gradient = (along.unsqueeze(-1) * slope).sum_to_size(gradient.shape) if needs[0] else None
    if not needs[1]:
        return [for_gradient]
    return [for_gradient, (along * _row_products(gradient, distance, curvature, curvature)).sum_to_size(distance.shape)]


def _slope_batching(call: Call, size: int, axes: tuple[int | None, ...], inputs: Inputs) -> tuple[Tensor, int]:
    if axes[0] is None or any(axis is not None for axis in axes[1:]) or inputs[0].ndim != 3:
        return _stacked(call, size, axes, inputs)
    return call(inputs[0].movedim(axes[0], 0), *inputs[1:]), 0


_SLOPE: DifferentiableOperator = DifferentiableOperator(
    "expansion_slope",
    "(Tensor gradient, Tensor distance, Tensor slope, Tensor curvature) -> Tensor",
    dict.fromkeys(("CPU", "CUDA"), _row_products),
    shapes=lambda gradient, distance, slope, curvature: gradient.new_empty(gradient.shape[:-1]),
    backward=_slope_backward,
    batching=_slope_batching,
)
"""Σ_k g_k f_k'(d0), shape (n,), with f' for g and Σ_k g_k f_k'' for d as its derivatives."""
