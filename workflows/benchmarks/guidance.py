"""Whether guided draws of a generator have the properties that were aimed at, by the word of a network of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from atomsym.core import ConfigError
from atomsym.generators import ProtostructureGenerator
from atomsym.metrics.embedding import TrainedEmbedding


@dataclass(frozen=True)
class GuidanceRow:
    """Draws with one aim.

    Attributes:
        property: its name.
        target: what was aimed at; None: nothing.
        guidance: how strongly.
        n: protostructures drawn.
        mean, deviation: of the property of the draws, as the judge predicts it.
        quartiles: 25 %, 50 % and 75 % likewise.
        near: part of the draws within the judge's own mean error of the target; 0 without a target.
        different: part of different protostructures.
    """

    property: str
    target: float | None
    guidance: float
    n: int
    mean: float
    deviation: float
    quartiles: tuple[float, float, float]
    near: float
    different: float


def judge_error(judge: TrainedEmbedding) -> float:
    """Mean absolute error of the judge on the crystals that it was tested on, in the unit of its property.

    Raises:
        ConfigError: if its file does not tell.
    """
    text = judge.description.get("test_mae", "")
    try:
        return 1e-3 * float(text.split()[0])
    except (IndexError, ValueError) as error:
        raise ConfigError(
            "the judge's file does not tell its error; train it with atomsym.workflows.train_embedding"
        ) from error


def measure_guidance(
    generator: ProtostructureGenerator,
    judge: TrainedEmbedding,
    targets: Sequence[float],
    strengths: Sequence[float],
    *,
    n: int,
    seed: int,
    say: Callable[[str], None] = lambda text: None,
) -> list[GuidanceRow]:
    """Draw without an aim, and with every target and strength.

    Args:
        generator: that knows the judge's property.
        judge: predicts the property and was trained without the generator.
        targets: values to aim at, in the unit of the property.
        strengths: of the guidance, > 0.
        n: protostructures of each draw.
        seed: of each draw.
        say: is told what is drawn.

    Raises:
        ConfigError: if the generator does not know the property, or numbers are out of range.
    """
    name, error = judge.property, judge_error(judge)
    if not targets or not strengths or n < 2 or not all(strength > 0 for strength in strengths):
        raise ConfigError("at least one target, strengths of guidance above 0 and two draws are needed")
    for target in targets:
        generator.require_targets({name: target}, max(strengths))
    rows = []
    aims: list[tuple[float | None, float]] = [(None, 0.0)]
    aims += [(target, strength) for strength in strengths for target in targets]
    for aim, strength in aims:
        say(f"{name}: {'no target' if aim is None else f'{aim:g}, guidance {strength:g}'}")
        drawn = generator.sample(
            n,
            generator=torch.Generator().manual_seed(seed),
            targets={} if aim is None else {name: aim},
            guidance=strength,
        )
        structures = [each.protostructure for each in drawn]
        values = judge.predict(structures)
        quartiles = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
        rows.append(
            GuidanceRow(
                name,
                aim,
                strength,
                len(values),
                float(values.mean()),
                float(values.std()),
                (quartiles[0], quartiles[1], quartiles[2]),
                0.0 if aim is None else float((np.abs(values - aim) <= error).mean()),
                len(set(structures)) / len(structures),
            )
        )
    return rows
