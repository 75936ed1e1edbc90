"""Logistic gates: scalars through SiLU, components of degree l > 0 times a number between 0 and 1."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.kernels.silu import silu


def order_gate(rows: Tensor, max_degree: int, max_order: int, channels: int) -> Tensor:
    """Gate rows by order, in the frame of an edge; degree l > 0 has one gate for all its orders.

    Args:
        rows: shape (n, width): max_degree · channels gates before the logistic function, then rows by order, channels
            last (see ``kernels.so2_convolution``).
        max_degree, max_order: L and the largest order.
        channels: of the rows.

    Returns:
        Shape (n, n_rows · channels).
    """
    sizes = [max_degree * channels, channels, max_degree * channels]
    sizes += [2 * (max_degree - order + 1) * channels for order in range(1, max_order + 1)]
    logits, scalars, *orders = rows.split(sizes, 1)
    gates = torch.sigmoid(logits).unflatten(1, (1, max_degree, channels))
    gated = [silu(scalars)]
    for order, part in enumerate(orders):
        signs, first = (2, order - 1) if order else (1, 0)
        gated.append((part.unflatten(1, (signs, -1, channels)) * gates[:, :, first:]).flatten(1))
    return torch.cat(gated, 1)


def degree_gate(features: Tensor, max_degree: int) -> Tensor:
    """Gate features of atoms.

    Args:
        features: shape (n, max_degree + (max_degree + 1)², channels): gates before the logistic function, then degrees
            0 … L.
        max_degree: L.

    Returns:
        Shape (n, (max_degree + 1)², channels).
    """
    parts = features.split([max_degree, *(2 * degree + 1 for degree in range(max_degree + 1))], 1)
    gates = torch.sigmoid(parts[0])
    gated = [part * gates[:, degree : degree + 1] for degree, part in enumerate(parts[2:])]
    return torch.cat([silu(parts[1]), *gated], 1)
