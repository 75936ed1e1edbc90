"""A fairchem model, eSEN or UMA with merged experts, as our eSCN-MD."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from atomsym.core import InputError
from atomsym.models.escnmd import ESCNMD
from atomsym.models.escnmd.affine import AffineSO2
from atomsym.models.escnmd.block import Block, FeedForward
from atomsym.models.escnmd.networks import Affine, RadialNetwork
from atomsym.nn import MergedLayerNorm
from atomsym.workflows.convert.fairchem_config import ForeignESCNMD, config_of


def escnmd_from_arrays(foreign: ForeignESCNMD) -> ESCNMD:
    """Build the potential in double precision.

    The vector of charge, spin and data set is added to the scalars of each element and, after each layer's first norm,
    to its bias.

    Args:
        foreign: what the extractor read.

    Raises:
        InputError: if the model has a feature that ours lacks, or it is not said which of several is meant.
    """
    config = config_of(foreign)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = ESCNMD(config).to(torch.float64)
        weights = _Weights(foreign)
        rows = torch.tensor(config.elements)
        system = foreign.arrays["system"]
        _copy(model.embedding, weights["sphere_embedding.weight"][rows] + system, "sphere_embedding")
        _copy(model.senders, weights["source_embedding.weight"][rows], "source_embedding")
        _copy(model.receivers, weights["target_embedding.weight"][rows], "target_embedding")
        _fill_radial(model.degree_embedding.radial, weights, "edge_degree_embedding.rad_func.net")
        for number, block in enumerate(model.blocks):
            assert isinstance(block, Block)
            _fill_block(block, weights, f"blocks.{number}", system)
        _fill_norm(model.norm, weights, "norm")
        for layer, name in zip(model.readout.layers, (0, 2, 4), strict=True):
            _fill_affine(layer, weights, str(name), part="head")
        weights.require_used()
    return model.eval()


class _Weights:
    """The arrays of the foreign model, and which of them have found a place.

    Args:
        foreign: the model.
    """

    def __init__(self, foreign: ForeignESCNMD) -> None:
        self._arrays = foreign.arrays
        self._left = {name for name in foreign.arrays if name.startswith(("backbone.", "head."))}

    def __getitem__(self, name: str) -> Tensor:
        return self.take("backbone", name)

    def take(self, part: str, name: str) -> Tensor:
        """An array of the backbone or the head.

        Raises:
            InputError: if it is not there.
        """
        key = f"{part}.{name}"
        if key not in self._arrays:
            raise InputError(f"the model has no weights '{key}'; its layout is not that of eSEN and UMA")
        self._left.discard(key)
        return self._arrays[key]

    def require_used(self) -> None:
        """Refuse weights without a place, but for those of what charge, spin, data set and experts are known by.

        Raises:
            InputError: naming the first one.
        """
        system = ("charge_embedding.", "spin_embedding.", "dataset_embedding.", "mix_csd.")
        embeddings = (*system, "composition_embedding.", "routing_mlp.")
        left = sorted(name for name in self._left if not name.removeprefix("backbone.").startswith(embeddings))
        if left:
            raise InputError(f"the model has weights '{left[0]}', for which there is no place")


def _fill_block(block: Block, weights: _Weights, name: str, system: Tensor) -> None:
    _fill_norm(block.message_norm, weights, f"{name}.norm_1")
    block.message_norm.bias.add_(system)
    edges = f"{name}.edge_wise"
    _fill_radial(block.messages.radial, weights, f"{edges}.so2_conv_1.rad_func.net")
    _fill_so2(block.messages.first, weights, f"{edges}.so2_conv_1")
    _fill_so2(block.messages.second, weights, f"{edges}.so2_conv_2")
    _fill_norm(block.feed_forward_norm, weights, f"{name}.norm_2")
    _fill_feed_forward(block.feed_forward, weights, f"{name}.atom_wise")


def _copy(target: Tensor, source: Tensor, name: str) -> None:
    """Copy, shapes being equal.

    Raises:
        InputError: if they are not.
    """
    if target.shape != source.shape:
        raise InputError(f"{name} has the shape {tuple(source.shape)}; expected {tuple(target.shape)}")
    target.copy_(source)


def _fill_norm(target: MergedLayerNorm, weights: _Weights, name: str) -> None:
    _copy(target.weight, weights[f"{name}.affine_weight"].T, name)
    _copy(target.bias, weights[f"{name}.affine_bias"], name)


def _fill_affine(target: nn.Module, weights: _Weights, name: str, part: str = "backbone") -> None:
    assert isinstance(target, Affine)
    matrix = weights.take(part, f"{name}.weight")
    _copy(target.weight, matrix.T, name)
    _copy(target.bias, weights.take(part, f"{name}.bias"), name)


def _fill_radial(target: RadialNetwork, weights: _Weights, name: str) -> None:
    for layer, number in ((target.first, 0), (target.second, 3), (target.third, 6)):
        _fill_affine(layer, weights, f"{name}.{number}")
    for norm, number in zip(target.norms, (1, 4), strict=True):
        assert isinstance(norm, nn.LayerNorm)
        _copy(norm.weight, weights[f"{name}.{number}.weight"], name)
        _copy(norm.bias, weights[f"{name}.{number}.bias"], name)


def _fill_so2(target: AffineSO2, weights: _Weights, name: str) -> None:
    """Orders above 0 have two matrices one above the other there, and side by side here."""
    straight = weights[f"{name}.fc_m0.weight"]
    matrices = [straight.T * straight.shape[1] ** 0.5]
    for order in range(1, target.description.max_order + 1):
        both = weights[f"{name}.so2_m_conv.{order - 1}.fc.weight"]
        matrices.append(torch.cat([half.T for half in both.chunk(2)], 1) * (2 * both.shape[1]) ** 0.5)
    for matrix, shape in zip(matrices, target.description.shapes, strict=True):
        if tuple(matrix.shape) != shape:
            raise InputError(f"{name} has matrices of the shape {tuple(matrix.shape)}; expected {shape}")
    target.weights.copy_(torch.cat([matrix.flatten() for matrix in matrices]))
    _copy(target.bias, weights[f"{name}.fc_m0.bias"], name)


def _fill_feed_forward(target: FeedForward, weights: _Weights, name: str) -> None:
    up, down = weights[f"{name}.so3_linear_1.weight"], weights[f"{name}.so3_linear_2.weight"]
    gates = weights[f"{name}.scalar_mlp.0.weight"].unflatten(0, (up.shape[0] - 1, -1))
    _fill_degrees(target.up.weights, torch.cat([gates, up]), f"{name}.so3_linear_1")
    _fill_degrees(target.down.weights, down, f"{name}.so3_linear_2")
    gate_bias = weights[f"{name}.scalar_mlp.0.bias"].unflatten(0, (up.shape[0] - 1, -1))
    scalar_bias = weights[f"{name}.so3_linear_1.bias"].unsqueeze(0)
    _copy(target.up_bias, torch.cat([gate_bias, scalar_bias]).T, f"{name}.so3_linear_1.bias")
    _copy(target.down_bias, weights[f"{name}.so3_linear_2.bias"], f"{name}.so3_linear_2.bias")


def _fill_degrees(targets: Sequence[Tensor] | nn.ParameterList, matrices: Tensor, name: str) -> None:
    """One matrix (out, in) an output slot."""
    for target, matrix in zip(targets, matrices, strict=True):
        _copy(target, matrix.T * matrix.shape[1] ** 0.5, name)
