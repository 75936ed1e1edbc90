"""From the arrays of a mace-torch model to our MACE: the same function, exactly, in our layout and bases.

What differs and how it is absorbed:

- Our edge vector is sender minus receiver, MACE's the opposite: paths with an odd harmonic change sign.
- Coupling coefficients may differ in sign between versions of e3nn: paths take the ratio to ours.
- Factors in front of linear maps and paths: weights are multiplied with the ratio to ours.
- Product basis: MACE's coupling tensors are expressed in our orthonormal ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from atomsym.core import InputError
from atomsym.models.mace import MACE
from atomsym.nn import ACTIVATIONS, EquivariantLinear, Perceptron, SpeciesLinear
from atomsym.symmetry import Irrep, Irreps, parse_irreps, wigner_3j
from atomsym.workflows.convert.mace_config import ForeignMACE, config_of, species_order
from atomsym.workflows.convert.product_basis import change_of_basis

_SAME_UP_TO_SIGN = 1e-6  # coefficients kept in single precision deviate by 1e-8


class Block(NamedTuple):
    """One matrix of a foreign linear map with its factor: positions of the irreps, and (channels in, channels out)."""

    index_in: int
    index_out: int
    matrix: Tensor


def mace_from_arrays(foreign: ForeignMACE, head: str | None = None) -> MACE:
    """Build the potential in double precision.

    Args:
        foreign: what the extractor read.
        head: name of the head, needed if the model has several.

    Raises:
        InputError: if the model has a feature that ours lacks, or the head is not there or not named.
    """
    number = foreign.head_index(head)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = MACE(config_of(foreign, number)).to(torch.float64)
        for parameter in model.parameters():
            parameter.zero_()
        order = species_order(foreign)
        (block,) = _linear(foreign, "node_embedding.linear")
        model.embedding.copy_(block.matrix[order] * len(order) ** 0.5)
        for layer in range(model.config.n_layers):
            _fill_interaction(model, foreign, layer, order)
            _fill_product(model, foreign, layer, order)
        for position, readout in enumerate(model.readouts):
            network: Any = readout.network
            _fill_readout(network, foreign, f"readouts.{position}", number)
    return model.eval()


def _fill_interaction(model: MACE, foreign: ForeignMACE, layer: int, order: Tensor) -> None:
    interaction: Any = model.interactions[layer]
    name = f"interactions.{layer}"
    features, messages = model.config.features(layer), model.config.messages(layer)
    up = foreign.irreps(f"{name}.linear_up", "irreps_out")
    _fill_linear(
        interaction.up,
        {
            (features.items.index(up[b.index_out]), up[b.index_out]): b.matrix
            for b in _linear(foreign, f"{name}.linear_up")
        },
    )
    paths = list(_paths(foreign, f"{name}.conv_tp", features, interaction.channelwise))
    _fill_radial(interaction.radial, foreign, f"{name}.conv_tp_weights", paths, model.config.channels)
    slots = {path.foreign_slot: path.number for path in paths}
    down = foreign.irreps(f"{name}.linear", "irreps_out")
    scale = 1.0
    if interaction.density is None:  # one average for all layers; what a layer's own differs by goes to its weights
        scale = model.config.average_neighbors / foreign.modules[name]["average_neighbors"]
    else:
        matrices, layers = foreign.perceptron(f"{name}.density_fn")
        _fill_perceptron(interaction.density, [foreign.basis_scale() * matrices[0]], layers)
    blocks = {
        (slots[b.index_in], down[b.index_out]): scale * b.matrix
        for b in _linear(foreign, f"{name}.linear")
        if b.index_in in slots and down[b.index_out] in messages.items
    }
    _fill_linear(interaction.down, blocks)
    if not interaction.residual or foreign.modules[f"products.{layer}"]["use_sc"]:
        _fill_species_linear(interaction.skip, foreign, f"{name}.skip_tp", order)


class Path(NamedTuple):
    """One path of the convolution.

    Attributes:
        number: ours, which is also its slot in the output.
        foreign_slot: its slot in the output there.
        factor: ratio of the foreign coefficient to ours, with its sign.
        channels: of the foreign path, at most ours.
        columns: its weights in the output of the foreign radial network.
    """

    number: int
    foreign_slot: int
    factor: float
    channels: int
    columns: slice


def _paths(foreign: ForeignMACE, name: str, features: Irreps, product: Any) -> Iterator[Path]:
    described = foreign.modules[name]
    first, second, third = (foreign.irreps(name, f"irreps_{key}") for key in ("in1", "in2", "out"))
    own = {
        (
            product.irreps_in[p.index_in],
            product.irreps_edge[p.index_edge].degree,
            product.irreps_out[p.index_out],
        ): number
        for number, p in enumerate(product.paths)
    }
    start = 0
    for index_in, index_edge, index_out, mode, shape, factor in described["paths"]:
        if mode != "uvu" or shape[1] != 1:
            raise InputError(f"{name}: a path of kind '{mode}' {shape} is not supported")
        columns = slice(start, start + shape[0])
        start = columns.stop
        degrees = (first[index_in].degree, second[index_edge].degree, third[index_out].degree)
        number = own.get((first[index_in], degrees[1], third[index_out]))
        if number is None:
            if first[index_in] in features.items:
                raise InputError(
                    f"{name}: the path {first[index_in]} x {second[index_edge]} -> {third[index_out]} has no match"
                )
            continue  # from an irrep of the edges that the features lack, so that it is always zero
        ratio = factor * _sign(foreign, degrees) / product.paths[number].coefficient
        yield Path(number, index_out, ratio * (-1) ** degrees[1], shape[0], columns)


def _sign(foreign: ForeignMACE, degrees: tuple[int, int, int]) -> float:
    """Ratio of the foreign coupling coefficients to ours, ±1.

    Raises:
        InputError: if they differ by more than a sign.
    """
    theirs, ours = foreign.arrays["wigner." + "_".join(map(str, degrees))], wigner_3j(*degrees)
    for sign in (1.0, -1.0):
        if float((theirs - sign * ours).abs().max()) < _SAME_UP_TO_SIGN:
            return sign
    raise InputError(f"the model's coupling coefficients of degrees {degrees} are in another basis than e3nn's")


def _fill_radial(target: Perceptron, foreign: ForeignMACE, name: str, paths: Sequence[Path], channels: int) -> None:
    matrices, layers = foreign.perceptron(name)
    matrices[0] = matrices[0] * foreign.basis_scale()
    last = torch.zeros(matrices[-1].shape[0], target.sizes[-1], dtype=torch.float64)
    for path in paths:
        start = path.number * channels
        last[:, start : start + path.channels] = path.factor * matrices[-1][:, path.columns]
    _fill_perceptron(target, [*matrices[:-1], last], layers)


def _fill_perceptron(target: Perceptron, matrices: Sequence[Tensor], layers: Sequence[Mapping[str, Any]]) -> None:
    """Copy a network; factors behind its activations that differ from ours go to the weights after them."""
    carried = 1.0
    for weight, matrix, layer in zip(target.weights, matrices, layers, strict=True):
        weight.copy_(carried * layer["scale"] * matrix * weight.shape[0] ** 0.5)
        own = 1.0 if layer is layers[-1] else ACTIVATIONS[target.activation_name][1]
        carried = layer["factor"] / own


def _linear(foreign: ForeignMACE, name: str) -> Iterator[Block]:
    if foreign.arrays.get(f"{name}.bias", torch.empty(0)).numel():
        raise InputError(f"{name}: linear maps with biases are not supported")
    start, weight = 0, foreign.arrays[f"{name}.weight"].flatten()
    for index_in, index_out, shape, factor in foreign.modules[name]["paths"]:
        stop = start + shape[0] * shape[1]
        yield Block(index_in, index_out, factor * weight[start:stop].view(shape[0], shape[1]))
        start = stop


def _fill_linear(target: EquivariantLinear, blocks: Mapping[tuple[int, Irrep], Tensor]) -> None:
    """Blocks by (slot of the input, irrep); channels that the foreign map lacks stay zero."""
    weights = iter(target.weights)
    for irrep in target.irreps_out:
        slots = [slot for slot, found in enumerate(target.irreps_in) if found == irrep]
        if not slots:
            continue
        weight = next(weights)
        for position, slot in enumerate(slots):
            if (slot, irrep) in blocks:
                block = blocks[slot, irrep]
                start = position * target.channels_in
                weight[start : start + block.shape[0], : block.shape[1]] = block * weight.shape[0] ** 0.5


def _fill_species_linear(target: SpeciesLinear, foreign: ForeignMACE, name: str, order: Tensor) -> None:
    first, third = foreign.irreps(name, "irreps_in1"), foreign.irreps(name, "irreps_out")
    weight, start, found = foreign.arrays[f"{name}.weight"].flatten(), 0, {}
    for index_in, _, index_out, mode, shape, factor in foreign.modules[name]["paths"]:
        degree = first[index_in].degree
        if mode != "uvw" or first[index_in] != third[index_out]:
            raise InputError(f"{name}: a path of kind '{mode}' is not supported")
        stop = start + shape[0] * shape[1] * shape[2]
        matrix = weight[start:stop].view(*shape).transpose(0, 1)[order]
        start = stop
        # Coupling with a scalar is the identity over sqrt(2l + 1).
        found[third[index_out]] = matrix * (factor * _sign(foreign, (degree, 0, degree)) * (2 * degree + 1) ** -0.5)
    weights = iter(target.weights)
    for irrep in target.irreps_out:
        if irrep in target.irreps_in.items:
            weight_out = next(weights)
            if irrep in found:
                weight_out.copy_(found[irrep] / target.factor)


def _fill_product(model: MACE, foreign: ForeignMACE, layer: int, order: Tensor) -> None:
    product: Any = model.products[layer]
    name = f"products.{layer}"
    contraction = f"{name}.symmetric_contractions"
    inputs, outputs = foreign.irreps(contraction, "irreps_in"), foreign.irreps(contraction, "irreps_out")
    for block, coupling in zip(product.contraction.blocks, product.contraction.couplings, strict=True):
        irrep = product.contraction.irreps_out[block.output]
        if irrep not in outputs.items:
            continue
        key = f"{contraction}.{outputs.items.index(irrep)}.{block.order}"
        weight = foreign.arrays[f"{key}.weight"]
        basis = change_of_basis(foreign.coupling(key), coupling, _component_map(inputs, product.contraction.irreps_in))
        rows = order if product.weights.shape[0] > 1 else slice(None)
        if weight.shape[0] != product.weights.shape[0] or weight.shape[2] != model.config.channels:
            raise InputError(f"{key}: weights of shape {tuple(weight.shape)} do not fit the model")
        product.weights[:, block.paths] = torch.einsum("epc,pq->eqc", weight[rows], basis)
    irreps = foreign.irreps(f"{name}.linear", "irreps_out")
    positions = {irrep: slot for slot, irrep in enumerate(product.contraction.irreps_out)}
    _fill_linear(
        product.linear,
        {(positions[irreps[b.index_out]], irreps[b.index_out]): b.matrix
         for b in _linear(foreign, f"{name}.linear") if irreps[b.index_out] in positions},
    )  # fmt: skip


def _component_map(foreign: Irreps, own: Irreps) -> np.ndarray:
    """For each component of the foreign irreps its place among ours."""
    places = dict(zip(own, own.slices, strict=True))
    missing = [str(irrep) for irrep in foreign if irrep not in places]
    if missing:
        raise InputError(f"the model has messages of the irreps {', '.join(missing)}, which ours lacks ({own})")
    return np.concatenate([np.arange(places[irrep].start, places[irrep].stop) for irrep in foreign])


def _fill_readout(target: Perceptron, foreign: ForeignMACE, name: str, head: int) -> None:
    if len(target.weights) == 1:
        block = _scalar_block(foreign, f"{name}.linear")
        target.weights[0].copy_(block[:, head : head + 1] * target.sizes[0] ** 0.5)
        return
    first, second = _scalar_block(foreign, f"{name}.linear_1"), _scalar_block(foreign, f"{name}.linear_2")
    width, start = target.sizes[1], 0
    if foreign.modules[name]["num_heads"] > 1:  # each head reads its own part of the hidden layer
        start = head * width
    rows = slice(start, start + width)
    activation = foreign.modules[f"{name}.non_linearity"]["acts"][0]
    layers = [{"scale": 1.0, "factor": activation["factor"]}, {"scale": 1.0, "factor": 1.0}]
    _fill_perceptron(target, [first[:, rows], second[rows, head : head + 1]], layers)


def _scalar_block(foreign: ForeignMACE, name: str) -> Tensor:
    _, irreps = parse_irreps(foreign.modules[name]["irreps_in"])
    (block,) = [b for b in _linear(foreign, name) if irreps[b.index_in] == Irrep(0, 1)]
    return block.matrix
