"""Recipes that are meant to be compared differ in nothing else than what is compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import atomsym.workflows
from atomsym.training import read_config

RECIPES = Path(atomsym.workflows.__file__).parent / "recipes"


def test_the_model_without_hessians_differs_from_organic_in_nothing_else() -> None:
    organic, forces = (read_config(RECIPES / f"{name}.yaml", []) for name in ("organic", "organic-forces"))
    backbone = {"cutoff": organic.model["cutoff"], **organic.model["backbone"]}
    assert backbone == forces.model
    assert (forces.loss.predicted_hessian, forces.loss.hessian_subspace) == (0.0, 0.0)
    assert organic.loss.predicted_hessian > 0
    assert replace(organic.loss, predicted_hessian=0.0, hessian_subspace=0.0) == forces.loss
    output = replace(forces.output, name=organic.output.name, description=organic.output.description)
    assert replace(organic, model=forces.model, loss=forces.loss) == replace(forces, output=output)
