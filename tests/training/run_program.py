"""Run as a program: trains the tiny problem in a folder and says each step; tests kill it and start several ranks."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import torch

from atomsym.artifacts import config_from_json
from atomsym.training import Observer, Ranks, TrainingConfig, TrainingData, resume, train


class Say(Observer):
    def on_step(self, epoch: int, n_epochs: int, position: int, n_batches: int, loss: float) -> None:
        sys.stdout.write("step\n")
        sys.stdout.flush()


def main() -> None:
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    problem = importlib.import_module("problem")
    folder = Path(sys.argv[1])
    structures = problem.make_structures()
    data = TrainingData(structures[:12], structures[12:])
    ranks = Ranks.of_environment(torch.device("cpu"))
    if sys.argv[2] == "resume":
        resume(folder, data, observer=Say(), ranks=ranks)
    else:
        config = config_from_json(TrainingConfig, (folder / "begin.json").read_text())
        train(config, data, folder, observer=Say(), ranks=ranks)
    ranks.close()


if __name__ == "__main__":
    main()
