"""Spherical harmonics and their gradient form on the GPU: one vector per lane, everything in registers.

Inside, the harmonics are those of the C++ kernel: C(l, m) = P_l^m (z + i x)^m / (l + m)!, whose derivatives are
C(l−1, m) and half sums of C(l−1, m±1). The constants in the kernels are integers or halves, exact in every
precision; what turns C into the asked normalisation is a table.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from atomsym.kernels.spherical_harmonics.derivative_table import real_factors
from atomsym.kernels.triton_support import FUSED

_BLOCK = 128


def values(vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    """Y(v), shape (n, K); see ``spherical_harmonics``."""
    n, size = vectors.shape[0], (max_degree + 1) ** 2
    result = vectors.new_empty(n, size)
    if n:
        factors = real_factors(max_degree, normalization).to(vectors)
        block = min(_BLOCK, triton.next_power_of_2(n))
        arguments = (vectors.contiguous(), factors, result, n)
        _values_kernel[(triton.cdiv(n, block),)](
            *arguments, L=max_degree, K=size, NORMALIZE=normalize, BLOCK=block, **FUSED
        )
    return result


def vjp(grad: Tensor, vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    """∂(g·Y)/∂v, shape (n, 3)."""
    n, size = vectors.shape[0], (max_degree + 1) ** 2
    result = torch.empty_like(vectors, memory_format=torch.contiguous_format)
    if n:
        factors = real_factors(max_degree, normalization).to(vectors)
        block = min(_BLOCK, triton.next_power_of_2(n))
        arguments = (grad.contiguous(), vectors.contiguous(), factors, result, n)
        _vjp_kernel[(triton.cdiv(n, block),)](
            *arguments, L=max_degree, K=size, NORMALIZE=normalize, BLOCK=block, **FUSED
        )
    return result


@triton.jit
def _direction(x, y, z, NORMALIZE: tl.constexpr):
    """Direction, inverse length and squared length of the direction; zeros for a zero vector."""
    if NORMALIZE:
        scale = tl.maximum(tl.maximum(tl.abs(x), tl.abs(y)), tl.abs(z))
        zero = scale == 0
        scale = tl.where(zero, 1.0, scale)
        x, y, z = x / scale, y / scale, z / scale
        squared = x * x + y * y + z * z
        inverse = 1.0 / tl.sqrt(tl.where(zero, 1.0, squared))
        x, y, z = x * inverse, y * inverse, z * inverse
        inverse = tl.where(zero, 0.0, inverse / scale)
        squared = tl.where(zero, 0.0, x * x + y * y + z * z)
    else:
        squared = x * x + y * y + z * z
        inverse = tl.full(x.shape, 1.0, x.dtype)
    return x, y, z, inverse, squared


@triton.jit
def _values_kernel(
    vectors, factors, result, n, L: tl.constexpr, K: tl.constexpr, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = row < n
    x = tl.load(vectors + 3 * row, mask=inside, other=1.0)
    y = tl.load(vectors + 3 * row + 1, mask=inside, other=0.0)
    z = tl.load(vectors + 3 * row + 2, mask=inside, other=0.0)
    x, y, z, _, squared = _direction(x, y, z, NORMALIZE)
    real = tl.full(x.shape, 1.0, x.dtype)
    imaginary = tl.zeros(x.shape, x.dtype)
    for m in tl.static_range(0, L + 1):
        if m > 0:
            following = (z * real - x * imaginary) / (2 * m)
            imaginary = (z * imaginary + x * real) / (2 * m)
            real = following
        before = tl.zeros(x.shape, x.dtype)
        q = tl.full(x.shape, 1.0, x.dtype)
        for degree in tl.static_range(m, L + 1):
            if degree > m:
                following = ((2 * degree - 1) * y * q - squared * before) / ((degree - m) * (degree + m))
                before = q
                q = following
            centre = degree * degree + degree
            tl.store(result + row * K + centre + m, q * real * tl.load(factors + centre + m), mask=inside)
            if m > 0:
                tl.store(result + row * K + centre - m, q * imaginary * tl.load(factors + centre - m), mask=inside)


@triton.jit
def _vjp_kernel(
    grad, vectors, factors, result, n, L: tl.constexpr, K: tl.constexpr, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = row < n
    x = tl.load(vectors + 3 * row, mask=inside, other=1.0)
    y = tl.load(vectors + 3 * row + 1, mask=inside, other=0.0)
    z = tl.load(vectors + 3 * row + 2, mask=inside, other=0.0)
    x, y, z, inverse, squared = _direction(x, y, z, NORMALIZE)
    real = tl.full(x.shape, 1.0, x.dtype)
    imaginary = tl.zeros(x.shape, x.dtype)
    gx = tl.zeros(x.shape, x.dtype)
    gy = tl.zeros(x.shape, x.dtype)
    gz = tl.zeros(x.shape, x.dtype)
    # Every C(degree, m) of degree below L is met once and collects the gradients of the harmonics that lead to it.
    for m in tl.static_range(0, L):
        if m > 0:
            following = (z * real - x * imaginary) / (2 * m)
            imaginary = (z * imaginary + x * real) / (2 * m)
            real = following
        before = tl.zeros(x.shape, x.dtype)
        q = tl.full(x.shape, 1.0, x.dtype)
        for degree in tl.static_range(m, L):
            if degree > m:
                following = ((2 * degree - 1) * y * q - squared * before) / ((degree - m) * (degree + m))
                before = q
                q = following
            up = (degree + 1) * (degree + 1) + degree + 1  # centre of degree degree + 1
            c = q * real
            even = tl.load(grad + row * K + up + m, mask=inside, other=0.0) * tl.load(factors + up + m)
            even_up = tl.load(grad + row * K + up + m + 1, mask=inside, other=0.0) * tl.load(factors + up + m + 1)
            odd_up = tl.load(grad + row * K + up - m - 1, mask=inside, other=0.0) * tl.load(factors + up - m - 1)
            gy += even * c
            if m == 0:
                gz += 0.5 * even_up * c
                gx += 0.5 * odd_up * c
            else:
                s = q * imaginary
                odd = tl.load(grad + row * K + up - m, mask=inside, other=0.0) * tl.load(factors + up - m)
                even_low = tl.load(grad + row * K + up + m - 1, mask=inside, other=0.0) * tl.load(factors + up + m - 1)
                gy += odd * s
                if m == 1:  # order 0 leads to order 1 with twice the weight, and has no odd part
                    gz += 0.5 * ((even_up - 2 * even_low) * c + odd_up * s)
                    gx += 0.5 * (odd_up * c - (even_up + 2 * even_low) * s)
                else:
                    odd_low = tl.load(grad + row * K + up - m + 1, mask=inside, other=0.0)
                    odd_low = odd_low * tl.load(factors + up - m + 1)
                    gz += 0.5 * ((even_up - even_low) * c + (odd_up - odd_low) * s)
                    gx += 0.5 * ((odd_up + odd_low) * c - (even_up + even_low) * s)
    if NORMALIZE:
        along = gx * x + gy * y + gz * z
        gx = inverse * (gx - along * x)
        gy = inverse * (gy - along * y)
        gz = inverse * (gz - along * z)
    tl.store(result + 3 * row, gx, mask=inside)
    tl.store(result + 3 * row + 1, gy, mask=inside)
    tl.store(result + 3 * row + 2, gz, mask=inside)
