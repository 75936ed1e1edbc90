"""From the arrays of a nequip model to our NequIP: the same function, exactly, in our layout.

What differs and how it is absorbed:

- Radial basis: theirs has another factor, which the first layer of the radial networks takes.
- Coupling coefficients: their signs and factors with respect to ours go to the last layer of the radial networks.
- Self-connections are linear in the embedding of the element there, and have a matrix for each element here.
- Channels: irreps with fewer than others are widened by weights that are zero, and stay zero in all layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from atomsym.core import InputError
from atomsym.models.nequip import NequIP
from atomsym.models.nequip.layer import InteractionLayer
from atomsym.nn import ACTIVATIONS, EquivariantLinear, Gate, Perceptron, SpeciesLinear
from atomsym.symmetry import Irrep, wigner_3j
from atomsym.workflows.convert.nequip_config import ForeignNequIP, basis_scale, config_of

_SAME = 1e-6  # coefficients kept in single precision deviate by 1e-8
Slots = dict[tuple[str, Irrep], int]
"""Where scalars, gates and gated irreps lie in what a gate takes; a gate is known by what it gates."""


def nequip_from_arrays(foreign: ForeignNequIP) -> NequIP:
    """Build the potential in double precision.

    Args:
        foreign: what the extractor read.

    Raises:
        InputError: if the model has a feature that ours lacks, or it is not said which of several is meant.
    """
    config = config_of(foreign)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = NequIP(config).to(torch.float64)
        for parameter in model.parameters():
            parameter.zero_()
        table = foreign.arrays["embedding"][foreign.order] * len(config.elements) ** 0.5
        model.embedding[:, : table.shape[1]] = table
        if model.frequencies is not None:
            model.frequencies.copy_(foreign.arrays["bessel"] * (math.pi / config.cutoff))
        factors = {Irrep(0, 1): 1.0}  # of the features that enter a layer, with respect to ours
        for number, layer in enumerate(model.layers):
            assert isinstance(layer, InteractionLayer)
            _fill_layer(layer, foreign, number, factors)
            factors = _gate_factors(foreign.layers[number])
        first, *rest = foreign.network("readout")
        _fill_network(model.readout, [first * factors[Irrep(0, 1)], *rest])
    return model.eval()


def _gate_factors(about: Mapping[str, Any]) -> dict[Irrep, float]:
    """Factors of the features that leave a layer with respect to ours: e3nn estimates those of activations."""
    both = {**about["functions"], **about["gates"]}
    return {Irrep.parse(irrep): factor / ACTIVATIONS[name][1] for irrep, (name, factor) in both.items()}


def _fill_layer(layer: InteractionLayer, foreign: ForeignNequIP, number: int, factors: Mapping[Irrep, float]) -> None:
    name, about, arrays = f"layers.{number}", foreign.layers[number], foreign.arrays
    slots = _slots(layer.gate)
    features = layer.up.irreps_in
    ups = {
        (slot, slot): (0, factors[irrep] * arrays[f"{name}.up.{irrep}"])
        for slot, irrep in enumerate(features)
        if f"{name}.up.{irrep}" in arrays
    }
    _fill_linear(layer.up, [(*key, *block) for key, block in ups.items()])
    paths = _paths(layer, foreign, number)
    matrices = foreign.network(f"{name}.radial")
    matrices[0] = matrices[0] * basis_scale(foreign)
    last = torch.zeros(matrices[-1].shape[0], layer.radial.sizes[-1], dtype=torch.float64)
    blocks = []
    for path, (own, ratio) in zip(about["paths"], paths, strict=True):
        start = own * layer.up.channels_out + path["offset"]
        columns = slice(*path["columns"])
        last[:, start : start + path["channels"]] = ratio * matrices[-1][:, columns]
        for (kind, irrep), slot in slots.items():
            key = f"{name}.down.{path['slot']}.{kind}.{irrep}"
            if key in arrays and layer.down.irreps_in[own] == layer.down.irreps_out[slot]:
                blocks.append((own, slot, path["offset"], arrays[key]))
    _fill_network(layer.radial, [*matrices[:-1], last])
    _fill_linear(layer.down, blocks)
    if about["has_skip"]:
        _fill_species_linear(layer.skip, foreign, f"{name}.skip", slots, factors)


def _slots(gate: Gate) -> Slots:
    irreps = list(gate.irreps_out)
    scalars = [("scalars", irrep) for irrep in irreps if irrep.degree == 0]
    others = [irrep for irrep in irreps if irrep.degree > 0]
    keys = [*scalars, *(("gates", irrep) for irrep in others), *(("gated", irrep) for irrep in others)]
    return {key: slot for slot, key in enumerate(keys)}


def _paths(layer: InteractionLayer, foreign: ForeignNequIP, number: int) -> list[tuple[int, float]]:
    """Of each foreign path ours, and the ratio of the coefficients.

    Raises:
        InputError: if there is none, or their coefficients are not a multiple of ours.
    """
    product: Any = layer.product
    own = {
        (product.irreps_in[p.index_in], product.irreps_edge[p.index_edge].degree, product.irreps_out[p.index_out]): k
        for k, p in enumerate(product.paths)
    }
    found = []
    for position, path in enumerate(foreign.layers[number]["paths"]):
        first, third, degree = Irrep.parse(path["in"]), Irrep.parse(path["out"]), path["degree"]
        coupled = f"{first} x degree {degree} -> {third} in layer {number}"
        if (first, degree, third) not in own:
            raise InputError(f"the path {coupled} has no match")
        match = own[first, degree, third]
        ours = wigner_3j(first.degree, degree, third.degree) * product.paths[match].coefficient
        theirs = foreign.arrays[f"layers.{number}.coupling.{position}"]
        ratio = float((theirs * ours).sum() / ours.square().sum())
        if float((theirs - ratio * ours).abs().max()) > _SAME * float(ours.abs().max()):
            raise InputError(f"the coupling coefficients of {coupled} are in another basis than e3nn's")
        found.append((match, ratio))
    return found


def _fill_network(target: Perceptron, matrices: Sequence[Tensor]) -> None:
    """Copy a network, widened by zeros; its activations have no factors, ours have."""
    gain = 1.0
    for weight, matrix in zip(target.weights, matrices, strict=True):
        rows, columns = matrix.shape
        weight[:rows, :columns] = matrix * (weight.shape[0] ** 0.5 / gain)
        gain = ACTIVATIONS[target.activation_name][1]


def _fill_linear(target: EquivariantLinear, blocks: Iterable[tuple[int, int, int, Tensor]]) -> None:
    """Blocks as (slot of the input, slot of the output, first channel of the input, matrix)."""
    known = set(target.irreps_in)
    weights = dict(zip([s for s, irrep in enumerate(target.irreps_out) if irrep in known], target.weights, strict=True))
    for slot_in, slot_out, offset, matrix in blocks:
        weight, irrep = weights[slot_out], target.irreps_out[slot_out]
        position = sum(found == irrep for found in target.irreps_in[:slot_in])
        start = position * target.channels_in + offset
        weight[start : start + matrix.shape[0], : matrix.shape[1]] = matrix * weight.shape[0] ** 0.5


def _fill_species_linear(
    target: SpeciesLinear, foreign: ForeignNequIP, name: str, slots: Slots, factors: Mapping[Irrep, float]
) -> None:
    known = set(target.irreps_in)
    weights = dict(zip([s for s, irrep in enumerate(target.irreps_out) if irrep in known], target.weights, strict=True))
    for (kind, irrep), slot in slots.items():
        matrix = foreign.arrays.get(f"{name}.{kind}.{irrep}")
        if matrix is not None:
            factor = factors[target.irreps_out[slot]] / target.factor
            weights[slot][:, : matrix.shape[1], : matrix.shape[2]] = matrix[foreign.order] * factor
