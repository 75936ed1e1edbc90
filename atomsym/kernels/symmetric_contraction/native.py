"""C++ operators of the symmetric contraction: value and gradient, with mixed derivatives along directions."""

from __future__ import annotations

import atexit
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads
from atomsym.kernels.symmetric_contraction.polynomial import contraction_polynomial


def value(
    key: str,
    dim_out: int,
    species: Tensor,
    features: Tensor,
    weights: Tensor,
    feature_directions: list[Tensor],
    weight_directions: list[Tensor],
) -> Tensor:
    """The contraction, differentiated once along each direction. Batched operands have a leading axis."""
    batch = _batch_shape(features, weights, *feature_directions, *weight_directions)
    result = recycled_empty((*batch, features.shape[-3], dim_out, features.shape[-1]), features.dtype)
    _call(key, batch, species, None, features, weights, feature_directions, weight_directions, result, None, None)
    return result


def gradient(
    key: str,
    want_features: bool,
    want_weights: bool,
    species: Tensor,
    cotangent: Tensor,
    features: Tensor,
    weights: Tensor,
    feature_directions: list[Tensor],
    weight_directions: list[Tensor],
) -> tuple[Tensor, Tensor]:
    """Gradients of ⟨cotangent, contraction⟩ in features and weights, differentiated once along each direction."""
    batch = _batch_shape(cotangent, features, weights, *feature_directions, *weight_directions)
    in_features = recycled_empty((*batch, *features.shape[-3:]) if want_features else (0,), features.dtype)
    in_weights = features.new_zeros((*batch, *weights.shape[-3:]) if want_weights else (0,))
    _call(
        key,
        batch,
        species,
        cotangent,
        features,
        weights,
        feature_directions,
        weight_directions,
        None,
        in_features if want_features else None,
        in_weights if want_weights else None,
    )
    return in_features, in_weights


def _call(
    key: str,
    batch: tuple[int, ...],
    species: Tensor,
    cotangent: Tensor | None,
    features: Tensor,
    weights: Tensor,
    feature_directions: list[Tensor],
    weight_directions: list[Tensor],
    *results: Tensor | None,
) -> None:
    n_nodes, n_species, channels = features.shape[-3], weights.shape[-3], features.shape[-1]
    species = species.contiguous()
    if n_nodes and (int(species.min()) < 0 or int(species.max()) >= n_species):
        raise species_error(species, n_species)
    if not any(result is not None and result.numel() for result in results):
        return
    operands = [cotangent, features, weights, *feature_directions, *weight_directions]
    contiguous = [None if operand is None else operand.contiguous() for operand in operands]
    pairs = [_address_and_stride(operand) for operand in contiguous]
    n_directions = len(feature_directions)
    kernel = getattr(cpu_extension(), f"symmetric_contraction_{str(features.dtype).removeprefix('torch.')}")
    kernel(
        _table(key),
        (batch[0] if batch else 1, n_nodes, n_species, channels),
        species.data_ptr(),
        *pairs[:3],
        pairs[3 : 3 + n_directions],
        pairs[3 + n_directions :],
        *(0 if result is None else result.data_ptr() for result in results),
        n_threads(),
    )


def species_error(species: Tensor, n_species: int) -> InputError:
    """The error for species numbers that have no weights."""
    wrong = ((species < 0) | (species >= n_species)).nonzero()[0].item()
    return InputError(f"species[{wrong}] is {int(species[int(wrong)])}; the weights have species 0 to {n_species - 1}")


def _batch_shape(*operands: Tensor) -> tuple[int, ...]:
    return next((tuple(operand.shape[:1]) for operand in operands if operand.ndim == 4), ())


def _address_and_stride(operand: Tensor | None) -> tuple[int, int]:
    if operand is None:
        return 0, 0
    return operand.data_ptr(), operand.stride(0) if operand.ndim == 4 else 0


@cache
def _table(key: str) -> Any:
    polynomial = contraction_polynomial(key)
    tables = {f.name: getattr(polynomial, f.name) for f in fields(polynomial)}
    plain = {name: entry.tolist() if isinstance(entry, np.ndarray) else entry for name, entry in tables.items()}
    return cpu_extension().SymmetricContractionTable(plain)


atexit.register(_table.cache_clear)  # while the extension module is still there to free them


def value_shape(
    key: str,
    dim_out: int,
    species: Tensor,
    features: Tensor,
    weights: Tensor,
    feature_directions: list[Tensor],
    weight_directions: list[Tensor],
) -> Tensor:
    batch = _batch_shape(features, weights, *feature_directions, *weight_directions)
    return features.new_empty((*batch, features.shape[-3], dim_out, features.shape[-1]))


def gradient_shape(
    key: str,
    want_features: bool,
    want_weights: bool,
    species: Tensor,
    cotangent: Tensor,
    features: Tensor,
    weights: Tensor,
    feature_directions: list[Tensor],
    weight_directions: list[Tensor],
) -> tuple[Tensor, Tensor]:
    """Empty tensors shaped as the results of the gradient operator; what is not wanted has no elements."""
    batch = _batch_shape(cotangent, features, weights, *feature_directions, *weight_directions)
    in_features = features.new_empty((*batch, *features.shape[-3:]) if want_features else (0,))
    return in_features, features.new_empty((*batch, *weights.shape[-3:]) if want_weights else (0,))
