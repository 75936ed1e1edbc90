"""How good a trained generator is: its loss on every part of the data, and whether its samples are new and legal."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from atomsym.artifacts import load_generator, write_atomically
from atomsym.core import ArtifactError
from atomsym.generators import ProtostructureBatch, ProtostructureGenerator, protostructures_of
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.symmetry.wyckoff.relabelling import canonical
from atomsym.training.generators import GeneratorData, GeneratorTrainingResult, mean_loss

N_SAMPLES = 1000


@dataclass(frozen=True)
class SampleFacts:
    """What samples of the generator are like, beside the training crystals; parts are of all samples.

    Attributes:
        n: number of samples.
        unique: part of different canonical protostructures.
        new: part whose canonical protostructure no training crystal has.
        p1: part without symmetry, in the training crystals and in the samples.
        orbits: mean number, in the training crystals and in the samples.
        group_distance: total variation distance between the distributions of space groups, 0 to 1.
    """

    n: int
    unique: float
    new: float
    p1: tuple[float, float]
    orbits: tuple[float, float]
    group_distance: float


@dataclass(frozen=True)
class GeneratorScores:
    """The best generator of a run.

    Attributes:
        losses: nats a crystal, by part of the data.
        samples: what its samples are like.
        files: what was written.
    """

    losses: dict[str, float]
    samples: SampleFacts
    files: tuple[Path, ...]


def finish_generator_run(result: GeneratorTrainingResult, data: GeneratorData) -> GeneratorScores:
    """Score the best generator, write ``scores.json`` and draw the learning curve.

    Raises:
        AtomsymError: if the generator cannot be loaded or a file not be written.
    """
    from atomsym.workflows.train_generator.report import write_learning_curve  # matplotlib is slow to import

    if result.generator_file is None:
        raise ArtifactError(f"{result.folder} has no generator: the run ended before its first validation")
    generator = load_generator(result.generator_file, result.config.device)
    config = result.config
    parts = {"validation": data.validation, **data.tests}
    losses = {name: _loss(generator, part, config.seed, config.validation_draws) for name, part in parts.items()}
    facts = sample_facts(generator, data.train, N_SAMPLES, seed=config.seed)
    picture = write_learning_curve(result.folder, config.output.name)
    scores = {"losses_nats": losses, "samples": asdict(facts)}
    text = json.dumps(scores, indent=2, ensure_ascii=False)
    write_atomically(result.folder / "scores.json", f"{text}\n".encode())
    return GeneratorScores(losses, facts, (picture, result.folder / "scores.json"))


def sample_facts(generator: ProtostructureGenerator, train: ProtostructureBatch, n: int, *, seed: int) -> SampleFacts:
    """Draw samples and look at them.

    Args:
        generator: in evaluation mode.
        train: the training crystals.
        n: number of samples.
        seed: of the draws.
    """
    random = torch.Generator().manual_seed(seed)
    drawn = [each.protostructure for each in generator.sample(n, generator=random)]
    known = protostructures_of(train)
    seen = {canonical(each) for each in known}
    found = [canonical(each) for each in drawn]
    return SampleFacts(
        n=n,
        unique=len(set(found)) / n,
        new=sum(each not in seen for each in found) / n,
        p1=(_part_p1(known), _part_p1(drawn)),
        orbits=(_mean_orbits(known), _mean_orbits(drawn)),
        group_distance=_distance(known, drawn),
    )


def _loss(generator: ProtostructureGenerator, part: ProtostructureBatch, seed: int, draws: int) -> float:
    return float(mean_loss(generator, part, seed=seed, draws=draws))


def _part_p1(structures: list[Protostructure]) -> float:
    return sum(each.space_group == 1 for each in structures) / len(structures)


def _mean_orbits(structures: list[Protostructure]) -> float:
    return sum(len(each.orbits) for each in structures) / len(structures)


def _distance(first: list[Protostructure], second: list[Protostructure]) -> float:
    """Half of the sum of the differences of the frequencies of space groups."""
    one, two = (Counter(each.space_group for each in part) for part in (first, second))
    return sum(abs(one[group] / len(first) - two[group] / len(second)) for group in one | two) / 2
