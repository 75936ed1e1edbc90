"""How fast generators draw protostructures."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from atomsym.core import ConfigError
from atomsym.generators import Conditions, GeneratedProtostructure, ProtostructureGenerator


@dataclass(frozen=True)
class Case:
    """What is asked for.

    Attributes:
        name: of the case.
        conditions, space_groups: see ``ProtostructureGenerator.sample``.
    """

    name: str
    conditions: Conditions = field(default_factory=Conditions)
    space_groups: tuple[int, ...] = ()


CASES = (
    Case("no condition"),
    Case("at most 60 atoms", Conditions(max_atoms=60)),
    Case("at most 24 atoms", Conditions(max_atoms=24)),
    Case("groups 136, 62", space_groups=(136, 62)),
    Case("Ti or O", Conditions(elements=(8, 22))),
    Case("Ti and O", Conditions.of_system(8, 22)),
    Case("Ba, Ti and O", Conditions.of_system(8, 22, 56)),
    Case("Ti and O, groups 136, 62", Conditions.of_system(8, 22), (136, 62)),
    Case("TiO2", Conditions(composition={22: 1, 8: 2}, max_atoms=60)),
    Case("TiO2, 12 atoms", Conditions(composition={22: 1, 8: 2}, n_atoms=12)),
    Case("24 atoms", Conditions(n_atoms=24)),
)


@dataclass(frozen=True)
class GeneratorSpeed:
    """One case.

    Attributes:
        case: its name.
        n: protostructures drawn.
        first: seconds of the first draw, which also finds what can be reached.
        seconds: of the fastest of all draws; process CPU time on one thread, wall time on several.
        per_second: protostructures, of the fastest draw.
        different: part of different protostructures in the last draw.
        forced: part of the last draw to which orbits had to be added.
        redrawn: part of the last draw that was drawn anew.
        orbits: mean number of orbits in the last draw, which the time follows.
    """

    case: str
    n: int
    first: float
    seconds: float
    per_second: float
    different: float
    forced: float
    redrawn: float
    orbits: float


def measure_speeds(
    generator: ProtostructureGenerator,
    *,
    n: int,
    batch: int | None,
    repeats: int,
    seed: int,
    cases: tuple[Case, ...] = CASES,
) -> list[GeneratorSpeed]:
    """Draw protostructures in each case with torch's current number of threads.

    Args:
        generator: in evaluation mode.
        n: protostructures of a draw.
        batch: at a time; None: as the generator does best.
        repeats: draws of a case.
        seed: of the draws; the first draw has it, the second one the next.
        cases: what to draw.

    Raises:
        ConfigError: if a number is not positive, or the generator was not trained.
    """
    if min(n, repeats) < 1 or (batch is not None and batch < 1):
        raise ConfigError(f"n, batch and repeats must be at least 1; found {n}, {batch} and {repeats}")
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    found = []
    for case in cases:
        times: list[float] = []
        drawn: list[GeneratedProtostructure] = []
        for repeat in range(repeats):
            random = torch.Generator().manual_seed(seed + repeat)
            start = clock()
            drawn = generator.sample(
                n, conditions=case.conditions, space_groups=case.space_groups, generator=random, batch=batch
            )
            times.append(clock() - start)
        best = min(times)
        crystals = [each.protostructure for each in drawn]
        forced = sum(each.forced_orbits > 0 for each in drawn) / n
        redrawn = sum(each.redraws > 0 for each in drawn) / n
        orbits = sum(len(each.orbits) for each in crystals) / n
        different = len(set(crystals)) / n
        found.append(GeneratorSpeed(case.name, n, times[0], best, n / best, different, forced, redrawn, orbits))
    return found
