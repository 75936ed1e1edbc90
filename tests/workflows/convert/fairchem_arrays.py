"""A random model in the layout of fairchem's eSEN and UMA, and its energies straight from the equations.

Neither needs fairchem: the layout is what ``extract_fairchem`` writes, and the equations are evaluated edge by edge,
with nothing of the potential that is tested but the rotation of an edge's frame.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from atomsym.symmetry import rotation_to_polar_axis, wigner_d
from atomsym.workflows.convert.extract_fairchem import FORMAT
from atomsym.workflows.convert.fairchem_config import ForeignESCNMD, Selection

DEGREE, ORDER, CHANNELS, HIDDEN, EDGE, RADIAL, LAYERS = 3, 2, 4, 3, 5, 7, 2
CUTOFF, ELEMENTS = 4.0, [1, 6, 8]


def random_model(**changes: Any) -> ForeignESCNMD:
    """Random weights; entries of the description are replaced."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * 1.7 * shape[-1] ** -0.5

    arrays: dict[str, Tensor] = {}

    def affine(name: str, n_in: int, n_out: int, bias: bool = True) -> None:
        arrays[f"{name}.weight"] = draw(n_out, n_in)
        if bias:
            arrays[f"{name}.bias"] = draw(n_out)

    def radial(name: str, n_out: int) -> None:
        for number, (n_in, width) in {0: (RADIAL + 2 * EDGE, EDGE), 3: (EDGE, EDGE), 6: (EDGE, n_out)}.items():
            affine(f"{name}.{number}", n_in, width)
        for number in (1, 4):
            arrays[f"{name}.{number}.weight"], arrays[f"{name}.{number}.bias"] = 1 + draw(EDGE), draw(EDGE)

    def norm(name: str) -> None:
        arrays[f"{name}.affine_weight"] = 1 + draw(DEGREE + 1, CHANNELS)
        arrays[f"{name}.affine_bias"] = draw(CHANNELS)

    def so2(name: str, n_in: int, n_out: int, n_scalars: int) -> None:
        affine(f"{name}.fc_m0", (DEGREE + 1) * n_in, n_scalars + (DEGREE + 1) * n_out)
        for m in range(1, ORDER + 1):
            rows = DEGREE - m + 1
            affine(f"{name}.so2_m_conv.{m - 1}.fc", rows * n_in, 2 * rows * n_out, bias=False)

    for name, width in (("sphere", CHANNELS), ("source", EDGE), ("target", EDGE)):
        arrays[f"backbone.{name}_embedding.weight"] = draw(10, width)
    radial("backbone.edge_degree_embedding.rad_func.net", (DEGREE + 1) * CHANNELS)
    factors = sum(DEGREE - m + 1 for m in range(ORDER + 1)) * 2 * CHANNELS
    for layer in range(LAYERS):
        block = f"backbone.blocks.{layer}"
        norm(f"{block}.norm_1")
        norm(f"{block}.norm_2")
        so2(f"{block}.edge_wise.so2_conv_1", 2 * CHANNELS, HIDDEN, DEGREE * HIDDEN)
        radial(f"{block}.edge_wise.so2_conv_1.rad_func.net", factors)
        so2(f"{block}.edge_wise.so2_conv_2", HIDDEN, CHANNELS, 0)
        affine(f"{block}.atom_wise.scalar_mlp.0", CHANNELS, DEGREE * HIDDEN)
        for number, (n_in, n_out) in ((1, (CHANNELS, HIDDEN)), (2, (HIDDEN, CHANNELS))):
            arrays[f"{block}.atom_wise.so3_linear_{number}.weight"] = draw(DEGREE + 1, n_out, n_in)
            arrays[f"{block}.atom_wise.so3_linear_{number}.bias"] = draw(n_out)
    norm("backbone.norm")
    for number, (n_in, n_out) in {0: (CHANNELS, HIDDEN), 2: (HIDDEN, HIDDEN), 4: (HIDDEN, 1)}.items():
        affine(f"head.{number}", n_in, n_out)
    arrays["backbone.mix_csd.weight"] = draw(CHANNELS, 3 * CHANNELS)  # used up in ``system``
    arrays["system"] = draw(CHANNELS)
    arrays["gaussian.centres"] = torch.linspace(0, CUTOFF, RADIAL, dtype=torch.float64)
    arrays["gaussian.factor"] = torch.tensor(-0.5 / (2 * CUTOFF / (RADIAL - 1)) ** 2, dtype=torch.float64)
    arrays["envelope.power"] = torch.tensor(5.0, dtype=torch.float64)
    arrays["degree.divisor"] = torch.tensor(5.0, dtype=torch.float64)
    unit = {"mean": 0.0, "rmsd": 1.5, "references": None}
    description = {
        "format": FORMAT, "class": "eSCNMDBackbone", "heads": ["oc20", "omol"], "head": "omol", "charge": 0, "spin": 1,
        "tasks": {"energy": {**unit, "references": [0.0, -13.0, 0, 0, 0, 0, -1000.0, 0, -2000.0]}, "forces": unit},
        "settings": {
            "max_degree": DEGREE, "max_order": ORDER, "channels": CHANNELS, "hidden_channels": HIDDEN,
            "edge_channels": EDGE, "n_radial": RADIAL, "n_layers": LAYERS, "cutoff": CUTOFF, "norm": "rms_norm_sh",
            "edge_activation": "gate", "feed_forward": "spectral", "basis": "gaussian", "max_neighbors": 300,
            "max_elements": 10,
        },
        "elements": ELEMENTS, "direct": False, "balanced": [0, 0], "experts": 0, "experts_of": "so2",
        "needs_composition": False, "energy_heads": ["MLP_EFS_Head"], "reduce": ["sum"], "versions": {},
    }  # fmt: skip
    return ForeignESCNMD(description | changes, arrays, Selection("omol"))


def with_settings(foreign: ForeignESCNMD, **changes: Any) -> ForeignESCNMD:
    """The same with other settings of the backbone."""
    settings = {**foreign.settings, **changes}
    return replace(foreign, description={**foreign.description, "settings": settings})


def energies_by_equations(foreign: ForeignESCNMD, numbers: Tensor, positions: Tensor) -> Tensor:
    """Energies of the atoms in units of ``rmsd``, without reference energies, shape (n_atoms,)."""
    a = {name.removeprefix("backbone."): array for name, array in foreign.arrays.items()}
    n = len(numbers)
    edges = [(i, j, positions[j] - positions[i]) for i in range(n) for j in range(n) if i != j]
    edges = [edge for edge in edges if float(edge[2].norm()) < CUTOFF]
    signed = [0, *(sign * m for m in range(1, ORDER + 1) for sign in (1, -1))]
    rows = [(degree, m) for m in signed for degree in range(abs(m), DEGREE + 1)]
    silu = torch.nn.functional.silu

    def affine(name: str, x: Tensor) -> Tensor:
        return x @ a[f"{name}.weight"].T + a[f"{name}.bias"]

    def radial(name: str, i: int, j: int, distance: Tensor) -> Tensor:
        basis = torch.exp(a["gaussian.factor"] * (distance - a["gaussian.centres"]) ** 2)
        ends = (a["source_embedding.weight"][numbers[j]], a["target_embedding.weight"][numbers[i]])
        x = affine(f"{name}.0", torch.cat((basis, *ends)))
        for norm, layer in ((1, 3), (4, 6)):
            centred = x - x.mean()
            normed = centred / (centred.square().mean() + 1e-5).sqrt()
            x = affine(f"{name}.{layer}", silu(normed * a[f"{name}.{norm}.weight"] + a[f"{name}.{norm}.bias"]))
        return x

    def envelope(distance: Tensor) -> Tensor:
        x = distance / CUTOFF
        return 1 - 21 * x**5 + 35 * x**6 - 15 * x**7

    def frame(vector: Tensor) -> Tensor:
        blocks = wigner_d(DEGREE, rotation_to_polar_axis(vector.unsqueeze(0)))
        return torch.block_diag(*(block[0] for block in blocks))[[degree * (degree + 1) + m for degree, m in rows]]

    def norm(name: str, x: Tensor) -> Tensor:
        scalars = x[:, :1] - x[:, :1].mean(2, keepdim=True)
        x = torch.cat((scalars, x[:, 1:]), 1)
        squares = [x[:, k**2 : (k + 1) ** 2].square().mean(1).mean(1) for k in range(DEGREE + 1)]
        x = x / (torch.stack(squares).mean(0) + 1e-5).sqrt()[:, None, None]
        weight = torch.cat([a[f"{name}.affine_weight"][k].expand(2 * k + 1, -1) for k in range(DEGREE + 1)])
        return x * weight + torch.nn.functional.pad(a[f"{name}.affine_bias"].unsqueeze(0), (0, 0, 0, x.shape[1] - 1))

    def so2(name: str, x: Tensor, n_out: int) -> tuple[Tensor, Tensor]:
        """x by rows; the further scalars, and the result by rows."""
        found = affine(f"{name}.fc_m0", x[: DEGREE + 1].flatten())
        scalars, zero = found.split([len(found) - (DEGREE + 1) * n_out, (DEGREE + 1) * n_out])
        parts, start = [zero.unflatten(0, (-1, n_out))], DEGREE + 1
        for m in range(1, ORDER + 1):
            count = DEGREE - m + 1
            plus, minus = x[start : start + count].flatten(), x[start + count : start + 2 * count].flatten()
            real, imaginary = a[f"{name}.so2_m_conv.{m - 1}.fc.weight"].chunk(2)
            parts += [(real @ plus - imaginary @ minus).unflatten(0, (-1, n_out))]
            parts += [(real @ minus + imaginary @ plus).unflatten(0, (-1, n_out))]
            start += 2 * count
        return scalars, torch.cat(parts)

    def gate(x: Tensor, logits: Tensor, degrees: list[int]) -> Tensor:
        return torch.stack([silu(row) if k == 0 else row * logits[k - 1].sigmoid()
                            for row, k in zip(x, degrees, strict=True)])  # fmt: skip

    features = torch.zeros(n, (DEGREE + 1) ** 2, CHANNELS, dtype=torch.float64)
    features[:, 0] = a["sphere_embedding.weight"][numbers] + a["system"]
    for i, j, vector in edges:
        along = radial("edge_degree_embedding.rad_func.net", i, j, vector.norm()).unflatten(0, (-1, CHANNELS))
        turned = frame(vector)[: DEGREE + 1].T @ along
        features[i] = features[i] + envelope(vector.norm()) * turned / a["degree.divisor"]
    by_row, by_component = [k for k, _ in rows], [k for k in range(DEGREE + 1) for _ in range(2 * k + 1)]
    orders = [(k, m) for m in range(ORDER + 1) for k in range(m, DEGREE + 1)]
    for layer in range(LAYERS):
        block = f"blocks.{layer}"
        normed = norm(f"{block}.norm_1", features)
        normed[:, 0] = normed[:, 0] + a["system"]
        sums = torch.zeros_like(features)
        for i, j, vector in edges:
            matrix, first = frame(vector), f"{block}.edge_wise.so2_conv_1"
            factors = radial(f"{first}.rad_func.net", i, j, vector.norm()).unflatten(0, (-1, 2 * CHANNELS))
            each = torch.stack([factors[orders.index((k, abs(m)))] for k, m in rows])
            scalars, x = so2(first, each * (matrix @ torch.cat((normed[j], normed[i]), 1)), HIDDEN)
            x = gate(x, scalars.unflatten(0, (DEGREE, HIDDEN)), by_row)
            _, x = so2(f"{block}.edge_wise.so2_conv_2", x, CHANNELS)
            sums[i] = sums[i] + envelope(vector.norm()) * matrix.T @ x
        features = features + sums
        normed, atoms, raised = norm(f"{block}.norm_2", features), f"{block}.atom_wise", []
        for x in normed:
            logits = silu(affine(f"{atoms}.scalar_mlp.0", x[0])).unflatten(0, (DEGREE, HIDDEN))
            for number in (1, 2):
                weight = a[f"{atoms}.so3_linear_{number}.weight"]
                x = torch.stack([weight[k] @ row for row, k in zip(x, by_component, strict=True)])
                x = torch.cat((x[:1] + a[f"{atoms}.so3_linear_{number}.bias"], x[1:]))
                x = gate(x, logits, by_component) if number == 1 else x
            raised.append(x)
        features = features + torch.stack(raised)
    x = norm("norm", features)[:, 0]
    return affine("head.4", silu(affine("head.2", silu(affine("head.0", x)))))[:, 0]
