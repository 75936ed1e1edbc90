"""The symmetric contraction's front function and its backends."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.symmetric_contraction import differentiation, reference
from atomsym.kernels.symmetric_contraction import operators as _operators  # noqa: F401  (registers the operators)
from atomsym.kernels.symmetric_contraction.description import SymmetricContraction
from atomsym.kernels.symmetric_contraction.native import species_error
from atomsym.kernels.triton_support import triton_device_types, triton_reason

OPERATION = Operation("symmetric_contraction")


def symmetric_contraction(
    node_features: Tensor,
    weights: Tensor,
    species: Tensor,
    contraction: SymmetricContraction,
    *,
    backend: str = "auto",
) -> Tensor:
    """Products of up to ν components of the same node's features, coupled to irreps and weighted by species.

    B[n,LM,c] = Σ_ν Σ_η W_{ν,L,η}[s_n,c] Σ_{i1 … iν} U^{L,ν}_{η;M,i1…iν} A[n,i1,c] … A[n,iν,c].

    Args:
        node_features: A, shape (n_nodes, irreps_in.dim, channels), float32 or float64.
        weights: W, shape (n_species, contraction.n_paths, channels); ``contraction.blocks`` has the path axis.
        species: s, shape (n_nodes,), int64, 0 ≤ s < n_species.
        contraction: irreps, order and couplings.
        backend: ``reference``, ``cpp``, ``triton`` or ``auto``.

    Returns:
        B, shape (n_nodes, irreps_out.dim, channels). Differentiable in features and weights: the reference any number
        of times, cpp three times, triton twice; vmap batches every operand, species member by member.

    Raises:
        InputError: if shapes, dtypes or devices do not fit together or a species has no weights. Inside a compiled
            graph and under vmap over species only the C++ backend looks at the species.
        BackendError: if the backend cannot do what is asked.

    Source: product basis of MACE (Batatia et al. 2022), in an independent basis of couplings.

    Example:
        >>> from atomsym.symmetry import Irreps
        >>> contraction = SymmetricContraction(Irreps.parse("1o"), Irreps.parse("0e"), 2)
        >>> vectors, weights = torch.tensor([[[3.0], [0.0], [4.0]]]), torch.ones(1, contraction.n_paths, 1)
        >>> (symmetric_contraction(vectors, weights, torch.tensor([0]), contraction) * 3**0.5).round(decimals=4)
        tensor([[[25.]]])
    """
    _check(node_features, weights, species, contraction)
    name = _select(backend, node_features.device.type, node_features.dtype)
    return _FUNCTIONS[name](node_features, weights, species, contraction)


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype) -> str:
    """Name of the backend that will do it."""
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype).name


def _check(node_features: Tensor, weights: Tensor, species: Tensor, contraction: SymmetricContraction) -> None:
    n_nodes, channels = (node_features.shape[0], node_features.shape[-1]) if node_features.ndim == 3 else (-1, -1)
    if tuple(node_features.shape) != (n_nodes, contraction.dim_in, channels):
        raise InputError(
            f"node_features have shape {tuple(node_features.shape)}; expected (n_nodes, {contraction.dim_in}, "
            f"channels) for the irreps {contraction.irreps_in}"
        )
    if weights.ndim != 3 or tuple(weights.shape[1:]) != (contraction.n_paths, channels):
        raise InputError(
            f"weights have shape {tuple(weights.shape)}; expected (n_species, {contraction.n_paths}, {channels})"
        )
    if tuple(species.shape) != (n_nodes,) or species.dtype != torch.int64:
        raise InputError(
            f"species have shape {tuple(species.shape)} and {species.dtype}; expected ({n_nodes},) and torch.int64"
        )
    if weights.dtype != node_features.dtype:
        raise InputError(f"weights are {weights.dtype}, node_features {node_features.dtype}; convert one of them")
    if not node_features.device == weights.device == species.device:
        raise InputError(
            f"node_features, weights and species are on {node_features.device}, {weights.device}, {species.device}"
        )


def _check_species(species: Tensor, n_species: int) -> None:
    """Look at the values, where they can be looked at."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_batchedtensor(species) or not species.numel():
        return
    if int(species.min()) < 0 or int(species.max()) >= n_species:
        raise species_error(species, n_species)


def _reference(node_features: Tensor, weights: Tensor, species: Tensor, contraction: SymmetricContraction) -> Tensor:
    _check_species(species, weights.shape[0])
    return reference.contract(node_features, weights, species, contraction)


def _cpp(node_features: Tensor, weights: Tensor, species: Tensor, contraction: SymmetricContraction) -> Tensor:
    return differentiation.contract("cpp", contraction.key, contraction.dim_out, species, node_features, weights)


def _triton(node_features: Tensor, weights: Tensor, species: Tensor, contraction: SymmetricContraction) -> Tensor:
    _check_species(species, weights.shape[0])
    return differentiation.contract("triton", contraction.key, contraction.dim_out, species, node_features, weights)


_FUNCTIONS = {"reference": _reference, "cpp": _cpp, "triton": _triton}

OPERATION.register(Backend("reference", _reference))
OPERATION.register(
    Backend("cpp", _cpp, device_types=frozenset({"cpu"}), derivative_order=3, priority=10, unavailable=cpu_reason)
)
OPERATION.register(
    Backend(
        "triton",
        _triton,
        device_types=triton_device_types(),
        derivative_order=2,
        priority=5,
        unavailable=triton_reason,
    )
)
