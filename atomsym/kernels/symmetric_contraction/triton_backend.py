"""Triton operators of the symmetric contraction: rows of products of channel vectors, for one node block a program.

Values and feature gradients are both Σ_t c_t · (cotangent component) · Π_j A[index_tj] over the terms t of a row (an
output component, or an input component for the gradient), so that one kernel serves both. It gathers; nothing is
scattered and no atomics are needed. Weight gradients are sums over the nodes of a species, one program each.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from atomsym.core.errors import BackendError
from atomsym.kernels.symmetric_contraction.polynomial import contraction_polynomial
from atomsym.kernels.triton_support import FUSED

MAX_DIRECTIONS = 1
_NODES, _CHANNELS = 4, 64  # block of a program
_ONE = -1  # factor index of the constant 1, which pads the terms of lower order


@triton.jit
def _product(
    features, direction, batch, node, channel, mask, index_at, features_batch, direction_batch, dim_in, channels,
    FACTORS: tl.constexpr, DIRECTIONS: tl.constexpr,
):  # fmt: skip
    """Π_j A[index_j] and its derivative along the direction (zero without one)."""
    value = tl.where(mask, 1.0, 0.0).to(features.dtype.element_ty)
    slope = value * 0
    for j in tl.static_range(FACTORS):
        index = tl.load(index_at + j)
        offset = (node * dim_in + tl.maximum(index, 0)) * channels + channel
        a = tl.load(features + batch * features_batch + offset, mask=mask, other=0.0)
        a = tl.where(index >= 0, a, 1.0)
        if DIRECTIONS:
            v = tl.load(direction + batch * direction_batch + offset, mask=mask, other=0.0)
            v = tl.where(index >= 0, v, 0.0)
            slope = slope * a + value * v
        value = value * a
    return value, slope


@triton.jit
def _rows_kernel(
    out, cotangent, features, direction, coefficients, slopes, species,
    row_start, term_entry, term_output, term_scale, term_index,
    n_nodes, channels, dim_in, dim_out, n_rows, n_entries,
    cotangent_batch, features_batch, direction_batch, coefficients_batch, slopes_batch,
    FACTORS: tl.constexpr, HAS_COTANGENT: tl.constexpr, DIRECTIONS: tl.constexpr, HAS_SLOPES: tl.constexpr,
    NODES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    node_blocks = tl.cdiv(n_nodes, NODES)
    batch = (tl.program_id(0) // node_blocks).to(tl.int64)
    node = ((tl.program_id(0) % node_blocks) * NODES + tl.arange(0, NODES))[:, None].to(tl.int64)
    row = tl.program_id(1)
    channel = (tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS))[None, :]
    mask = (node < n_nodes) & (channel < channels)
    kind = tl.load(species + node, mask=node < n_nodes, other=0)
    total = tl.zeros((NODES, CHANNELS), dtype=out.dtype.element_ty)
    for term in range(tl.load(row_start + row), tl.load(row_start + row + 1)):
        value, slope = _product(
            features, direction, batch, node, channel, mask, term_index + term * FACTORS, features_batch,
            direction_batch, dim_in, channels, FACTORS, DIRECTIONS,
        )  # fmt: skip
        at = (kind * n_entries + tl.load(term_entry + term)) * channels + channel
        c = tl.load(coefficients + batch * coefficients_batch + at, mask=mask, other=0.0)
        if DIRECTIONS:
            part = c * slope
            if HAS_SLOPES:
                part += tl.load(slopes + batch * slopes_batch + at, mask=mask, other=0.0) * value
        else:
            part = c * value
        if HAS_COTANGENT:
            where = (node * dim_out + tl.load(term_output + term)) * channels + channel
            part *= tl.load(cotangent + batch * cotangent_batch + where, mask=mask, other=0.0)
        total += part * tl.load(term_scale + term).to(out.dtype.element_ty)
    tl.store(out + ((batch * n_nodes + node) * n_rows + row) * channels + channel, total, mask=mask)


@triton.jit
def _coefficient_gradient_kernel(
    out, cotangent, features, direction, node_order, species_start, entry_output, entry_index,
    n_species, channels, dim_in, dim_out, n_entries, cotangent_batch, features_batch, direction_batch,
    FACTORS: tl.constexpr, DIRECTIONS: tl.constexpr, NODES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    batch = (tl.program_id(0) // n_species).to(tl.int64)
    kind = tl.program_id(0) % n_species
    entry = tl.program_id(1)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    total = tl.zeros((CHANNELS,), dtype=out.dtype.element_ty)
    output = tl.load(entry_output + entry)
    last = tl.load(species_start + kind + 1)
    for first in range(tl.load(species_start + kind), last, NODES):
        position = (first + tl.arange(0, NODES))[:, None]
        node = tl.load(node_order + position, mask=position < last, other=0)
        mask = (position < last) & (channel[None, :] < channels)
        value, slope = _product(
            features, direction, batch, node, channel[None, :], mask, entry_index + entry * FACTORS, features_batch,
            direction_batch, dim_in, channels, FACTORS, DIRECTIONS,
        )  # fmt: skip
        where = batch * cotangent_batch + (node * dim_out + output) * channels + channel[None, :]
        g = tl.load(cotangent + where, mask=mask, other=0.0)
        total += tl.sum(g * (slope if DIRECTIONS else value), axis=0)
    at = ((batch * n_species + kind) * n_entries + entry) * channels + channel
    tl.store(out + at, total, mask=channel < channels)


@dataclass(frozen=True, eq=False)
class _Terms:
    """Terms of all rows: (T,) entry, cotangent component and integer multiplicity, (T, factors) indices of A."""

    row_start: Tensor
    entry: Tensor
    output: Tensor
    scale: Tensor
    index: Tensor


@dataclass(frozen=True, eq=False)
class _Tables:
    """Tables of one contraction on one device; ``fold`` (n_entries, n_paths) makes coefficients from weights."""

    value: _Terms
    gradient: _Terms
    entry_output: Tensor
    entry_index: Tensor
    fold: Tensor


def value(
    key: str,
    dim_out: int,
    species: Tensor,
    features: Tensor,
    weights: Tensor,
    feature_directions: list[Tensor],
    weight_directions: list[Tensor],
) -> Tensor:
    """As ``native.value``, for at most one direction."""
    tables = _tables(key, features.device)
    operands = [features, weights, *feature_directions, *weight_directions]
    batch = next((o.shape[0] for o in operands if o.ndim == 4), 0)
    result = _rows(tables, tables.value, dim_out, dim_out, batch, species, None, features, weights, feature_directions,
                   weight_directions)  # fmt: skip
    return result if batch else result[0]


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
    """As ``native.gradient``, for at most one direction."""
    tables = _tables(key, features.device)
    operands = [cotangent, features, weights, *feature_directions, *weight_directions]
    batch = next((o.shape[0] for o in operands if o.ndim == 4), 0)
    in_features = in_weights = features.new_empty(0)
    if want_features:
        in_features = _rows(tables, tables.gradient, features.shape[-2], cotangent.shape[-2], batch, species,
                            cotangent, features, weights, feature_directions, weight_directions)  # fmt: skip
        in_features = in_features if batch else in_features[0]
    if want_weights:
        n_species = weights.shape[-3]
        in_weights = _weight_gradient(tables, n_species, batch, species, cotangent, features, feature_directions)
        in_weights = in_weights if batch else in_weights[0]
    return in_features, in_weights


def _rows(
    tables: _Tables,
    terms: _Terms,
    n_rows: int,
    dim_out: int,
    batch: int,
    species: Tensor,
    cotangent: Tensor | None,
    features: Tensor,
    weights: Tensor,
    feature_directions: list[Tensor],
    weight_directions: list[Tensor],
) -> Tensor:
    """Every row of ``terms``, shape (batch or 1, n_nodes, n_rows, channels)."""
    _check_directions(feature_directions)
    n_nodes, dim_in, channels = features.shape[-3:]
    result = features.new_zeros((max(batch, 1), n_nodes, n_rows, channels))
    if not result.numel() or not len(terms.entry):
        return result
    fold = tables.fold.to(weights.dtype)
    coefficients = torch.einsum("ep,...pc->...ec", fold, weights).contiguous()
    slopes = torch.einsum("ep,...pc->...ec", fold, weight_directions[0]).contiguous() if weight_directions else None
    features = features.contiguous()
    direction = feature_directions[0].contiguous() if feature_directions else features
    g = features if cotangent is None else cotangent.contiguous()
    block = min(_CHANNELS, triton.next_power_of_2(channels))
    grid = (max(batch, 1) * triton.cdiv(n_nodes, _NODES), n_rows, triton.cdiv(channels, block))
    _rows_kernel[grid](
        result, g, features, direction, coefficients, coefficients if slopes is None else slopes, species.contiguous(),
        terms.row_start, terms.entry, terms.output, terms.scale, terms.index,
        n_nodes, channels, dim_in, dim_out, n_rows, len(tables.fold),
        _stride(g), _stride(features), _stride(direction), _stride(coefficients),
        0 if slopes is None else _stride(slopes),
        FACTORS=terms.index.shape[1], HAS_COTANGENT=cotangent is not None, DIRECTIONS=len(feature_directions),
        HAS_SLOPES=slopes is not None, NODES=_NODES, CHANNELS=block, **FUSED,
    )  # fmt: skip
    return result


def _weight_gradient(
    tables: _Tables,
    n_species: int,
    batch: int,
    species: Tensor,
    cotangent: Tensor,
    features: Tensor,
    feature_directions: list[Tensor],
) -> Tensor:
    """Shape (batch or 1, n_species, n_paths, channels)."""
    _check_directions(feature_directions)
    dim_in, channels = features.shape[-2:]
    n_entries, fold = len(tables.fold), tables.fold.to(features.dtype)
    in_coefficients = features.new_zeros((max(batch, 1), n_species, n_entries, channels))
    if in_coefficients.numel() and species.numel():
        features, cotangent = features.contiguous(), cotangent.contiguous()
        direction = feature_directions[0].contiguous() if feature_directions else features
        start = torch.zeros(n_species + 1, dtype=torch.int64, device=species.device)
        start[1:] = torch.bincount(species, minlength=n_species).cumsum(0)
        block = min(_CHANNELS, triton.next_power_of_2(channels))
        _coefficient_gradient_kernel[(max(batch, 1) * n_species, n_entries, triton.cdiv(channels, block))](
            in_coefficients, cotangent, features, direction, torch.argsort(species, stable=True), start,
            tables.entry_output, tables.entry_index,
            n_species, channels, dim_in, cotangent.shape[-2], n_entries,
            _stride(cotangent), _stride(features), _stride(direction),
            FACTORS=tables.entry_index.shape[1], DIRECTIONS=len(feature_directions), NODES=16, CHANNELS=block, **FUSED,
        )  # fmt: skip
    return torch.einsum("ep,bsec->bspc", fold, in_coefficients)


def _check_directions(directions: list[Tensor]) -> None:
    if len(directions) > MAX_DIRECTIONS:
        raise BackendError(
            "symmetric_contraction: triton can be differentiated twice, not more often; use backend='reference'"
        )


def _stride(operand: Tensor) -> int:
    return operand.stride(0) if operand.ndim == 4 else 0


@cache
def _tables(key: str, device: torch.device) -> _Tables:
    polynomial = contraction_polynomial(key)
    components = polynomial.product_components()
    prefix, factor = polynomial.entry_prefix.tolist(), polynomial.entry_factor.tolist()
    monomials = [(*components[p], f) for p, f in zip(prefix, factor, strict=True)]
    outputs = polynomial.entry_output.tolist()
    factors = max(map(len, monomials), default=1)
    derivative = [
        (i, e, outputs[e], monomials[e].count(i), tuple(m for j, m in enumerate(monomials[e]) if j != where))
        for e in range(len(monomials))
        for i in sorted(set(monomials[e]))
        for where in [monomials[e].index(i)]
    ]
    fold = np.zeros((polynomial.n_entries, polynomial.n_paths))
    rows = np.repeat(np.arange(polynomial.n_entries), np.diff(polynomial.fold_start))
    fold[rows, polynomial.fold_path] = polynomial.fold_coefficient
    plain = [(o, e, o, 1, m) for e, (o, m) in enumerate(zip(outputs, monomials, strict=True))]
    return _Tables(
        value=_terms(plain, polynomial.dim_out, factors, device),
        gradient=_terms(sorted(derivative), polynomial.dim_in, factors - 1, device),
        entry_output=torch.tensor(outputs, dtype=torch.int32, device=device),
        entry_index=_padded(monomials, factors, device),
        fold=torch.from_numpy(fold).to(device),
    )


def _terms(
    terms: list[tuple[int, int, int, int, tuple[int, ...]]], n_rows: int, factors: int, device: torch.device
) -> _Terms:
    """From (row, entry, cotangent component, multiplicity, indices), sorted by row."""
    row, entry, output, scale = (torch.tensor([t[k] for t in terms], dtype=torch.int32) for k in range(4))
    start = torch.zeros(n_rows + 1, dtype=torch.int32)
    start[1:] = torch.bincount(row, minlength=n_rows).cumsum(0)
    index = _padded([t[4] for t in terms], factors, device)
    return _Terms(start.to(device), entry.to(device), output.to(device), scale.to(device), index)


def _padded(monomials: list[tuple[int, ...]], factors: int, device: torch.device) -> Tensor:
    rows = [[*m, *[_ONE] * (factors - len(m))] for m in monomials]
    return torch.tensor(rows, dtype=torch.int32, device=device).reshape(len(rows), factors)
