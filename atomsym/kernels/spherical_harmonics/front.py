"""The front function of the spherical harmonics and their backends."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.spherical_harmonics import differentiable
from atomsym.kernels.spherical_harmonics.reference import NORMALIZATIONS, reference_spherical_harmonics
from atomsym.kernels.triton_support import triton_device_types, triton_reason

SPHERICAL_HARMONICS = Operation("spherical_harmonics")


def spherical_harmonics(
    vectors: Tensor,
    max_degree: int,
    *,
    normalize: bool = True,
    normalization: str = "component",
    backend: str = "auto",
) -> Tensor:
    """Real spherical harmonics of degrees 0 … max_degree; component l² + l + m holds degree l, order m = −l … l.

    Y(l, m)(v) = N(l, |m|) P_l^|m|(y, |v|) · Re (z + i x)^m for m ≥ 0, Im (z + i x)^|m| for m < 0: e3nn's order and
    signs, polar axis y, so that degree 1 is proportional to (x, y, z). Without ``normalize`` these are the solid
    harmonics, homogeneous polynomials of degree l.

    A zero vector has no direction: with ``normalize`` its harmonics of degree ≥ 1 are 0, degree 0 keeps its constant,
    and all its derivatives are 0. Without ``normalize`` nothing is special about it.

    Args:
        vectors: shape (n, 3), float32 or float64, any unit.
        max_degree: largest degree, ≥ 0; the compiled backends go to 8, the reference to any degree.
        normalize: divide the vectors by their length first.
        normalization: on unit vectors the squares of degree l sum to 2l + 1 (``"component"``), to 1 (``"norm"``) or
            to (2l + 1) / 4π (``"integral"``: orthonormal over the sphere).
        backend: ``"auto"``, ``"cpp"``, ``"triton"`` or ``"reference"``.

    Returns:
        Shape (n, (max_degree + 1)²), dtype and device of the vectors. Differentiable any number of times.

    Raises:
        InputError: if the shape, dtype, degree or normalisation is not one of the above.
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> import torch
        >>> spherical_harmonics(torch.tensor([[0.0, 2.0, 0.0]]), 1, normalization="norm")
        tensor([[1., 0., 1., 0.]])
    """
    if vectors.ndim != 2 or vectors.shape[1] != 3 or not vectors.dtype.is_floating_point:
        raise InputError(f"vectors must be float of shape (n, 3); found {vectors.dtype} {tuple(vectors.shape)}")
    if max_degree < 0:
        raise InputError(f"max_degree must be >= 0; found {max_degree}")
    if normalization not in NORMALIZATIONS:
        raise InputError(f"normalization must be one of {', '.join(NORMALIZATIONS)}; found '{normalization}'")
    chosen = _select(backend, vectors.device.type, vectors.dtype, max_degree)
    return SPHERICAL_HARMONICS[chosen].function(vectors, max_degree, normalize, normalization)


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype, degree: int) -> str:
    return SPHERICAL_HARMONICS.select(backend, device=torch.device(device_type), dtype=dtype, degree=degree).name


SPHERICAL_HARMONICS.register(Backend("reference", reference_spherical_harmonics))
SPHERICAL_HARMONICS.register(
    Backend(
        "cpp",
        differentiable.cpp_spherical_harmonics,
        device_types=frozenset({"cpu"}),
        max_degree=differentiable.MAX_DEGREE,
        priority=20,
        unavailable=cpu_reason,
    )
)
SPHERICAL_HARMONICS.register(
    Backend(
        "triton",
        differentiable.triton_spherical_harmonics,
        device_types=triton_device_types(),
        max_degree=differentiable.MAX_DEGREE,
        priority=10,
        unavailable=triton_reason,
    )
)
