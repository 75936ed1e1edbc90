"""The side of fairchem: random checkpoints, and what its own calculator says and how long it takes.

Run with a Python that has fairchem-core, which needs nothing of atomsym:

    python fairchem_peer.py make FOLDER SETTINGS         writes checkpoints with random weights, NAME.pt for each name
    python fairchem_peer.py serve CHECKPOINT OPTIONS     answers structures on stdin, one JSON object a line

SETTINGS (by name) and OPTIONS are JSON. ``foreign_calculator`` starts the second one.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any

Plain = dict[str, Any]
_MODULE = "fairchem.core.models.uma"

BACKBONE: Plain = {
    "model": f"{_MODULE}.escn_moe.eSCNMDMoeBackbone",
    "num_experts": 0,
    "sphere_channels": 8, "hidden_channels": 8, "edge_channels": 8, "lmax": 2, "mmax": 2, "num_layers": 2,
    "cutoff": 5.0, "num_distance_basis": 16, "max_neighbors": 300, "max_num_elements": 100, "otf_graph": True,
    "direct_forces": False, "regress_forces": True, "regress_stress": True,
    "norm_type": "rms_norm_sh", "act_type": "gate", "ff_type": "spectral", "chg_spin_emb_type": "rand_emb",
}  # fmt: skip
"""Of a small eSEN; entries of SETTINGS["backbone"] replace these."""


def model_config(settings: Plain) -> Plain:
    """What fairchem builds a model from."""
    datasets = settings.get("datasets", ["omol"])
    backbone = {**BACKBONE, "dataset_mapping": {name: name for name in datasets}, **settings.get("backbone", {})}
    head: Plain = {
        "module": f"{_MODULE}.escn_moe.DatasetSpecificMoEWrapper",
        "dataset_mapping": {name: name for name in datasets},
        "head_cls": f"{_MODULE}.escn_md.MLP_EFS_Head",
        "head_kwargs": {"wrap_property": False},
    }
    return {
        "_target_": "fairchem.core.models.base.HydraModel",
        "backbone": backbone,
        "heads": {"efs": {**head, **settings.get("head", {})}},
        "pass_through_head_outputs": True,
        **({"model_id": settings["model_id"]} if "model_id" in settings else {}),
    }


def tasks_config(settings: Plain) -> list[Plain]:
    """Energies, forces and stresses of each data set, with reference energies of all elements that have one."""
    path, found = "fairchem.core", []
    references = [-3.7 * z if z in settings.get("elements", range(1, 100)) else 0.0 for z in range(101)]
    for dataset in settings.get("datasets", ["omol"]):
        for name, level, size in (("energy", "system", [1]), ("forces", "atom", [3]), ("stress", "system", [1, 9])):
            task: Plain = {
                "_target_": f"{path}.units.mlip_unit.mlip_unit.Task",
                "name": f"{dataset}_{name}",
                "level": level,
                "property": name,
                "out_spec": {
                    "_target_": f"{path}.units.mlip_unit.mlip_unit.OutputSpec",
                    "dim": size,
                    "dtype": "float32",
                },
                "normalizer": {
                    "_target_": f"{path}.modules.normalization.normalizer.Normalizer",
                    "mean": settings.get("mean", 0.0),
                    "rmsd": settings.get("rmsd", 1.4),
                },
                "datasets": [dataset],
            }
            if name == "energy":
                task["element_references"] = {
                    "_target_": f"{path}.modules.normalization.element_references.ElementReferences",
                    "element_references": {"_target_": "torch.DoubleTensor", "_args_": [references]},
                }
            found.append(task)
    return found


def make(folder: str, all_settings: Plain) -> None:
    """Write checkpoints."""
    for name, settings in all_settings.items():
        make_one(os.path.join(folder, f"{name}.pt"), settings)


def make_one(path: str, settings: Plain) -> None:
    """Write a checkpoint. Biases and weights of norms, which fairchem starts from 0 and 1, are random, too."""
    import hydra
    import torch
    from fairchem.core.units.mlip_unit.api.inference import MLIPInferenceCheckpoint

    torch.manual_seed(settings.get("seed", 0))
    config = model_config(settings)
    model = hydra.utils.instantiate(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 1 or "affine" in name or "source_embedding" in name or "target_embedding" in name:
                weight.add_(0.3 * torch.randn(weight.shape))
    averaged = torch.optim.swa_utils.AveragedModel(model)
    torch.save(
        MLIPInferenceCheckpoint(
            model_config=config,
            model_state_dict=model.state_dict(),
            ema_state_dict=averaged.state_dict(),
            tasks_config=tasks_config(settings),
        ),
        path,
    )


def serve(path: str, options: Plain) -> None:
    """Answer each line ``{"numbers", "positions", "cell"}`` with energy, forces, and seconds of clock and processor."""
    answers, sys.stdout = sys.stdout, sys.stderr
    import torch
    from ase import Atoms
    from fairchem.core import FAIRChemCalculator
    from fairchem.core.units.mlip_unit.api.inference import InferenceSettings
    from fairchem.core.units.mlip_unit.predict import MLIPPredictUnit

    torch.set_num_threads(int(options.get("threads", 1)))
    settings = InferenceSettings(
        activation_checkpointing=bool(options.get("checkpointing", False)),
        merge_mole=True,
        compile=bool(options.get("compile", False)),
        execution_mode=options.get("mode"),
        base_precision_dtype=options.get("dtype", "float32"),
    )
    unit = MLIPPredictUnit(path, device="cpu", inference_settings=settings)
    calculator = FAIRChemCalculator(unit, task_name=options.get("head", "omol"))
    for line in sys.stdin:
        asked = json.loads(line)
        cell = asked.get("cell")
        atoms = Atoms(asked["numbers"], asked["positions"], cell=cell, pbc=cell is not None)
        atoms.info.update(charge=options.get("charge", 0), spin=options.get("spin", 1))
        clock, cpu = time.perf_counter(), time.process_time()
        atoms.calc = calculator
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        times = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - cpu}
        answers.write(json.dumps({"energy": float(energy), "forces": forces.tolist(), **times}) + "\n")
        answers.flush()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    program = {"make": make, "serve": serve}[sys.argv[1]]
    program(sys.argv[2], json.loads(sys.argv[3]))
