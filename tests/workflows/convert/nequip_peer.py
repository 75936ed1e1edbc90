"""The side of nequip: random checkpoints and packages, and what its own calculator says and how long it takes.

Run with a Python that has nequip, which needs nothing of atomsym:

    python nequip_peer.py make FOLDER SETTINGS         writes checkpoints with random weights, NAME.ckpt for each name
    python nequip_peer.py serve CHECKPOINT OPTIONS     answers structures on stdin, one JSON object a line

SETTINGS (by name) and OPTIONS are JSON. ``foreign_calculator`` starts the second one. SETTINGS are
arguments of nequip's builder that replace those of ``MODEL``, and beside them

    builder: of ``nequip.model``; default ``NequIPGNNModel``
    zbl: power of a ZBL repulsion's cutoff
    package: write NAME.nequip.zip, too, with ``nequip-package``
    ema: keep averaged weights beside the others, as training with ``EMALightningModule`` does
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings
from typing import Any

Plain = dict[str, Any]

MODEL: Plain = {
    "seed": 0, "model_dtype": "float64", "r_max": 4.0, "type_names": ["H", "C", "O"], "num_layers": 2, "l_max": 1,
    "parity": False, "num_features": 8, "radial_mlp_depth": 1, "radial_mlp_width": 12, "num_bessels": 6,
    "avg_num_neighbors": 11.0,
}  # fmt: skip
"""Of a small model; scales and shifts of the types are added."""


def model_config(settings: Plain) -> Plain:
    """What nequip builds a model from."""
    own = ("builder", "zbl", "package", "ema")
    config = MODEL | {name: value for name, value in settings.items() if name not in own}
    names = config["type_names"]
    if settings.get("builder") == "FullNequIPGNNModel":
        for name in ("num_layers", "l_max", "parity", "num_features"):
            config.pop(name)
    config.setdefault("per_type_energy_scales", {name: 0.7 + 0.3 * k for k, name in enumerate(names)})
    config.setdefault("per_type_energy_shifts", {name: -3.1 * (k + 1) for k, name in enumerate(names)})
    if "zbl" in settings:
        config["pair_potential"] = {
            "_target_": "nequip.nn.pair_potential.ZBL",
            "units": "metal",
            "chemical_species": names,
            "polynomial_cutoff_p": settings["zbl"],
        }
    return {"_target_": f"nequip.model.{settings.get('builder', 'NequIPGNNModel')}", **config}


def data_config(folder: str, config: Plain) -> Plain:
    """A data set of one structure, which ``nequip-package`` tries the model on."""
    from ase import Atoms
    from ase.io import write

    names = [name for name in config["type_names"] for _ in range(2)]
    path = os.path.join(folder, "example.xyz")
    write(path, Atoms(names, [[1.3 * k, 0.4 * (k % 3), 0.3 * (k % 2)] for k in range(len(names))], cell=[20] * 3))
    species = {"_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper", "model_type_names": names[::2]}
    neighbors = {"_target_": "nequip.data.transforms.NeighborListTransform", "r_max": config["r_max"]}
    return {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "seed": 0,
        "train_file_path": path,
        "val_file_path": path,
        "transforms": [species, neighbors],
    }


def make(folder: str, all_settings: Plain) -> None:
    """Write checkpoints, and packages where they are asked for."""
    from nequip.utils.global_state import set_global_state

    set_global_state(allow_tf32=False)
    for name, settings in all_settings.items():
        path = os.path.join(folder, f"{name}.ckpt")
        make_one(path, settings)
        if settings.get("package"):
            from nequip.scripts.package import main

            main(["build", path, os.path.join(folder, f"{name}.nequip.zip")])


def make_one(path: str, settings: Plain) -> None:
    """Write a checkpoint with the entries that training writes, but for the state of the optimizer."""
    import torch
    from nequip import train
    from nequip.utils import get_current_code_versions

    kind = "EMALightningModule" if settings.get("ema") else "NequIPLightningModule"
    config = model_config(settings)
    module = getattr(train, kind)(
        model=config,
        num_datasets={"train": 1, "val": 0, "test": 0, "predict": 0},
        info_dict={
            "versions": get_current_code_versions(verbose=False),
            "data": data_config(os.path.dirname(path), config) if settings.get("package") else {},
            "training_module": {"_target_": f"nequip.train.{kind}"},
        },
    )
    with torch.no_grad():  # trained, they are no integers any more
        for name, weight in module.named_parameters():
            if name.endswith("bessel_weights"):
                weight.add_(0.1 * torch.randn(weight.shape))
    if settings.get("ema"):
        with torch.no_grad():  # the weights of the last step, which are not those that nequip evaluates
            for weight in module.model.parameters():
                weight.mul_(1.5)
    checkpoint = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "pytorch-lightning_version": "2.0.0",
        "epoch": 0,
        "global_step": 0,
    }
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)


def serve(path: str, options: Plain) -> None:
    """Answer each line ``{"numbers", "positions", "cell"}`` with energy, forces, stress, and times."""
    answers, sys.stdout = sys.stdout, sys.stderr
    import torch
    from ase import Atoms
    from nequip.integrations.ase import NequIPCalculator

    torch.set_num_threads(int(options.get("threads", 1)))
    calculator = NequIPCalculator._from_saved_model(path, device="cpu")
    for line in sys.stdin:
        asked = json.loads(line)
        cell = asked.get("cell")
        atoms = Atoms(asked["numbers"], asked["positions"], cell=cell, pbc=cell is not None)
        clock, cpu = time.perf_counter(), time.process_time()
        atoms.calc = calculator
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        times = {"seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - cpu}
        stress = None if cell is None else atoms.get_stress().tolist()
        found = {"energy": float(energy), "forces": forces.tolist(), "stress": stress}
        answers.write(json.dumps({**found, **times}) + "\n")
        answers.flush()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    program = {"make": make, "serve": serve}[sys.argv[1]]
    program(sys.argv[2], json.loads(sys.argv[3]))
