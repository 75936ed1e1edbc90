"""Read a checkpoint or package of nequip and write all that the model in it holds as plain arrays and JSON.

This file is run on its own, by an interpreter that has nequip: ``python -I extract_nequip.py MODEL FOLDER [NAME]``. It
needs nequip and what that brings, and nothing of atomsym but its neighbor ``extract_mace.py``. Loading MODEL executes
the code in its pickle, and in a package the code that lies beside it. NAME is that of a model, if there are several.

It writes ``FOLDER/description.json`` (classes, irreps, activations, settings) and ``FOLDER/arrays.safetensors`` (what
linear maps, tensor products and networks do, and energies, forces and stresses of a few structures that the model
itself gave in double precision).

A package holds the code of the version of nequip and e3nn that made it, of which nothing but the names of the parts is
known here. The parts are therefore asked what they do: a linear map is its values on unit vectors, a tensor product its
values on pairs of them. Normalisations, phases of coupling coefficients and layouts of weights need not be known.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

MISSING_PACKAGE = 3
FORMAT = "nequip-arrays-1"
PARTS = {  # that can be read; the layers and the ends of the sequence are checked where they are converted
    "NodeTypeEmbed", "SphericalHarmonicEdgeAttrs", "EdgeLengthNormalizer", "BesselEdgeLengthEncoding", "ApplyFactor",
    "ConvNetLayer", "ScalarMLP", "PerTypeScaleShift", "ZBL", "AtomwiseReduce",
}  # fmt: skip
_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": torch.nn.functional.silu, "tanh": torch.tanh, "none": lambda x: x, "abs": torch.abs,
    "mish": torch.nn.functional.mish, "gelu": torch.nn.functional.gelu,
    "ssp": lambda x: torch.nn.functional.softplus(x) - np.log(2.0),
}  # fmt: skip
_ROUNDED = 1e-6  # constants kept in single precision

Arrays = dict[str, np.ndarray]
Plain = dict[str, Any]


def _sibling(name: str) -> Any:
    """A module that lies beside this file, which the interpreter does not search."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# What the model is ---------------------------------------------------------------------------------------------------


def describe(model: Any, heads: Sequence[str], head: str) -> tuple[Plain, Arrays]:
    """Plain data and arrays of a model in double precision; of one with unknown parts no more than their names."""
    outer = model.model
    inner = getattr(outer, "func", outer)
    parts = [(name, type(part).__name__) for name, part in inner.named_children()]
    description: Plain = {
        "format": FORMAT,
        "class": type(outer).__name__,
        "parts": [list(part) for part in parts],
        "packages": sorted({_package(part) for part in model.modules()}),
        "heads": list(heads),
        "head": head,
        "type_names": [str(name) for name in model.type_names],
    }
    arrays: Arrays = {}
    if {kind for _, kind in parts} <= PARTS:
        description["layers"] = []
        for name, kind in parts:
            _DESCRIBED[kind](getattr(inner, name), description, arrays)
    return description, arrays


def _package(part: Any) -> str:
    """Top-level package of a part's class; those in a package of torch are called <torch_package_0>.nequip.…"""
    names = [name for name in type(part).__module__.split(".") if not name.startswith("<")]
    return names[0]


def _embedding(part: Any, description: Plain, arrays: Arrays) -> None:
    description["graph_fields"] = sorted(getattr(part, "categorical_graph_field_embed_modules", {}).keys())
    arrays["embedding"] = _array(part.embed_module.weight)


def _harmonics(part: Any, description: Plain, arrays: Arrays) -> None:
    description["harmonics"] = str(part.irreps_edge_sh)
    arrays["harmonics"] = _array(part.sh(torch.tensor([[0.6, 0.0, -0.8]], dtype=torch.float64))[0])


def _lengths(part: Any, description: Plain, arrays: Arrays) -> None:
    description["cutoff"] = float(part.r_max)
    inverse = _array(part._rmax_recip)
    if inverse.size > 1:
        arrays["pair_cutoffs"] = 1 / inverse.reshape(len(description["type_names"]), -1)


def _bessel(part: Any, description: Plain, arrays: Arrays) -> None:
    description["envelope_power"] = float(part.cutoff.p)
    arrays["bessel"] = _array(part.bessel_weights).ravel()


def _factor(part: Any, description: Plain, arrays: Arrays) -> None:
    description["basis_factor"] = float(part.factor)


def _scales(part: Any, description: Plain, arrays: Arrays) -> None:
    for name in ("scales", "shifts"):
        if getattr(part, f"has_{name}"):
            arrays[name] = _array(getattr(part, name)).ravel()


def _readout(part: Any, description: Plain, arrays: Arrays) -> None:
    description["readout"] = _network(part.mlp_module, "readout", arrays)


def _repulsion(part: Any, description: Plain, arrays: Arrays) -> None:
    cutoff = getattr(part, "cutoff", None)  # older versions take that of the radial basis
    power = description["envelope_power"] if cutoff is None else float(cutoff.p)
    description["repulsion"] = {"power": power, "prefactor": float(part._qqr2exesquare)}
    arrays["nuclear_charges"] = _array(part.atomic_numbers).ravel()


def _sum(part: Any, description: Plain, arrays: Arrays) -> None:
    description["sum"] = [str(part.reduce), float(part.constant)]


# A layer -------------------------------------------------------------------------------------------------------------


def _layer(part: Any, description: Plain, arrays: Arrays) -> None:
    """Irreps and activations of a layer, and what its maps do; see ``_maps`` for the names."""
    conv, gate = part.conv, part.equivariant_nonlin
    name = f"layers.{len(description['layers'])}"
    about: Plain = {"resnet": bool(part.resnet), "nonlinearity": type(gate).__name__, "has_skip": conv.sc is not None}
    description["layers"].append(about)
    if about["nonlinearity"] != "Gate":
        return
    product = conv.tp_scatter.tp
    about["irreps_in"] = str(product.irreps_in1)
    scalars, gates, gated = gate.act_scalars.irreps_in, gate.act_gates.irreps_in, gate.mul.irreps_in1
    about["scalars"], about["gated"] = str(scalars), str(gated)
    about["functions"] = _functions(gate.act_scalars, scalars, scalars)
    factors = gate.mul(torch.ones(1, gated.dim, dtype=torch.float64), torch.ones(1, gates.dim, dtype=torch.float64))
    about["gates"] = _functions(gate.act_gates, gates, gated, _array(factors)[0])
    arrays[f"{name}.neighbors"] = _neighbors(conv)
    for (_, _, irrep), matrix in _maps(lambda x: (conv.linear_1(x),), product.irreps_in1, [product.irreps_in1]).items():
        _append(arrays, f"{name}.up.{irrep}", matrix)
    about["radial"] = _network(conv.edge_mlp, f"{name}.radial", arrays)
    about["paths"] = _paths(product, name, arrays)
    outputs = [scalars, gates, gated]
    for (slot, output, irrep), matrix in _maps(
        lambda x: gate.sc(conv.linear_2(x)), product.irreps_out, outputs
    ).items():
        _store(arrays, f"{name}.down.{slot}", output, irrep, matrix, gated)
    if conv.sc is None:
        return
    for embedding in torch.tensor(arrays["embedding"]):
        for (slot, output, irrep), matrix in _maps(
            lambda x, e=embedding: gate.sc(conv.sc(x, e.expand(x.shape[0], -1))), product.irreps_in1, outputs
        ).items():
            if slot != _first(product.irreps_in1, irrep):
                raise ValueError(f"{name}: features with the irrep {irrep} twice")
            _store(arrays, f"{name}.skip", output, irrep, matrix[None], gated)


def _neighbors(conv: Any) -> np.ndarray:
    """Average number of neighbors, or one a type; older versions keep a factor, which may be None."""
    norm = getattr(conv, "avg_num_neighbors_norm", None)
    if norm is not None:
        return _array(norm.norm_const).ravel() ** -2.0
    return np.array([float(conv.scatter_norm_factor or 1.0) ** -2.0])


def _first(irreps: Any, irrep: str) -> int:
    return [str(ir) for _, ir in irreps].index(irrep)


def _store(arrays: Arrays, name: str, output: int, irrep: str, matrix: np.ndarray, gated: Any) -> None:
    """Under NAME.scalars.IRREP, NAME.gated.IRREP, and gates under NAME.gates.IRREP of what they gate."""
    if output != 1:
        _append(arrays, f"{name}.{('scalars', '', 'gated')[output]}.{irrep}", matrix)
        return
    kinds = np.array([str(ir) for mul, ir in gated for _ in range(mul)])
    for kind in dict.fromkeys(kinds.tolist()):
        _append(arrays, f"{name}.gates.{kind}", matrix[..., kinds == kind])


def _append(arrays: Arrays, name: str, matrix: np.ndarray) -> None:
    arrays[name] = np.concatenate([arrays[name], matrix]) if name in arrays else matrix


def _maps(function: Any, irreps_in: Any, outputs: Sequence[Any]) -> dict[tuple[int, int, str], np.ndarray]:
    """An equivariant linear map as matrices.

    Args:
        function: takes features of ``irreps_in``, gives as many tensors as ``outputs``.
        irreps_in: irreps of e3nn.
        outputs: the same of the results.

    Returns:
        By slot of the input, number of the output and irrep: (channels of the slot, channels of this irrep in it).
    """
    slots = list(zip(irreps_in, irreps_in.slices(), strict=True))
    firsts = [place.start + u * entry.ir.dim for entry, place in slots for u in range(entry.mul)]
    unit = torch.zeros(len(firsts), irreps_in.dim, dtype=torch.float64)
    unit[range(len(firsts)), firsts] = 1.0
    with torch.no_grad():
        results = [_array(result) for result in function(unit)]
    found, start = {}, 0
    for slot, (entry, _) in enumerate(slots):
        rows = slice(start, start + entry.mul)
        start += entry.mul
        for output, irreps in enumerate(outputs):
            columns = [
                place.start + u * other.ir.dim
                for other, place in zip(irreps, irreps.slices(), strict=True)
                if str(other.ir) == str(entry.ir)
                for u in range(other.mul)
            ]
            if columns:
                found[slot, output, str(entry.ir)] = results[output][rows][:, columns]
    return found


def _paths(product: Any, name: str, arrays: Arrays) -> list[Plain]:
    """Of each path of the convolution what it couples, the columns of its weights, and its coefficients with all
    factors, under NAME.coupling.NUMBER."""
    first, second, third = product.irreps_in1, product.irreps_in2, product.irreps_out
    found, start = [], 0
    for number, path in enumerate(product.instructions):
        (channels, one), (edges, two) = first[path.i_in1], second[path.i_in2]
        if path.connection_mode != "uvu" or edges != 1:
            raise ValueError(f"{name}: a path of the kind {path.connection_mode} with {edges} channels of edges")
        places = [irreps.slices()[i].start for irreps, i in ((first, path.i_in1), (second, path.i_in2))]
        n = one.dim * two.dim
        x, y = (torch.zeros(n, irreps.dim, dtype=torch.float64) for irreps in (first, second))
        x[range(n), [places[0] + k // two.dim for k in range(n)]] = 1.0
        y[range(n), [places[1] + k % two.dim for k in range(n)]] = 1.0
        weight = torch.zeros(n, product.weight_numel, dtype=torch.float64)
        weight[:, start] = 1.0
        with torch.no_grad():
            result = _array(product(x, y, weight))
        out, begin = third[path.i_out].ir, third.slices()[path.i_out].start
        arrays[f"{name}.coupling.{number}"] = result[:, begin : begin + out.dim].reshape(one.dim, two.dim, out.dim)
        offset = sum(mul for mul, ir in first[: path.i_in1] if ir == one)
        found.append(
            {
                "in": str(one), "degree": int(two.l), "out": str(out), "offset": offset, "channels": channels,
                "columns": [start, start + channels], "slot": int(path.i_out),
            }
        )  # fmt: skip
        start += channels
    return found


# Networks and activations --------------------------------------------------------------------------------------------


def _network(module: Any, name: str, arrays: Arrays) -> Plain:
    """Activations between the matrices NAME.0, NAME.1, …; linear networks of several layers are one matrix."""
    layers = getattr(module, "mlp", module)
    dims = [int(n) for n in module.dims]
    parts, activations, count, biased = (
        list(layers) if isinstance(layers, torch.nn.Sequential) else [layers],
        [],
        0,
        False,
    )
    for part in parts:
        width = dims[count]
        if hasattr(part, "in_features") or part is layers:
            with torch.no_grad():
                zero = _array(part(torch.zeros(1, width, dtype=torch.float64)))
                arrays[f"{name}.{count}"] = _array(part(torch.eye(width, dtype=torch.float64))) - zero
            count, biased = count + 1, biased or bool(np.abs(zero).max() > 0)
        else:
            activations.append(_named(part)[0])
    return {"activations": activations, "biased": biased}


def _named(function: Any, columns: Sequence[int] = (0,), width: int = 1) -> tuple[str, float]:
    """Which activation the columns of a function have in common, and its factor; ``unknown`` if it is none of these."""
    grid = torch.linspace(-3.0, 2.5, 12, dtype=torch.float64)
    with torch.no_grad():
        values = function(grid.unsqueeze(1).expand(-1, width).contiguous())[:, columns]
    for name, candidate in _ACTIVATIONS.items():
        expected = candidate(grid).unsqueeze(1)
        factor = float((values * expected).sum() / (expected.square().sum() * values.shape[1]))
        if float((values - factor * expected).abs().max()) < _ROUNDED and factor > 0:
            return name, factor
    return "unknown", 1.0


def _functions(act: Any, irreps: Any, kinds: Any, factors: np.ndarray | None = None) -> Plain:
    """By irrep of ``kinds``, whose channels are those of ``irreps`` in turn: name and factor of the activation."""
    labels = np.array([str(ir) for mul, ir in kinds for _ in range(mul)])
    found: Plain = {}
    starts = np.cumsum([0, *(ir.dim for mul, ir in kinds for _ in range(mul))])
    for kind in dict.fromkeys(labels.tolist()):
        (columns,) = np.nonzero(labels == kind)
        name, factor = _named(act, columns.tolist(), irreps.dim)
        found[kind] = [name, factor if factors is None else factor * float(factors[starts[columns[0]]])]
    return found


_DESCRIBED: dict[str, Callable[[Any, Plain, Arrays], None]] = {
    "NodeTypeEmbed": _embedding, "SphericalHarmonicEdgeAttrs": _harmonics, "EdgeLengthNormalizer": _lengths,
    "BesselEdgeLengthEncoding": _bessel, "ApplyFactor": _factor, "ConvNetLayer": _layer, "ScalarMLP": _readout,
    "PerTypeScaleShift": _scales, "ZBL": _repulsion, "AtomwiseReduce": _sum,
}  # fmt: skip


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return tensor.to(torch.float64 if tensor.dtype.is_floating_point else torch.int64).numpy().copy()


# Energies, forces and stresses of a few structures -------------------------------------------------------------------


def reference(model: Any, description: Plain, arrays: Arrays) -> Arrays:
    """Structures and what the model says of them; it must be in double precision.

    Energies of isolated atoms are given apart, since the interaction is what has to agree.
    """
    from ase.data import atomic_numbers

    mace = _sibling("extract_mace")
    numbers = np.array([atomic_numbers[name] for name in description["type_names"]])
    shifts_of_types = np.broadcast_to(arrays.get("shifts", np.zeros(1)), numbers.shape)
    model.model.do_derivatives = True
    found: Arrays = {}
    for count, (positions, species, cell) in enumerate(mace._structures(len(numbers))):
        edges, shifts = mace._neighbors(positions, cell, description["cutoff"])
        data = {
            "pos": torch.tensor(positions), "atom_types": torch.tensor(species), "edge_index": torch.tensor(edges),
        }  # fmt: skip
        if cell.any():
            data |= {"cell": torch.tensor(cell).unsqueeze(0), "edge_cell_shift": torch.tensor(shifts).double()}
        output = model(data)
        about = {
            "positions": positions, "numbers": numbers[species], "cell": cell,
            "isolated": shifts_of_types[species].sum(), "energy": _array(output["total_energy"]).reshape(()),
            "forces": _array(output["forces"]),
        }  # fmt: skip
        if cell.any():
            about["stress"] = _array(output["stress"]).reshape(3, 3)
        found |= {f"reference.{count}.{name}": np.asarray(value) for name, value in about.items()}
    return found


def double_(model: Any) -> None:
    """Take a model to double precision, parts that convert what they are given included."""
    model.double().eval().requires_grad_(False)
    for part in model.modules():
        for name, value in vars(part).items():
            if value is torch.float32:
                setattr(part, name, torch.float64)


def _is_plain(description: Plain) -> bool:
    """Whether the model can be evaluated on positions and elements alone, here; others are refused later, by name."""
    from ase.data import atomic_numbers

    known = all(name in atomic_numbers for name in description["type_names"])
    return "layers" in description and known and not description["graph_fields"]


# Program -------------------------------------------------------------------------------------------------------------


def _versions(path: str, packaged: bool) -> Plain:
    """Of the packages here, and of nequip where the file was made."""
    found = {name: version(name) for name in ("nequip", "e3nn", "torch")}
    if packaged:
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith("/package_metadata.txt")]
            lines = archive.read(name).decode().splitlines()
        own = [line.split(":")[1].strip() for line in lines if line.strip().startswith("nequip:")]
        found["nequip of the package"] = own[0] if own else "unknown"
    return found


def _models(path: str, folder: str, packaged: bool) -> Any:
    """All models in a file, by name."""
    suffix = ".nequip.zip" if packaged else ".ckpt"
    if not path.endswith(suffix):  # by which nequip tells them apart
        path = shutil.copy(path, os.path.join(folder, f"model{suffix}"))
    loading = importlib.import_module("nequip.model.saved_models.load_utils")
    return loading.load_saved_model(path, model_key=None)


def main(path: str, folder: str, head: str = "") -> int:
    """Open a checkpoint or package, write what it is made of into a folder, and return the exit code."""
    try:
        state = importlib.import_module("nequip.utils.global_state")
    except ImportError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return MISSING_PACKAGE
    write = _sibling("extract_mace").write
    state.set_global_state(allow_tf32=False)
    with zipfile.ZipFile(path) as archive:
        packaged = any(name.endswith(".data/extern_modules") for name in archive.namelist())
    models = _models(path, folder, packaged)
    heads = list(models.keys())
    head = heads[0] if not head and len(heads) == 1 else head
    if head not in heads:
        write(folder, {"format": FORMAT, "heads": heads, "head": head, "versions": {}}, {})
        return 0
    model = models[head]
    double_(model)
    torch.set_default_dtype(torch.float64)
    description, arrays = describe(model, heads, head)
    description["versions"] = _versions(path, packaged)
    if _is_plain(description):
        arrays |= reference(model, description, arrays)
    write(folder, description, {name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
