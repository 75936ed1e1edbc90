"""Training of generators of protostructures, of any architecture, with the parts of the training of potentials."""

from atomsym.training.generators.config import (
    CrystalBatchSection,
    CrystalDataSection,
    GeneratorOptimizerSection,
    GeneratorTrainingConfig,
    new_generator,
)
from atomsym.training.generators.likelihood import mean_loss
from atomsym.training.generators.runs import (
    GENERATOR_RUN,
    resume_generator,
    train_generator,
)
from atomsym.training.generators.trainer import GeneratorData, GeneratorTrainingResult
from atomsym.training.session import RESUME_ENTRIES

__all__ = [
    "GENERATOR_RUN",
    "RESUME_ENTRIES",
    "CrystalBatchSection",
    "CrystalDataSection",
    "GeneratorData",
    "GeneratorOptimizerSection",
    "GeneratorTrainingConfig",
    "GeneratorTrainingResult",
    "mean_loss",
    "new_generator",
    "resume_generator",
    "train_generator",
]
