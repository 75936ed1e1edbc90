"""Learning rates over a run: a function of the position in it, and one memory for plateaus."""

from __future__ import annotations

import math

from atomsym.training.config import ScheduleSection, Stage, TrainingConfig


def stage_at(config: TrainingConfig, epoch: int) -> tuple[int, Stage]:
    """Number and settings of the stage that an epoch belongs to; the last one beyond the end."""
    stages = config.all_stages()
    number = max(i for i, stage in enumerate(stages) if stage.start <= epoch or i == 0)
    return number, stages[number]


def learning_rate(stage: Stage, epoch: int, fraction: float, plateau_factor: float = 1.0) -> float:
    """Learning rate of a step.

    Args:
        stage: the stage.
        epoch: epoch of the run, counted from 0.
        fraction: part of the epoch that is done after the step, in (0, 1].
        plateau_factor: product of the reductions so far, for the plateau schedule.
    """
    done, length = epoch - stage.start + fraction, stage.end - stage.start
    return stage.learning_rate * schedule_factor(stage.schedule, done, length, plateau_factor)


def schedule_factor(schedule: ScheduleSection, done: float, length: float, plateau_factor: float = 1.0) -> float:
    """The part of the full learning rate that a schedule gives.

    Args:
        schedule: the schedule.
        done: epochs since its beginning.
        length: epochs that it covers.
        plateau_factor: see ``learning_rate``.
    """
    if done < schedule.warmup_epochs:
        return done / schedule.warmup_epochs
    return _factor(schedule, done, length, plateau_factor)


def _factor(schedule: ScheduleSection, done: float, length: float, plateau_factor: float) -> float:
    if schedule.kind == "cosine":
        part = (done - schedule.warmup_epochs) / max(length - schedule.warmup_epochs, 1e-9)
        wave = 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))
        return schedule.final_fraction + (1 - schedule.final_fraction) * wave
    if schedule.kind == "exponential":
        return schedule.decay ** (done - schedule.warmup_epochs)
    if schedule.kind == "plateau":
        return plateau_factor
    return 1.0
