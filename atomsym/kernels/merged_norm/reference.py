"""The merged norm in plain torch. The oracle."""

from __future__ import annotations

import torch
from torch import Tensor


def reference_merged_norm(features: Tensor, shares: list[float], epsilon: float) -> Tensor:
    """See ``merged_norm``."""
    z = centred(features)
    squared = z.square().mean(2) @ z.new_tensor(shares)
    return z * (squared + epsilon).rsqrt()[:, None, None]


def centred(features: Tensor) -> Tensor:
    """The features with the mean over the channels taken from component 0."""
    scalars = features[:, :1] - features[:, :1].mean(2, keepdim=True)
    return torch.cat((scalars, features[:, 1:]), 1)
