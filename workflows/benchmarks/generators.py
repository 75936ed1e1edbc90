"""How fast generators draw protostructures."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from atomsym.core import ConfigError
from atomsym.generators import Conditions, ProtostructureGenerator

CASES: dict[str, Conditions] = {
    "no condition": Conditions(),
    "Ti-O": Conditions.of_system(8, 22),
    "Ba-Ti-O": Conditions.of_system(8, 22, 56),
    "TiO2": Conditions(composition={22: 1, 8: 2}, max_atoms=48),
    "24 atoms": Conditions(n_atoms=24),
}
"""What is asked for, by name."""


@dataclass(frozen=True)
class GeneratorSpeed:
    """One case.

    Attributes:
        case: name of the conditions.
        n: protostructures drawn.
        seconds: process CPU time on one thread, wall time on several; the best of the repeats.
        per_second: protostructures.
        orbits: mean number of orbits, which the time follows.
    """

    case: str
    n: int
    seconds: float
    per_second: float
    orbits: float


def measure_speeds(
    generator: ProtostructureGenerator, *, n: int, batch: int, repeats: int, seed: int
) -> list[GeneratorSpeed]:
    """Draw protostructures under each of ``CASES`` with torch's current number of threads.

    The first draw of a case, which also finds what can be reached, counts as well.

    Args:
        generator: in evaluation mode.
        n: protostructures of a draw without conditions; with them, where a crystal may be drawn of several candidates,
            a tenth.
        batch: at a time.
        repeats: draws of a case.
        seed: of the draws.

    Raises:
        ConfigError: if a number is not positive, or the generator was not trained.
    """
    if min(n, batch, repeats) < 1:
        raise ConfigError(f"n, batch and repeats must be at least 1; found {n}, {batch} and {repeats}")
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    found = []
    for case, conditions in CASES.items():
        times, orbits = [], 0.0
        size = n if conditions == Conditions() else max(n // 10, 1)
        for repeat in range(repeats):
            random = torch.Generator().manual_seed(seed + repeat)
            start = clock()
            drawn = generator.sample(size, conditions=conditions, generator=random, batch=batch)
            times.append(clock() - start)
            orbits = sum(len(each.protostructure.orbits) for each in drawn) / size
        found.append(GeneratorSpeed(case, size, min(times), size / min(times), orbits))
    return found
