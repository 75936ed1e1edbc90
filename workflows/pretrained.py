"""Makes the model files that are shipped: ``python -m atomsym.workflows.pretrained [FOLDER]``.

The same program version writes the same bytes, so the files can be checked by making them again.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import atomsym.calculators
from atomsym.artifacts import ModelCard, ModelDescription, save_model
from atomsym.models import ARGON, COPPER, LennardJones, Morse, Potential

FOLDER = Path(atomsym.calculators.__file__).parent / "pretrained"


def shipped_models() -> list[tuple[Potential, ModelCard]]:
    """The potentials that are shipped, with their cards."""
    return [
        (
            LennardJones(ARGON),
            ModelCard(
                name="argon",
                level_of_theory="empirical pair potential",
                training_data="thermodynamic properties of liquid argon (measured)",
                licence="MIT",
                citation="L. A. Rowley, D. Nicholson, N. G. Parsonage, J. Comput. Phys. 17, 401 (1975)",
                description="Lennard-Jones argon, smooth cutoff from 6.8 to 8.5 Å; for tests, teaching and timings.",
            ),
        ),
        (
            Morse(COPPER),
            ModelCard(
                name="copper-morse",
                level_of_theory="empirical pair potential",
                training_data="lattice constant, sublimation energy and compressibility of copper (measured)",
                licence="MIT",
                citation="L. A. Girifalco, V. G. Weizer, Phys. Rev. 114, 687 (1959)",
                description="Morse copper, smooth cutoff from 7.5 to 10 Å; for tests, teaching and timings.",
            ),
        ),
    ]


def make_shipped_models(folder: str | Path = FOLDER, *, created_with: str | None = None) -> list[ModelDescription]:
    """Write all shipped models into a folder as ``<name>.safetensors``.

    Args:
        folder: must exist; default: where they are shipped.
        created_with: program and version to be stated in the files; default: this one.

    Raises:
        ArtifactError: if a file cannot be written.
    """
    return [
        save_model(potential, Path(folder) / f"{card.name}.safetensors", card, created_with=created_with)
        for potential, card in shipped_models()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m atomsym.workflows.pretrained", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="default: the folder of shipped models")
    folder = parser.parse_args(arguments).folder
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for description in make_shipped_models(folder):
        logging.getLogger(__name__).info(
            "%s: %d bytes, sha256 %s", description.card.name, description.size, description.content_hash
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
