"""Run as a program: trains a tiny generator in a folder and says each step; tests kill it and go on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from atomsym.core.configs import config_from_dict, config_from_json
from atomsym.generators import batch_of
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.training import Observer
from atomsym.training.generators import (
    GeneratorData,
    GeneratorTrainingConfig,
    resume_generator,
    train_generator,
)

CRYSTALS = [
    Protostructure(225, ((11, "a"), (17, "b"))),
    Protostructure(136, ((22, "a"), (8, "f"))),
    Protostructure(62, ((20, "c"), (22, "a"), (8, "c"), (8, "d"))),
    Protostructure(221, ((56, "a"), (22, "b"), (8, "c"))),
    Protostructure(227, ((14, "a"),)),
]
TINY = {
    "architecture": "wyformer", "element_channels": 8, "site_channels": 4, "enumeration_channels": 4, "layers": 1,
    "heads": 2, "hidden": 16, "dropout": 0.1, "properties": ["gap"],
}  # fmt: skip


def tiny_data() -> GeneratorData:
    gaps = [{"gap": 1.0 * number} for number in range(5)]
    train = batch_of(CRYSTALS * 8, gaps * 8, ("gap",))
    return GeneratorData(train, batch_of(CRYSTALS * 2, gaps * 2, ("gap",)), description="five crystals")


def tiny_config(**entries: Any) -> GeneratorTrainingConfig:
    values = {
        "generator": TINY, "data": {"train": ["five"]}, "batch": {"crystals": 16}, "epochs": 4,
        "optimizer": {"learning_rate": 0.01}, "schedule": {"kind": "cosine", "warmup_epochs": 0.5},
        "ema": {"decay": 0.9}, "output": {"name": "five", "checkpoint_steps": 2}, **entries,
    }  # fmt: skip
    return config_from_dict(GeneratorTrainingConfig, values)


class Say(Observer):
    def on_step(self, epoch: int, n_epochs: int, position: int, n_batches: int, loss: float) -> None:
        sys.stdout.write("step\n")
        sys.stdout.flush()


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    if sys.argv[2] == "resume":
        resume_generator(folder, tiny_data(), observer=Say())
    else:
        config = config_from_json(GeneratorTrainingConfig, (folder / "begin.json").read_text())
        train_generator(config, tiny_data(), folder, observer=Say())


if __name__ == "__main__":
    main()
