"""Read a mace-torch model and write all that it holds as plain arrays and JSON.

This file is run on its own, by an interpreter that has mace-torch: ``python -I extract_mace.py MODEL FOLDER [HEAD]``.
It needs torch, numpy, e3nn and mace-torch, and nothing of atomsym. Loading MODEL executes the code in its pickle.

It writes ``FOLDER/description.json`` (classes, irreps, paths with their factors, settings) and
``FOLDER/arrays.safetensors`` (weights, coupling tensors, and energies, forces and stresses of a few structures that the
model itself gave in double precision).
"""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any

import numpy as np
import torch

MISSING_PACKAGE = 3
FORMAT = "mace-arrays-1"
_SAFETENSORS = {"float64": "F64", "int64": "I64"}

Arrays = dict[str, np.ndarray]
Plain = dict[str, Any]


def describe(model: torch.nn.Module) -> tuple[Plain, Arrays]:
    """What a model is made of. The model is only read.

    Returns:
        Plain data for JSON, and arrays by name, floating-point ones in double precision.
    """
    modules: Plain = {}
    arrays: Arrays = {}
    for name, module in model.named_modules():
        described = _described(name, module, arrays)
        if described is not None:
            modules[name] = described
    for name in ("atomic_numbers", "r_max", "atomic_energies_fn.atomic_energies", *_BUFFERS):
        value = _at(model, name)
        if value is not None:
            arrays[name] = _array(value)
    import e3nn

    packages = {type(module).__module__.split(".")[0] for module in model.modules()}
    description = {
        "format": FORMAT,
        "class": type(model).__name__,
        "packages": sorted(packages),
        "versions": {"mace-torch": _mace_version(), "e3nn": e3nn.__version__, "torch": torch.__version__},
        "heads": [str(head) for head in getattr(model, "heads", None) or ["Default"]],
        "settings": {name: type(_at(model, name)).__name__ for name in _PARTS if _at(model, name) is not None},
        "apply_cutoff": bool(getattr(_at(model, "radial_embedding"), "apply_cutoff", True)),
        "modules": modules,
    }
    return description, arrays


_BUFFERS = (
    "scale_shift.scale",
    "scale_shift.shift",
    "radial_embedding.cutoff_fn.p",
    "radial_embedding.cutoff_fn.r_max",
    *(f"radial_embedding.bessel_fn.{name}" for name in ("bessel_weights", "prefactor", "gaussian_weights", "n")),
    *(f"radial_embedding.distance_transform.{name}" for name in ("q", "p", "a", "alpha", "covalent_radii")),
    *(f"pair_repulsion_fn.{name}" for name in ("c", "p", "a_exp", "a_prefactor", "covalent_radii")),
)
_PARTS = (
    "scale_shift",
    "radial_embedding.bessel_fn",
    "radial_embedding.distance_transform",
    "pair_repulsion_fn",
    "joint_embedding",
    "embedding_readout",
)


def _described(name: str, module: Any, arrays: Arrays) -> Plain | None:
    """What is to be known of one part, by the name of its class; its weights go to ``arrays``."""
    kind, package = type(module).__name__, type(module).__module__.split(".")[0]
    if package == "e3nn" and kind == "Linear":
        arrays[f"{name}.weight"] = _array(module.weight)
        arrays[f"{name}.bias"] = _array(module.bias)
        paths = [
            [p.i_in, p.i_out, list(p.path_shape), float(p.path_weight)] for p in module.instructions if p.i_in >= 0
        ]
        return {"irreps_in": str(module.irreps_in), "irreps_out": str(module.irreps_out), "paths": paths}
    if package == "e3nn" and kind in ("TensorProduct", "FullyConnectedTensorProduct"):
        return _tensor_product(name, module, arrays)
    if package == "e3nn" and kind == "FullyConnectedNet":
        layers = [layer for key, layer in module._modules.items() if key.startswith("layer")]
        for number, layer in enumerate(layers):
            arrays[f"{name}.{number}"] = _array(layer.weight)
        return {"layers": [{"scale": _layer_scale(layer), **_activation(layer.act, layer.var_out)} for layer in layers]}
    if package == "e3nn" and kind == "Activation":
        return {"acts": [_activation(act) for act in module.acts]}
    if kind == "SymmetricContraction" and package == "mace":
        return _contraction(name, module, arrays)
    if kind == "EquivariantProductBasisBlock":
        return {"class": kind, "use_sc": bool(module.use_sc)}
    if kind.endswith("InteractionBlock"):
        return {"class": kind, "average_neighbors": float(module.avg_num_neighbors)}
    if kind.endswith("ReadoutBlock"):
        return {"class": kind, "num_heads": int(getattr(module, "num_heads", 1))}
    return None


def _tensor_product(name: str, module: Any, arrays: Arrays) -> Plain:
    paths = []
    stored = {key.rsplit(".", 1)[-1]: value for key, value in module.named_buffers()}
    for p in module.instructions:
        degrees = (module.irreps_in1[p.i_in1].ir.l, module.irreps_in2[p.i_in2].ir.l, module.irreps_out[p.i_out].ir.l)
        key = "_".join(map(str, degrees))
        # The model's own coupling coefficients, where it keeps them: their signs depend on e3nn's version.
        own = stored.get(f"_w3j_{key}")
        arrays[f"wigner.{key}"] = _array(_wigner(*degrees) if own is None else own)
        paths.append([p.i_in1, p.i_in2, p.i_out, p.connection_mode, list(p.path_shape), float(p.path_weight)])
    if module.internal_weights and module.weight_numel:
        arrays[f"{name}.weight"] = _array(module.weight)
    irreps = {"irreps_in1": module.irreps_in1, "irreps_in2": module.irreps_in2, "irreps_out": module.irreps_out}
    return {**{key: str(value) for key, value in irreps.items()}, "paths": paths}


def _wigner(l1: int, l2: int, l3: int) -> torch.Tensor:
    from e3nn import o3

    return o3.wigner_3j(l1, l2, l3, dtype=torch.float64)


def _contraction(name: str, module: Any, arrays: Arrays) -> Plain:
    """Weights (elements, paths, channels) and the nonzero entries of the coupling tensors of each output and order."""
    dim = sum(irrep.ir.dim for irrep in module.irreps_in)
    outputs = []
    for output, part in enumerate(module.contractions):
        irrep = module.irreps_out[output]
        orders = int(part.correlation)
        for order in range(1, orders + 1):
            key = f"{name}.{output}.{order}"
            weight = part.weights_max if order == orders else part.weights[orders - 1 - order]
            arrays[f"{key}.weight"] = _array(weight)
            tensor = _array(part.U_tensors(order)).reshape(irrep.ir.dim, *[dim] * order, -1)
            arrays[f"{key}.index"] = np.flatnonzero(tensor)
            arrays[f"{key}.value"] = tensor.ravel()[arrays[f"{key}.index"]]
            arrays[f"{key}.shape"] = np.array(tensor.shape)
        outputs.append(orders)
    return {"irreps_in": str(module.irreps_in), "irreps_out": str(module.irreps_out), "correlation": outputs}


def _layer_scale(layer: Any) -> float:
    variance = layer.h_in * layer.var_in / (1.0 if layer.act is not None else layer.var_out)
    return float(variance**-0.5)


def _activation(act: Any, variance: float = 1.0) -> Plain:
    """Name of an activation and the factor after it."""
    if act is None:
        return {"activation": "none", "factor": 1.0}
    function = getattr(act, "f", act)
    factor = 1.0 if getattr(act, "_is_id", False) else float(getattr(act, "cst", 1.0))
    name = getattr(function, "__name__", type(function).__name__).lower()
    return {"activation": name, "factor": factor * float(variance) ** 0.5}


def _mace_version() -> str:
    import mace

    return str(getattr(mace, "__version__", "unknown"))


def _at(model: Any, path: str) -> Any:
    """Attribute of an attribute, or None."""
    for name in path.split("."):
        model = getattr(model, name, None)
    return model


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return tensor.to(torch.float64 if tensor.dtype.is_floating_point else torch.int64).numpy().copy()


# Energies, forces and stresses of a few structures -------------------------------------------------------------------


def reference(model: Any, head: int) -> Arrays:
    """Structures and what the model says of them; the model must be in double precision.

    Energies of isolated atoms are given apart, since the interaction is what has to agree.
    """
    known, cutoff = _array(model.atomic_numbers), float(model.r_max)
    basis = model.radial_embedding.bessel_fn
    if type(basis).__name__ == "ChebychevBasis":  # torch differentiates these polynomials of its own as constants
        basis.forward = lambda x: _chebyshev(x, basis.num_basis)
    isolated = np.atleast_2d(_array(model.atomic_energies_fn.atomic_energies))[head]
    arrays: Arrays = {}
    for number, (positions, species, cell) in enumerate(_structures(len(known))):
        edges, shifts = _neighbors(positions, cell, cutoff)
        periodic = bool(cell.any())
        output = _evaluate(model, positions, species, cell, edges, shifts, head, periodic)
        found = {
            "positions": positions, "numbers": known[species], "cell": cell,
            "isolated": isolated[species].sum(), "energy": output["energy"], "forces": output["forces"],
        }  # fmt: skip
        if periodic:
            found["stress"] = output["stress"]
        for name, value in found.items():
            arrays[f"reference.{number}.{name}"] = np.asarray(value)
    return arrays


def _chebyshev(x: torch.Tensor, n: int) -> torch.Tensor:
    """T_1 … T_n by recurrence, with their derivatives."""
    found = [torch.ones_like(x), x]
    while len(found) <= n:
        found.append(2 * x * found[-1] - found[-2])
    return torch.cat(found[1 : n + 1], dim=-1)


def _structures(n_species: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positions, species and cells: a cluster with every element, a crowded molecule, two crystals."""
    rng = np.random.default_rng(0)
    chosen = []
    for n_atoms, spacing, cell in (
        (max(n_species, 12), 2.0, None),
        (5, 1.0, None),
        (8, 2.0, np.diag([4.1, 4.3, 4.6]) + 0.3 * rng.standard_normal((3, 3))),
        (3, 1.6, np.array([[3.0, 0.2, 0.0], [-0.4, 2.8, 0.1], [0.5, 0.6, 3.3]])),
    ):
        side = math.ceil(n_atoms ** (1 / 3))
        grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        sites = grid[rng.permutation(len(grid))[:n_atoms]] + 0.15 * rng.standard_normal((n_atoms, 3))
        positions = spacing * sites if cell is None else (sites / side) @ cell
        species = (
            rng.permutation(np.arange(n_atoms) % n_species) if cell is None else rng.integers(n_species, size=n_atoms)
        )
        chosen.append((positions, species, np.zeros((3, 3)) if cell is None else cell))
    return chosen


def _neighbors(positions: np.ndarray, cell: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """All pairs within the cutoff by trying all images: (2, n_edges) sender and receiver, and integer shifts."""
    reach = [0, 0, 0]
    if cell.any():
        inverse = np.linalg.inv(cell)
        spread = np.ptp(positions @ inverse, axis=0)
        reach = [math.ceil(cutoff * np.linalg.norm(inverse[:, k]) + spread[k]) for k in range(3)]
    edges, shifts = [], []
    for image in np.ndindex(*(2 * r + 1 for r in reach)):
        shift = np.array(image) - reach
        vectors = positions[None] + shift @ cell - positions[:, None]  # [sender, receiver] = receiver's image - sender
        near = np.linalg.norm(vectors, axis=-1) < cutoff
        if not shift.any():
            np.fill_diagonal(near, False)
        pairs = np.argwhere(near)
        edges.append(pairs)
        shifts.append(np.tile(shift, (len(pairs), 1)))
    return np.concatenate(edges).T.copy(), np.concatenate(shifts)


def _evaluate(
    model: Any, positions: Any, species: Any, cell: Any, edges: Any, shifts: Any, head: int, periodic: bool
) -> Arrays:
    elements = len(model.atomic_numbers)
    data = {
        "positions": torch.tensor(positions),
        "node_attrs": torch.nn.functional.one_hot(torch.tensor(species), elements).double(),
        "cell": torch.tensor(cell),
        "edge_index": torch.tensor(edges),
        "unit_shifts": torch.tensor(shifts).double(),
        "shifts": torch.tensor(shifts @ cell),
        "batch": torch.zeros(len(positions), dtype=torch.int64),
        "ptr": torch.tensor([0, len(positions)]),
        "head": torch.tensor([head]),
    }
    output = model(data, training=False, compute_force=True, compute_stress=periodic)
    found = {"energy": _array(output["energy"])[0], "forces": _array(output["forces"])}
    if periodic:
        found["stress"] = _array(output["stress"]).reshape(3, 3)
    return found


# Program -------------------------------------------------------------------------------------------------------------


def write(folder: str, description: Plain, arrays: Arrays) -> None:
    """The two files; the second in the layout of safetensors, whose package need not be there."""
    header, start, parts = {}, 0, []
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        stop = start + len(data)
        header[name] = {"dtype": _SAFETENSORS[array.dtype.name], "shape": array.shape, "data_offsets": [start, stop]}
        parts.append(data)
        start = stop
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "arrays.safetensors"), "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(parts))
    with open(os.path.join(folder, "description.json"), "w", encoding="utf-8") as file:
        json.dump(description, file)


def _head(heads: list[str], head: str) -> int | None:
    if not head:
        return 0 if len(heads) == 1 else None
    return heads.index(head) if head in heads else None


def _is_plain(description: Plain) -> bool:
    """Whether the model can be evaluated on positions and species alone, here; others are refused later, by name."""
    accelerated = {"cuequivariance_torch", "openequivariance"} & set(description["packages"])
    further = "joint_embedding" in description["settings"]
    return description["class"] in ("MACE", "ScaleShiftMACE") and not accelerated and not further


def main(path: str, folder: str, head: str = "") -> int:
    """Open a checkpoint, write what it is made of into a folder, and return the exit code."""
    # e3nn 0.4 reads its own constants in a way that newer versions of torch refuse unless told.
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    try:
        import mace.modules  # noqa: F401 - the classes in the pickle
    except ImportError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return MISSING_PACKAGE
    torch.set_default_dtype(torch.float64)
    model = torch.load(path, map_location="cpu", weights_only=False)
    if not isinstance(model, torch.nn.Module):
        write(folder, {"format": FORMAT, "class": type(model).__name__, "not_a_module": True}, {})
        return 0
    description, arrays = describe(model)
    index = _head(description["heads"], head)
    if index is not None and _is_plain(description):
        arrays.update(reference(model.double().eval(), index))
    write(folder, description, arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
