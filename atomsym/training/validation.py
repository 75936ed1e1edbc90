"""Validation: the loss and the errors of a model on structures that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from atomsym.models import Potential
from atomsym.training.batches import EdgeBatcher
from atomsym.training.config import LossSection, TrainingConfig
from atomsym.training.loss import batch_loss
from atomsym.training.metrics import ErrorSums
from atomsym.training.parallel import Ranks
from atomsym.training.quantities import quantities_of
from atomsym.training.samples import Samples

ErrorTable = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        loss: over all structures, with the weights of the stage.
        table: row, quantity, entry of ``Errors`` to value.
    """

    loss: float
    table: ErrorTable


def validate(
    potential: Potential,
    samples: Samples,
    loss: LossSection,
    config: TrainingConfig,
    ranks: Ranks,
    stop: Callable[[], str],
) -> Validation | str:
    """Loss and errors of all structures, or why the validation was broken off.

    Args:
        potential: the model.
        samples: the structures; each rank takes a part of every batch.
        loss: weights.
        config: of the run.
        ranks: processes of the run.
        stop: asked between batches.
    """
    batcher = EdgeBatcher(samples.n_edges(), structures=config.batch.structures, edges=config.batch.edges, seed=0)
    counts = samples.counts(range(len(samples)))
    errors = ErrorSums(quantities_of(potential))
    total = torch.zeros(1, dtype=torch.float64, device=samples.device)
    for indices in batcher.in_order():
        mine = batcher.shard(indices, ranks.rank, ranks.size)
        if mine:
            batch = samples.batch(mine)
            found = batch_loss(
                potential, batch, loss, counts, seed=(config.seed,), create_graph=False, all_properties=True
            )
            total += found.total.detach()
            errors.add(batch, found.predictions)
        if reason := stop():
            return reason
    ranks.sum([total])
    errors.merge(ranks.gather(errors.rows))
    return Validation(float(total), plain_table(errors))


def plain_table(errors: ErrorSums) -> ErrorTable:
    """The table of errors as plain data."""
    return {
        row: {quantity: {k: float(v) for k, v in asdict(e).items()} for quantity, e in quantities.items()}
        for row, quantities in errors.table().items()
    }
