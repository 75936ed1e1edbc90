"""The Gaunt product: the front function, its reference, and its coefficients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.gaunt_product import native
from atomsym.kernels.gaunt_product.description import GauntProduct, from_grid, to_grid
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.path_coefficients import path_coefficients
from atomsym.kernels.triton_support import triton_device_types, triton_reason

OPERATION = Operation("gaunt_product")


def gaunt_product(factors: Sequence[Tensor], product: GauntProduct, *, backend: str = "auto") -> Tensor:
    """Multiply features as functions on the sphere, channel by channel.

    Scalar signals: out_{lm} = ∫ Y_{lm} Π_i (Σ x^i_{l'm'} Y_{l'm'}) dΩ. Vector signals:
    out_{jm} = ∫ 𝐘_{j,j−1,m} · (V¹ × V²) dΩ with V = Σ x_{jm} 𝐘_{j,j−1,m}. The harmonics have unit norm on the sphere.
    The quadrature is exact: the product is equivariant to rounding error.

    Args:
        factors: one tensor a factor, shape (n, irreps.dim, channels), float32 or float64; n and channels may be 1 in
            some: they are shared then.
        product: what is coupled, and the signal.
        backend: ``auto``, ``cpp``, ``triton`` or ``reference``.

    Returns:
        Shape (n, irreps_out.dim, channels). Differentiable in every factor any number of times.

    Raises:
        InputError: if number, shapes, dtypes or devices of the factors do not fit.
        BackendError: if the backend cannot do what is asked.

    Source: Luo, Chen and Krishnapriyan 2024 (Gaunt tensor products), on the sphere itself (compare arXiv 2506.13523);
    vector signals as arXiv 2602.21466, here with one field a degree, which has all odd paths.

    Example:
        >>> from atomsym.symmetry import Irreps
        >>> x, y = torch.eye(3)[:2].reshape(2, 1, 3, 1)
        >>> cross = GauntProduct((Irreps.parse("1o"), Irreps.parse("1o")), Irreps.parse("1e"), "vector")
        >>> (gaunt_product((x, y), cross) * (4 * torch.pi) ** 0.5).flatten().round(decimals=4).abs()
        tensor([0., 0., 1.])
    """
    _check(factors, product)
    first = factors[0]
    chosen = _select(backend, first.device.type, first.dtype)
    return _FUNCTIONS[chosen](factors, product)


def gaunt_coefficients(product: GauntProduct) -> dict[tuple[int, int, int], float]:
    """c with which a product of two factors is Σ c · wigner_3j; see ``path_coefficients``."""
    if len(product.factors) != 2:
        raise InputError(f"coefficients of paths are those of two factors; found {len(product.factors)}")
    return path_coefficients(lambda x, y: reference((x, y), product), *product.factors, product.irreps_out)


def reference(factors: Sequence[Tensor], product: GauntProduct) -> Tensor:
    """Sample, multiply, project: one matrix product a factor and one for the result."""
    degree, signal = product.grid_degree, product.signal
    like = factors[0]
    sampled = [
        torch.tensordot(to_grid(irreps, degree, signal).to(like), factor, dims=([-1], [1]))
        for irreps, factor in zip(product.factors, factors, strict=True)
    ]
    project = from_grid(product.irreps_out, degree, signal).to(like)
    if signal == "scalar":
        values = sampled[0]
        for other in sampled[1:]:
            values = values * other
        return torch.einsum("kp,pnc->nkc", project, values)
    first, second = torch.broadcast_tensors(*sampled)
    return torch.einsum("kpa,panc->nkc", project, torch.linalg.cross(first, second, dim=1))


def _check(factors: Sequence[Tensor], product: GauntProduct) -> None:
    if len(factors) != len(product.factors):
        raise InputError(f"{len(factors)} factors for a product of {len(product.factors)}")
    sizes = [{factor.shape[axis] for factor in factors if factor.ndim == 3} - {1} for axis in (0, 2)]
    for number, (factor, irreps) in enumerate(zip(factors, product.factors, strict=True)):
        if factor.ndim != 3 or factor.shape[1] != irreps.dim or any(len(size) > 1 for size in sizes):
            raise InputError(
                f"factors[{number}] must have the shape (n, {irreps.dim}, channels) with n and channels of the others "
                f"or 1; found {', '.join(str(tuple(other.shape)) for other in factors)}"
            )
        if factor.dtype != factors[0].dtype or factor.dtype not in (torch.float32, torch.float64):
            raise InputError(
                "factors must all be float32 or all float64; found " + ", ".join(str(other.dtype) for other in factors)
            )
        if factor.device != factors[0].device:
            raise InputError(f"factors[{number}] is on {factor.device}, factors[0] on {factors[0].device}")


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype).name


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "reference": reference,
    "cpp": partial(native.multiply, "cpp"),
    "triton": partial(native.multiply, "triton"),
}

OPERATION.register(Backend("reference", reference))
OPERATION.register(
    Backend("cpp", _FUNCTIONS["cpp"], device_types=frozenset({"cpu"}), priority=10, unavailable=cpu_reason)
)
OPERATION.register(
    Backend("triton", _FUNCTIONS["triton"], device_types=triton_device_types(), priority=5, unavailable=triton_reason)
)
