"""A random model in the layout of ``extract_nequip``, and its energies straight from the equations.

Neither needs nequip: the equations are evaluated edge by edge, with nothing of the potential that is tested but the
harmonics and coupling coefficients, which the extractor asks the model for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.symmetry import Irrep, wigner_3j
from atomsym.workflows.convert.extract_nequip import FORMAT
from atomsym.workflows.convert.nequip_config import ForeignNequIP, multiplicities

CUTOFF, POWER, RADIAL, DEGREE = 4.0, 5, 4, 1
NAMES, NUMBERS = ["O", "H", "C"], {8: 0, 1: 1, 6: 2}  # types are in no order
FACTORS = {"silu": 1.7, "tanh": 1.6}  # of activations, which are not ours
LAYERS: list[dict[str, str]] = [  # widths differ by irrep and layer, and irreps are in no order
    {"irreps_in": "3x0e", "scalars": "5x0e", "gated": "2x1o"},
    {"irreps_in": "5x0e+2x1o", "scalars": "4x0e", "gated": "3x1o+2x1e"},
    {"irreps_in": "4x0e+3x1o+2x1e", "scalars": "2x0o+4x0e", "gated": "3x1o+2x1e"},
    {"irreps_in": "2x0o+4x0e+3x1o+2x1e", "scalars": "4x0e", "gated": "4x1e+3x1o"},
    {"irreps_in": "4x0e+4x1e+3x1o", "scalars": "4x0e", "gated": "3x1o"},
    {"irreps_in": "4x0e+3x1o", "scalars": "4x0e", "gated": ""},
]
"""As many as pseudoscalars need to reach the energy."""


def random_model(**changes: Any) -> ForeignNequIP:
    """Random weights; entries of the description are replaced."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return (
            torch.randn(*shape, generator=generator, dtype=torch.float64)
            * max(shape[-2] if len(shape) > 1 else 1, 1) ** -0.5
        )

    def positive(*shape: int) -> Tensor:
        return 1 + 0.3 * torch.rand(*shape, generator=generator, dtype=torch.float64)

    harmonics = spherical_harmonics(torch.tensor([[0.6, 0.0, -0.8]], dtype=torch.float64), DEGREE)[0]
    arrays: dict[str, Tensor] = {
        "embedding": 3 * draw(3, 3), "harmonics": harmonics,
        "bessel": torch.arange(1.0, RADIAL + 1).double() * positive(RADIAL),
        "scales": 10 * positive(3), "shifts": 3 * draw(3), "pair_cutoffs": CUTOFF / positive(3, 3),
        "nuclear_charges": torch.tensor([8.0, 1.0, 6.0], dtype=torch.float64),
    }  # fmt: skip
    neighbors = 5 * positive(3)
    layers = []
    for number, shapes in enumerate(LAYERS):
        name, features = f"layers.{number}", multiplicities(shapes["irreps_in"])
        outputs = {kind: multiplicities(shapes[kind]) for kind in ("scalars", "gated")}
        arrays[f"{name}.neighbors"] = neighbors
        arrays |= {f"{name}.up.{irrep}": draw(n, n) for irrep, n in features.items()}
        paths: list[dict[str, Any]] = []
        columns = 0
        for irrep, n in features.items():
            for degree in range(DEGREE + 1):
                for third in irrep * Irrep(degree, (-1) ** degree):
                    if third not in outputs["scalars"] | outputs["gated"]:
                        continue
                    key = f"{name}.down.{len(paths)}"
                    for kind, irreps in outputs.items():
                        if third in irreps:
                            arrays[f"{key}.{kind}.{third}"] = draw(n, irreps[third])
                    if third == Irrep(0, 1):
                        arrays |= {f"{key}.gates.{gated}": draw(n, m) for gated, m in outputs["gated"].items()}
                    arrays[f"{name}.coupling.{len(paths)}"] = (
                        wigner_3j(irrep.degree, degree, third.degree) * draw(1) * 3
                    )
                    paths.append({
                        "in": str(irrep), "degree": degree, "out": str(third), "offset": 0, "channels": n,
                        "columns": [columns, columns + n], "slot": len(paths),
                    })  # fmt: skip
                    columns += n
        width = 4 + number % 3
        arrays |= {f"{name}.radial.0": 3 * draw(RADIAL, width), f"{name}.radial.1": 2 * draw(width, columns)}
        if number:
            for kind, irreps in outputs.items():
                for irrep, n in irreps.items():
                    if irrep in features:
                        arrays[f"{name}.skip.{kind}.{irrep}"] = draw(3, features[irrep], n)
            for irrep, n in outputs["gated"].items():
                arrays[f"{name}.skip.gates.{irrep}"] = draw(3, features[Irrep(0, 1)], n)
        functions = {str(irrep): "silu" if irrep.parity == 1 else "tanh" for irrep in outputs["scalars"]}
        layers.append({
            **shapes, "resnet": False, "nonlinearity": "Gate", "has_skip": number > 0, "paths": paths,
            "functions": {irrep: [function, FACTORS[function]] for irrep, function in functions.items()},
            "gates": {str(irrep): ["silu", FACTORS["silu"]] for irrep in outputs["gated"]},
            "radial": {"activations": ["silu"], "biased": False},
        })  # fmt: skip
    arrays |= {"readout.0": draw(4, 6), "readout.1": draw(6, 1)}
    kinds = ["NodeTypeEmbed", "SphericalHarmonicEdgeAttrs", "EdgeLengthNormalizer", "BesselEdgeLengthEncoding",
             "ApplyFactor", *["ConvNetLayer"] * len(LAYERS), "ScalarMLP", "PerTypeScaleShift", "ZBL",
             "AtomwiseReduce"]  # fmt: skip
    description: dict[str, Any] = {
        "format": FORMAT, "class": "ForceStressOutput", "parts": [[kind.lower(), kind] for kind in kinds],
        "packages": ["e3nn", "nequip", "torch"], "heads": ["sole_model"], "head": "sole_model", "type_names": NAMES,
        "layers": layers, "graph_fields": [], "harmonics": "1x0e+1x1o", "cutoff": CUTOFF, "envelope_power": 5.0,
        "basis_factor": 0.4, "readout": {"activations": ["silu"], "biased": False}, "sum": ["sum", 1.0],
        "repulsion": {"power": 3.0, "prefactor": 0.5 * 14.399645}, "versions": {"nequip": "0"},
    }  # fmt: skip
    return ForeignNequIP(description | changes, arrays)


def with_layer(foreign: ForeignNequIP, number: int, **changes: Any) -> ForeignNequIP:
    """The same with other settings of a layer."""
    layers = [{**layer, **(changes if k == number else {})} for k, layer in enumerate(foreign.layers)]
    return replace(foreign, description={**foreign.description, "layers": layers})


def energies_by_equations(foreign: ForeignNequIP, numbers: list[int], positions: Tensor) -> Tensor:
    """Energies of the atoms with those of isolated atoms, shape (n_atoms,), eV."""
    a, about, n = foreign.arrays, foreign.description, len(numbers)
    types = [NUMBERS[number] for number in numbers]
    silu = torch.nn.functional.silu
    cutoffs = a["pair_cutoffs"]

    def envelope(x: float, p: float) -> float:
        weight = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
        return weight if x < 1 else 0.0

    edges = []
    for i in range(n):
        for j in range(n):
            vector = positions[j] - positions[i]
            x = float(vector.norm() / cutoffs[types[i], types[j]])
            if i != j and x < 1:
                k = math.pi * a["bessel"]
                basis = about["basis_factor"] * torch.sin(k * x) / (math.pi * x) * envelope(x, about["envelope_power"])
                edges.append((i, j, spherical_harmonics(vector.unsqueeze(0), DEGREE)[0], basis))
    features = [{Irrep(0, 1): a["embedding"][t].unsqueeze(1)} for t in types]  # (channels, components)
    for number, layer in enumerate(about["layers"]):
        name = f"layers.{number}"
        sums: list[dict[int, Tensor]] = [{} for _ in range(n)]
        for i, j, harmonics, basis in edges:
            weights = silu(basis @ a[f"{name}.radial.0"]) @ a[f"{name}.radial.1"]
            for position, path in enumerate(layer["paths"]):
                irrep, degree = Irrep.parse(path["in"]), path["degree"]
                x = a[f"{name}.up.{irrep}"].T @ features[j][irrep] / a[f"{name}.neighbors"][types[j]].sqrt()
                y = harmonics[degree**2 : (degree + 1) ** 2]
                coupled = torch.einsum("ui,f,ifk->uk", x, y, a[f"{name}.coupling.{position}"])
                message = weights[slice(*path["columns"]), None] * coupled
                sums[i][position] = sums[i].get(position, 0) + message
        features = [
            _gated(layer, name, a, types[i], features[i], sums[i]) for i in range(n)
        ]  # fmt: skip
    found = []
    for i, t in enumerate(types):
        scalars = features[i][Irrep(0, 1)].squeeze(1)
        energy = a["scales"][t] * (silu(scalars @ a["readout.0"]) @ a["readout.1"])[0] + a["shifts"][t]
        for j in range(n):
            d = float((positions[j] - positions[i]).norm())
            if i != j:
                weight = envelope(d / float(cutoffs[t, types[j]]), about["repulsion"]["power"])
                energy = energy + weight * _zbl(d, numbers[i], numbers[j]) / 2
        found.append(energy)
    return torch.stack(found)


def _gated(
    layer: Mapping[str, Any], name: str, a: Mapping[str, Tensor], t: int, before: Mapping[Irrep, Tensor], sums: Any
) -> dict[Irrep, Tensor]:
    """Features of an atom after a layer."""

    def linear(kind: str, irrep: Irrep, carrier: Irrep) -> Tensor:
        total = torch.zeros(multiplicities(layer[kind.replace("gates", "gated")])[irrep], carrier.dim).double()
        for path in layer["paths"]:
            key = f"{name}.down.{path['slot']}.{kind}.{irrep}"
            if key in a and path["slot"] in sums:
                total = total + a[key].T @ sums[path["slot"]]
        if f"{name}.skip.{kind}.{irrep}" in a:
            total = total + a[f"{name}.skip.{kind}.{irrep}"][t].T @ before[carrier]
        return total

    functions = {"silu": torch.nn.functional.silu, "tanh": torch.tanh}
    after = {}
    for irrep in multiplicities(layer["scalars"]):
        function, factor = layer["functions"][str(irrep)]
        after[irrep] = factor * functions[function](linear("scalars", irrep, irrep))
    for irrep in multiplicities(layer["gated"]):
        function, factor = layer["gates"][str(irrep)]
        gates = factor * functions[function](linear("gates", irrep, Irrep(0, 1)))
        after[irrep] = gates * linear("gated", irrep, irrep)
    return after


def _zbl(d: float, first: int, second: int) -> float:
    """Screened repulsion of two nuclei, eV, with LAMMPS's constants."""
    x = d * (first**0.23 + second**0.23) / 0.46850
    shells = ((0.02817, 0.20162), (0.28022, 0.40290), (0.50986, 0.94229), (0.18175, 3.19980))
    return 14.399645 * first * second / d * sum(c * math.exp(-b * x) for c, b in shells)
