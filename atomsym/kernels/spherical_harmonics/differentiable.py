"""Derivatives of every order for the compiled spherical harmonics.

Three operators (C++), each in one pass over the vectors:

    Y(v)  →  V(g, v) = ∂(g·Y)/∂v  →  W(g, v, u) = ∂(u·V)/∂(g, v)

so energies, forces and one more derivative (training on forces, Hessians) use compiled code throughout. The backward
of W is the vector-Jacobian product of the same W written in torch over the compiled solid harmonics: a derivative of
a solid harmonic is a constant combination of solid harmonics of one degree less, so nothing else is needed and it can
be differentiated any number of times. Triton has kernels for Y and V, and takes W in this composed form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs
from atomsym.kernels.spherical_harmonics import kernels
from atomsym.kernels.spherical_harmonics.derivative_table import derivative_table
from atomsym.kernels.spherical_harmonics.reference import NORMALIZATIONS, unit_vectors

MAX_DEGREE = 8
Settings = tuple[int, bool, int]
"""max_degree, normalize, index into NORMALIZATIONS."""
_SETTINGS = "int max_degree, bool normalize, int normalization"
_DEVICES = {"cpp": ("CPU",), "triton": ("CPU", "CUDA")}  # Triton on the CPU: in its interpreter

_VALUES: dict[str, DifferentiableOperator] = {}
_GRADIENT: dict[str, DifferentiableOperator] = {}


def cpp_spherical_harmonics(vectors: Tensor, max_degree: int, normalize: bool, normalization: str) -> Tensor:
    """The C++ backend; see ``spherical_harmonics``."""
    values: Tensor = _VALUES["cpp"](vectors, max_degree, normalize, NORMALIZATIONS.index(normalization))
    return values


def triton_spherical_harmonics(vectors: Tensor, max_degree: int, normalize: bool, normalization: str) -> Tensor:
    """The Triton backend; see ``spherical_harmonics``."""
    values: Tensor = _VALUES["triton"](vectors, max_degree, normalize, NORMALIZATIONS.index(normalization))
    return values


def _values_backward(implementation: str, needs: Any, inputs: Inputs, grads: tuple[Tensor | None, ...]) -> Any:
    return (_GRADIENT[implementation](grads[0], *inputs),)


def _gradient_backward(implementation: str, needs: Any, inputs: Inputs, grads: tuple[Any, ...]) -> Any:
    grad, vectors, *settings = inputs
    if implementation == "cpp":
        return _SECOND_GRADIENT(grad, vectors, grads[0], *settings)
    return _composed_second_gradient(implementation, grad, vectors, grads[0], tuple(settings))


def _second_gradient_backward(needs: Any, inputs: Inputs, grads: tuple[Tensor | None, ...]) -> Any:
    """Vector-Jacobian product of W, from its composed form."""
    tensors, settings = inputs[:3], inputs[3:]

    def composed(grad: Tensor, vectors: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        return _composed_second_gradient("cpp", grad, vectors, direction, settings)

    pull: Callable[..., tuple[Tensor, ...]] = torch.func.vjp(composed, *tensors)[1]
    return pull(tuple(torch.zeros_like(t) if g is None else g for g, t in zip(grads, tensors[:2], strict=True)))


def _batching(n_tensors: int, call: Call, size: int, in_dims: Any, inputs: Inputs) -> Any:
    """Merge the mapped axis of each tensor into its first axis; every vector is treated by itself anyway."""
    moved = []
    for tensor, dim in zip(inputs[:n_tensors], in_dims[:n_tensors], strict=True):
        moved.append(tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0))
    results = call(*(tensor.flatten(0, 1) for tensor in moved), *inputs[n_tensors:])
    shape = (size, moved[0].shape[1])
    if isinstance(results, Tensor):
        return results.unflatten(0, shape), 0
    return tuple(result.unflatten(0, shape) for result in results), (0,) * len(results)


def _composed_second_gradient(
    implementation: str, grad: Tensor, vectors: Tensor, direction: Tensor, settings: Settings
) -> tuple[Tensor, Tensor]:
    """W(g, v, u) from solid harmonics and their derivative table, in differentiable pieces.

    With n the direction of v and p the derivative of n along u: ∂/∂g is (p·∇)Y(n), and ∂/∂v is the pull-back of
    (p·∇)∇(g·Y) through n plus what comes from p itself.
    """
    max_degree, normalize, normalization = settings
    table = derivative_table(max_degree, normalization, grad.dtype, grad.device)

    def along(vectors: Tensor) -> Tensor:
        unit = unit_vectors(vectors) if normalize else vectors
        values = _VALUES[implementation](unit, max_degree, False, normalization)
        tangent = _tangent(vectors, direction) if normalize else direction
        gradients = (values @ table).unflatten(-1, (3, -1))
        return (tangent.unsqueeze(-1) * gradients).sum(-2)

    pulled: tuple[Any, ...] = torch.func.vjp(along, vectors)
    grad_grad, pull = pulled
    return grad_grad, pull(grad)[0]


def _tangent(vectors: Tensor, direction: Tensor) -> Tensor:
    """Derivative of ``unit_vectors`` along a direction: (u − n (n·u)) / |v|; zero for a zero vector."""
    unit = unit_vectors(vectors)
    # |v| = n·v keeps its derivatives through n, and does not square the components.
    length = (unit * vectors).sum(-1, keepdim=True)
    zero = length == 0
    inverse = torch.where(zero, torch.zeros_like(length), 1 / torch.where(zero, torch.ones_like(length), length))
    return inverse * (direction - unit * (unit * direction).sum(-1, keepdim=True))


def _operator(
    name: str, signature: str, kernel: Callable[..., Any], devices: tuple[str, ...], n_tensors: int, **derivative: Any
) -> DifferentiableOperator:
    return DifferentiableOperator(
        f"spherical_harmonics{name}",
        signature,
        dict.fromkeys(devices, kernel),
        batching=partial(_batching, n_tensors),
        **derivative,
    )


for _implementation, (_values, _vjp) in kernels.KERNELS.items():
    _VALUES[_implementation] = _operator(
        f"_{_implementation}",
        f"(Tensor vectors, {_SETTINGS}) -> Tensor",
        _values,
        _DEVICES[_implementation],
        1,
        shapes=kernels.values_shape,
        backward=partial(_values_backward, _implementation),
    )
    _GRADIENT[_implementation] = _operator(
        f"_vjp_{_implementation}",
        f"(Tensor grad, Tensor vectors, {_SETTINGS}) -> Tensor",
        _vjp,
        _DEVICES[_implementation],
        2,
        shapes=kernels.vjp_shape,
        backward=partial(_gradient_backward, _implementation),
    )
_SECOND_GRADIENT = _operator(
    "_vjp_vjp_cpp",
    f"(Tensor grad, Tensor vectors, Tensor direction, {_SETTINGS}) -> (Tensor, Tensor)",
    kernels.cpp_vjp_vjp,
    _DEVICES["cpp"],
    3,
    shapes=kernels.vjp_vjp_shape,
    backward=_second_gradient_backward,
)
