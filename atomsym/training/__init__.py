"""Layer 4: training of potentials: configs, batches, losses, the loop, checkpoints and errors."""

from atomsym.training.batches import EdgeBatcher
from atomsym.training.checkpoints import Progress, read_checkpoint
from atomsym.training.config import (
    BatchSection,
    DataSection,
    EmaSection,
    LossSection,
    OptimizerSection,
    OutputSection,
    ScheduleSection,
    StageSection,
    TrainingConfig,
)
from atomsym.training.config_files import config_to_yaml, parse_yaml, read_config, with_overrides
from atomsym.training.logs import read_log
from atomsym.training.loss import BatchLoss, Predictions, batch_loss, predict
from atomsym.training.metrics import Errors, ErrorSums
from atomsym.training.observers import Observer, Observers
from atomsym.training.parallel import Ranks
from atomsym.training.quantities import QUANTITIES, TARGET, Quantity, quantities_of
from atomsym.training.reference_energies import ReferenceEnergies, isolated_energies, reference_energies
from atomsym.training.resolve import model_cutoff, new_potential, resolved_config
from atomsym.training.runs import resume, train
from atomsym.training.samples import Batch, LabelCounts, Samples
from atomsym.training.session import RESUME_ENTRIES
from atomsym.training.statistics import dataset_statistics
from atomsym.training.trainer import TrainingData, TrainingResult
from atomsym.training.validation import Validation, plain_table, validate

__all__ = [
    "QUANTITIES",
    "RESUME_ENTRIES",
    "TARGET",
    "Batch",
    "BatchLoss",
    "BatchSection",
    "DataSection",
    "EdgeBatcher",
    "EmaSection",
    "ErrorSums",
    "Errors",
    "LabelCounts",
    "LossSection",
    "Observer",
    "Observers",
    "OptimizerSection",
    "OutputSection",
    "Predictions",
    "Progress",
    "Quantity",
    "Ranks",
    "ReferenceEnergies",
    "Samples",
    "ScheduleSection",
    "StageSection",
    "TrainingConfig",
    "TrainingData",
    "TrainingResult",
    "Validation",
    "batch_loss",
    "config_to_yaml",
    "dataset_statistics",
    "isolated_energies",
    "model_cutoff",
    "new_potential",
    "parse_yaml",
    "plain_table",
    "predict",
    "quantities_of",
    "read_checkpoint",
    "read_config",
    "read_log",
    "reference_energies",
    "resolved_config",
    "resume",
    "train",
    "validate",
    "with_overrides",
]
