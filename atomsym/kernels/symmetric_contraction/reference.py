"""The formula in plain torch, with dense coupling tensors: clear, differentiable to any order, slow."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from atomsym.kernels.symmetric_contraction.description import SymmetricContraction


def contract(node_features: Tensor, weights: Tensor, species: Tensor, contraction: SymmetricContraction) -> Tensor:
    """Evaluate the contraction block by block; arguments and result as ``symmetric_contraction``."""
    features = node_features.transpose(1, 2)
    # Zeros that depend on both operands, so that results without paths can be differentiated like others.
    empty = features[..., :0].sum(-1, keepdim=True) + weights[:0].sum()
    outputs = []
    for output, irrep in enumerate(contraction.irreps_out):
        result = empty.expand(*features.shape[:2], irrep.dim)
        for index, block in enumerate(contraction.blocks):
            if block.output == output and block.paths.stop > block.paths.start:
                tensors = _dense(contraction.key, index).to(dtype=features.dtype, device=features.device)
                result = result + _one_order(features, weights[:, block.paths][species], tensors)
        outputs.append(result)
    if not outputs:
        return node_features.new_zeros((node_features.shape[0], 0, node_features.shape[2]))
    return torch.cat(outputs, dim=2).transpose(1, 2)


def _one_order(features: Tensor, weights: Tensor, tensors: Tensor) -> Tensor:
    """Σ_η w[n,η,c] Σ U[η,M,i1…iν] a[n,c,i1]…a[n,c,iν]; shape (n, channels, 2L + 1)."""
    partial = torch.tensordot(weights.transpose(1, 2), tensors, dims=1)
    while partial.ndim > 3:
        flat = partial.flatten(2, -2)
        partial = (flat @ features.unsqueeze(-1)).squeeze(-1).unflatten(2, partial.shape[2:-1])
    return partial


@cache
def _dense(key: str, block: int) -> Tensor:
    return SymmetricContraction.from_key(key).couplings[block].tensors()
