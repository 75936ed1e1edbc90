"""Between this package's layout and e3nn's, for weights and features that come from e3nn models, and for tests.

e3nn keeps features flat, irrep after irrep, with the channel before the component inside an irrep; here channels are
a last axis of their own. Nothing of e3nn is imported.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.kernels.tensor_product.product import ChannelwiseProduct
from atomsym.symmetry import Irreps


def e3nn_permutation(irreps: Irreps, channels: int) -> Tensor:
    """Index p such that ``features.flatten(-2)[..., p]`` is e3nn's flat layout.

    Args:
        irreps: irreps of the features, each with ``channels`` copies.
        channels: number of channels.

    Returns:
        Shape (irreps.dim * channels,), int64; ``torch.argsort`` of it goes back.

    Example:
        >>> e3nn_permutation(Irreps.parse("1o"), 2)
        tensor([0, 2, 4, 1, 3, 5])
    """
    index = torch.arange(irreps.dim * channels).reshape(irreps.dim, channels)
    return torch.cat([index[part].T.reshape(-1) for part in irreps.slices] or [index.reshape(-1)])


def to_e3nn(features: Tensor, irreps: Irreps) -> Tensor:
    """Features (..., irreps.dim, channels) as e3nn's flat (..., irreps.dim * channels)."""
    channels = features.shape[-1]
    return features.flatten(-2)[..., e3nn_permutation(irreps, channels).to(features.device)]


def from_e3nn(flat: Tensor, irreps: Irreps, channels: int) -> Tensor:
    """e3nn's flat features (..., irreps.dim * channels) as (..., irreps.dim, channels)."""
    back = torch.argsort(e3nn_permutation(irreps, channels)).to(flat.device)
    return flat[..., back].unflatten(-1, (irreps.dim, channels))


def e3nn_instructions(product: ChannelwiseProduct) -> list[tuple[int, int, int, str, bool, float]]:
    """Instructions for e3nn's ``TensorProduct``, one a path, for 'component' and 'element' normalisation.

    Weights (n_edges, n_paths, channels) flattened over the last two axes are then e3nn's weights. The path weight is
    coefficient² · (paths of the slot) / (2 l_out + 1), from which e3nn makes the coefficient back; its sign is lost.
    """
    sharing = [0] * len(product.irreps_out)
    for path in product.paths:
        sharing[path.index_out] += 1
    return [
        (
            path.index_in,
            path.index_edge,
            path.index_out,
            "uvu",
            True,
            path.coefficient**2 * sharing[path.index_out] / product.irreps_out[path.index_out].dim,
        )
        for path in product.paths
    ]
