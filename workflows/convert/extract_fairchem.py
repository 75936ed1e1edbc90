"""Read an inference checkpoint of fairchem and write all that it holds as plain arrays and JSON.

This file is run on its own, by an interpreter that has fairchem-core:
``python -I extract_fairchem.py CHECKPOINT FOLDER SELECTION``. It needs fairchem-core and what that brings, and nothing
of atomsym but its neighbor ``extract_mace.py``. Loading CHECKPOINT executes the code in its pickle. SELECTION is JSON:
``{"head": dataset or "", "charge": 0, "spin": null, "composition": {"8": 1, "1": 2}}``.

It writes ``FOLDER/description.json`` (settings) and ``FOLDER/arrays.safetensors`` (weights with merged experts, and
energies, forces and stresses of a few structures that the model itself gave in double precision).
"""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import os
import sys
from typing import Any

import numpy as np
import torch

MISSING_PACKAGE = 3
FORMAT = "fairchem-arrays-1"
_LARGEST = 118  # atomic number
_MIXTURES = ("MOLE", "MOLEDGL")  # classes of linear maps that mix experts

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

_SETTINGS = {
    "max_degree": "lmax", "max_order": "mmax", "channels": "sphere_channels", "hidden_channels": "hidden_channels",
    "edge_channels": "edge_channels", "n_radial": "num_distance_basis", "n_layers": "num_layers", "cutoff": "cutoff",
    "norm": "norm_type", "edge_activation": "act_type", "feed_forward": "ff_type", "basis": "distance_function",
    "max_neighbors": "max_neighbors", "max_elements": "max_num_elements",
}  # fmt: skip


def describe(model: Any, head: str) -> Plain:
    """Settings of a model before its experts are merged; ``head`` is the data set, or empty."""
    backbone = model.backbone
    settings = {name: getattr(backbone, attribute, None) for name, attribute in _SETTINGS.items()}
    tasks: Plain = {}
    for task in model.tasks.values():
        for dataset in task.datasets:
            tasks.setdefault(str(dataset), {})[task.property] = _task(task)
    heads = sorted(tasks)
    if not head and len(heads) == 1:
        head = heads[0]
    return {
        "format": FORMAT,
        "class": type(backbone).__name__,
        "model_id": model.model_id,
        "versions": {"fairchem-core": _version("fairchem-core"), "torch": torch.__version__},
        "heads": heads,
        "head": head,
        "tasks": tasks.get(head, {}),
        "settings": settings,
        "elements": _elements(settings["max_elements"], tasks.get(head, {}).get("energy", {}).get("references")),
        "direct": bool(getattr(getattr(backbone, "regress_config", None), "direct_forces", True)),
        "balanced": [_length(backbone, "charge"), _length(backbone, "spin")],
        "experts": int(getattr(backbone, "num_experts", 0)),
        "experts_of": str(getattr(backbone, "mole_type", "so2")),
        "needs_composition": bool(getattr(backbone, "use_composition_embedding", False)),
        "energy_heads": [type(part).__name__ for part in _energy_heads(model)],
        "reduce": sorted({str(getattr(part, "reduce", "sum")) for part in _energy_heads(model)}),
    }


def _task(task: Any) -> Plain:
    references = task.element_references
    return {
        "mean": float(task.normalizer.mean),
        "rmsd": float(task.normalizer.rmsd),
        "references": None if references is None else references.element_references.double().tolist(),
    }


def _elements(n: Any, references: list[float] | None) -> list[int]:
    """Those that the model was trained on as far as it tells: with a reference energy, if there are any."""
    known = range(1, min(int(n or 0), _LARGEST + 1))
    if references is None or not any(references):
        return list(known)
    return [z for z in known if z < len(references) and references[z] != 0 and math.isfinite(references[z])]


def _energy_heads(model: Any) -> list[Any]:
    return [part for part in model.output_heads.modules() if hasattr(part, "energy_block")]


def _length(backbone: Any, name: str) -> int:
    return int(getattr(backbone, f"{name}_channel_end", 0)) - int(getattr(backbone, f"{name}_channel_start", 0))


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _is_plain(description: Plain, selection: Plain) -> bool:
    """Whether there is one model to be evaluated here; others are refused later, by name."""
    mixed = description["experts"] > 0 and description["needs_composition"] and not selection["composition"]
    return (
        bool(description["head"] in description["heads"] and description["elements"])
        and description["class"] in ("eSCNMDBackbone", "eSCNMDMoeBackbone")
        and "energy" in description["tasks"]
        and len(description["energy_heads"]) == 1
        and not description["direct"]
        and not mixed
    )


# What it says --------------------------------------------------------------------------------------------------------


def reference(unit: Any, description: Plain, selection: Plain) -> Arrays:
    """Structures and what the model says of them, its experts not merged but mixed for each of them.

    Energies of isolated atoms are given apart, since the interaction is what has to agree.
    """
    from ase import Atoms

    data = importlib.import_module("fairchem.core.datasets.atomic_data")
    dataset = description["head"]
    references = description["tasks"]["energy"]["references"]
    arrays: Arrays = {}
    for number, (positions, numbers, cell) in enumerate(_structures(description, selection)):
        periodic = bool(cell.any())
        atoms = Atoms(numbers, positions, cell=cell if periodic else None, pbc=periodic)
        atoms.info["charge"] = selection["charge"]
        if selection["spin"] is not None:
            atoms.info["spin"] = selection["spin"]
        unit.validate_atoms_data(atoms, dataset)
        description["charge"], description["spin"] = int(atoms.info["charge"]), int(atoms.info["spin"])
        options = {"task_name": dataset, "r_data_keys": ["spin", "charge"], "target_dtype": torch.float64}
        output = unit.predict(data.atomicdata_list_to_batch([data.AtomicData.from_ase(atoms, **options)]))
        found = {
            "positions": positions, "numbers": numbers, "cell": cell,
            "isolated": np.asarray(0.0 if references is None else sum(references[z] for z in numbers)),
            "energy": _array(output["energy"])[0], "forces": _array(output["forces"]),
        }  # fmt: skip
        if periodic:
            found["stress"] = _array(output["stress"]).reshape(3, 3)
        for name, value in found.items():
            arrays[f"reference.{number}.{name}"] = np.asarray(value)
    return arrays


def _structures(description: Plain, selection: Plain) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positions, numbers and cells: a cluster, a crowded molecule, two crystals; of all elements, or of the composition
    that is asked for, which is that of the whole system: in some models the mixture depends on its size, too."""
    rng = np.random.default_rng(0)
    composition = {int(z): int(n) for z, n in (selection["composition"] or {}).items()}
    unit = [z for z, count in sorted(composition.items()) for _ in range(count)]
    chosen = []
    for n_atoms, spacing, cell in (
        (max(len(description["elements"]), 12), 2.4, None),
        (6, 1.1, None),
        (8, 2.0, np.diag([4.1, 4.3, 4.6]) + 0.3 * rng.standard_normal((3, 3))),
        (3, 1.8, np.array([[3.2, 0.2, 0.0], [-0.4, 3.1, 0.1], [0.5, 0.6, 3.4]])),
    ):
        if unit:
            numbers = np.array(unit)
        elif cell is None:
            elements = description["elements"]
            numbers = np.array([elements[k % len(elements)] for k in range(n_atoms)])
        else:
            numbers = rng.choice(description["elements"], size=n_atoms)
        if cell is not None:  # as much room for an atom as before
            cell = cell * (len(numbers) / n_atoms) ** (1 / 3)
        side = math.ceil(len(numbers) ** (1 / 3))
        grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        sites = grid[rng.permutation(len(grid))[: len(numbers)]] + 0.15 * rng.standard_normal((len(numbers), 3))
        positions = spacing * sites if cell is None else (sites / side) @ cell
        chosen.append((positions, rng.permutation(numbers), np.zeros((3, 3)) if cell is None else cell))
    return chosen


def weights(model: Any, description: Plain) -> Arrays:
    """Weights of the model, experts merged as they were mixed for the last structure that it was evaluated on, and the
    vector that stands for charge, spin and data set."""
    backbone, (head,) = model.backbone, _energy_heads(model)
    arrays = _merged(backbone, "backbone") | _merged(head.energy_block, "head")
    charge, spin = (torch.tensor([description[name]], dtype=torch.float64) for name in ("charge", "spin"))
    with torch.no_grad():
        arrays["system"] = _array(backbone.csd_embedding(charge=charge, spin=spin, dataset=[description["head"]])[0])
    arrays["gaussian.centres"] = _array(backbone.distance_expansion.offset)
    arrays["gaussian.factor"] = np.asarray(float(backbone.distance_expansion.coeff))
    arrays["envelope.power"] = np.asarray(float(backbone.envelope.p))
    arrays["degree.divisor"] = np.asarray(float(backbone.edge_degree_embedding.rescale_factor))
    return arrays


def _merged(module: Any, prefix: str) -> Arrays:
    """Parameters by name; where a linear map mixes experts, Σ_e c_e W_e in the place of all W."""
    arrays = {f"{prefix}.{name}": _array(value) for name, value in module.named_parameters()}
    for name, part in module.named_modules():
        if type(part).__name__ in _MIXTURES:
            shares = _array(part.global_mole_tensors.expert_mixing_coefficients)[0]
            arrays[f"{prefix}.{name}.weight"] = np.einsum("e,eoi->oi", shares, arrays.pop(f"{prefix}.{name}.weights"))
    return arrays


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return tensor.to(torch.float64 if tensor.dtype.is_floating_point else torch.int64).numpy().copy()


# Program -------------------------------------------------------------------------------------------------------------


def main(path: str, folder: str, selection_json: str) -> int:
    """Open a checkpoint, write what it is made of into a folder, and return the exit code."""
    selection = json.loads(selection_json)
    logging.disable(logging.WARNING)
    write = _sibling("extract_mace").write
    try:
        inference = importlib.import_module("fairchem.core.units.mlip_unit.api.inference")
        predict = importlib.import_module("fairchem.core.units.mlip_unit.predict")
    except ImportError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return MISSING_PACKAGE
    held = torch.load(path, map_location="cpu", weights_only=False)
    if not isinstance(held, inference.MLIPInferenceCheckpoint):
        write(folder, {"format": FORMAT, "class": type(held).__name__, "not_a_module": True}, {})
        return 0
    settings = inference.InferenceSettings(
        activation_checkpointing=False, merge_mole=False, compile=False, base_precision_dtype=torch.float64
    )
    unit = predict.MLIPPredictUnit(path, device="cpu", inference_settings=settings)
    description = describe(unit.model.module, selection["head"])
    arrays: Arrays = {}
    if _is_plain(description, selection):
        arrays = reference(unit, description, selection)
        arrays.update(weights(unit.model.module, description))
    write(folder, description, arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
