"""The loss of a generator on crystals that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable

import torch

from atomsym.generators import ProtostructureBatch, ProtostructureGenerator, relabelled

CHUNK = 512


def mean_loss(
    generator: ProtostructureGenerator,
    crystals: ProtostructureBatch,
    *,
    seed: int,
    draws: int = 1,
    augmentation: bool = True,
    stop: Callable[[], str] = lambda: "",
) -> float | str:
    """Mean over crystals and draws in nats a crystal, or why it was broken off.

    Where the loss is a bound of the likelihood, this is one of -log p(crystal | group). The draws follow from the seed
    alone, so that values of different weights can be compared.

    Args:
        generator: in evaluation mode.
        crystals: on the CPU.
        seed: of all draws.
        draws: how often each crystal is asked.
        augmentation: ask about it in a random setting of its group.
        stop: asked between chunks.
    """
    random = torch.Generator().manual_seed(seed)
    total = 0.0
    rows = torch.arange(len(crystals.groups))
    with torch.no_grad():
        for _ in range(draws):
            for chunk in rows.split(CHUNK):
                batch = crystals.select(chunk)
                batch = relabelled(batch, random) if augmentation else batch
                total += float(generator.loss(batch.to(generator.device), random).double().sum())
                if reason := stop():
                    return reason
    return total / (draws * len(rows))
