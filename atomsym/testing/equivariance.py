"""How far a function is from turning its output when its input is turned."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.symmetry import Irreps, random_rotations, representation_matrix


def equivariance_error(
    function: Callable[..., Tensor],
    irreps_in: Irreps | Sequence[Irreps],
    irreps_out: Irreps,
    inputs: Tensor | Sequence[Tensor],
    *,
    generator: torch.Generator,
    n_rotations: int = 4,
    improper: bool = True,
) -> float:
    """Largest deviation of f(D_in(R) x) from D_out(R) f(x) over random rotations R, relative to the largest |f|.

    Args:
        function: called with as many tensors as ``inputs`` has; returns one tensor. Anything that does not turn
            (weights, indices) is bound beforehand, e.g. with ``functools.partial``.
        irreps_in: how each input turns: one list of irreps per tensor. Vectors are ``1o``; plain numbers ``0e``.
        irreps_out: how the output should turn.
        inputs: shape (n, irreps.dim) or (n, irreps.dim, channels): the component axis is the second.
        generator: source of the rotations, on the device of the inputs.
        n_rotations: how many rotations; the inversion alone is tried as well if ``improper``.
        improper: draw from O(3) instead of SO(3), which tests parities too.

    Returns:
        max |f(D x) − D f(x)| / max |f(x)|; zero for a function that returns nothing but zeros, so check that too.

    Raises:
        InputError: if the number of inputs or their component axes do not fit the irreps.

    Example:
        >>> x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> vector, scalar = Irreps.parse("1o"), Irreps.parse("0e")
        >>> def length(v):
        ...     return v.norm(dim=1, keepdim=True)
        >>> equivariance_error(length, vector, scalar, x, generator=torch.Generator().manual_seed(1)) < 1e-14
        True
    """
    tensors = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    lists = (irreps_in,) if isinstance(irreps_in, Irreps) else tuple(irreps_in)
    _check(tensors, lists)
    first = tensors[0]
    rotations = random_rotations(
        n_rotations, generator=generator, dtype=torch.float64, device=first.device, improper=improper
    )
    if improper:
        inversion = -torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        rotations = torch.cat([rotations, inversion.unsqueeze(0)])
    plain = function(*tensors)
    if plain.ndim < 2 or plain.shape[1] != irreps_out.dim:
        raise InputError(f"the function returned the shape {tuple(plain.shape)}; '{irreps_out}' has {irreps_out.dim}")
    worst = 0.0
    for rotation in rotations:
        turned = function(*(turn(tensor, irreps, rotation) for tensor, irreps in zip(tensors, lists, strict=True)))
        difference = (turned - turn(plain, irreps_out, rotation)).detach()
        if not bool(torch.isfinite(difference).all()):
            return float("inf")
        worst = max(worst, float(difference.abs().max()) if difference.numel() else 0.0)
    largest = float(plain.detach().abs().max()) if plain.numel() else 0.0
    return worst / (largest or 1.0)


def turn(tensor: Tensor, irreps: Irreps, rotation: Tensor) -> Tensor:
    """D(R) applied to the second axis of a tensor of shape (n, irreps.dim, ...); D is made in the dtype of R."""
    matrix = representation_matrix(irreps, rotation).to(tensor.dtype)
    return torch.einsum("ij,nj...->ni...", matrix, tensor)


def _check(tensors: tuple[Tensor, ...], lists: tuple[Irreps, ...]) -> None:
    if not tensors or len(tensors) != len(lists):
        raise InputError(f"one list of irreps per input is needed; found {len(lists)} for {len(tensors)} inputs")
    for number, (tensor, irreps) in enumerate(zip(tensors, lists, strict=True)):
        if tensor.ndim < 2 or tensor.shape[1] != irreps.dim:
            raise InputError(
                f"inputs[{number}] has the shape {tuple(tensor.shape)}; its second axis must hold the "
                f"{irreps.dim} components of '{irreps}'"
            )
