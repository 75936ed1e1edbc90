"""What comes after the last step: errors on every part of the data, and pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from atomsym.artifacts import load_model, write_atomically
from atomsym.training import TrainingData, TrainingResult
from atomsym.workflows.evaluate.run import EvaluationResult, evaluate_structures
from atomsym.workflows.evaluate.table import result_as_data


@dataclass(frozen=True)
class FinalErrors:
    """The best model on all parts of the data.

    Attributes:
        parts: errors by name of the part: ``validation``, then the tests.
        files: what was written.
    """

    parts: dict[str, EvaluationResult]
    files: tuple[Path, ...]


def finish_run(result: TrainingResult, data: TrainingData) -> FinalErrors:
    """Evaluate the best model, write ``errors.json`` and draw learning curves and parity plots.

    Raises:
        AtomsymError: if the model cannot be evaluated or a file not be written.
    """
    from atomsym.workflows.evaluate.plots import write_parity  # matplotlib takes a while: only when it draws
    from atomsym.workflows.train.report import write_learning_curves

    folder, found = result.folder, {}
    files = [path for path in [write_learning_curves(folder, result.config)] if path is not None]
    if result.model_file is None:
        return FinalErrors({}, tuple(files))
    model = load_model(result.model_file, result.config.device)
    for name, structures in {"validation": data.validation, **data.tests}.items():
        found[name] = evaluate_structures(model, structures)
        title = f"{result.config.output.name} on {name}"
        picture = folder / f"parity-{_file_name(name)}.png"
        files.append(write_parity(found[name].parity, found[name].errors, picture, title=title))
    text = json.dumps({name: result_as_data(part) for name, part in found.items()}, indent=2, ensure_ascii=False)
    write_atomically(folder / "errors.json", f"{text}\n".encode())
    return FinalErrors(found, (*files, folder / "errors.json"))


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
