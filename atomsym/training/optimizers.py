"""The optimizer with its parameter groups, and the moving average of the weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from atomsym.core import ConfigError
from atomsym.models import Potential
from atomsym.training.config import EmaSection, OptimizerSection

OPTIMIZERS: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def make_optimizer(potential: Potential, section: OptimizerSection) -> torch.optim.Optimizer:
    """An optimizer whose weight decay acts only where the architecture says so.

    Raises:
        ConfigError: if nothing can be trained, or decay is asked of an architecture that names no weights for it.
    """
    trained = {name: weight for name, weight in potential.named_parameters() if weight.requires_grad}
    if not trained:
        raise ConfigError(f"the architecture '{potential.architecture}' has no parameters to train")
    decaying = potential.decay_parameters()
    if section.weight_decay and not decaying:
        raise ConfigError(
            f"optimizer.weight_decay is {section.weight_decay:g}, but no weight of the architecture "
            f"'{potential.architecture}' takes decay; set it to 0"
        )
    unknown = decaying - {name for name, _ in potential.named_parameters()}
    if unknown:
        raise ConfigError(
            f"'{potential.architecture}' names weights that it does not have: {', '.join(sorted(unknown))}"
        )
    groups = [
        {"params": [w for n, w in trained.items() if n in decaying], "weight_decay": section.weight_decay},
        {"params": [w for n, w in trained.items() if n not in decaying], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[section.name](
        [group for group in groups if group["params"]],
        lr=section.learning_rate,
        betas=section.betas,
        eps=section.eps,
        amsgrad=section.amsgrad,
    )


def optimizer_tensors(optimizer: torch.optim.Optimizer, potential: Potential) -> dict[str, Tensor]:
    """The optimizer's memory as ``weight/entry`` to tensor."""
    found = {}
    for name, weight in potential.named_parameters():
        for entry, value in optimizer.state.get(weight, {}).items():
            found[f"{name}/{entry}"] = value
    return found


def restore_optimizer(optimizer: torch.optim.Optimizer, potential: Potential, tensors: dict[str, Tensor]) -> None:
    """Put back what ``optimizer_tensors`` gave; every value keeps the dtype and device that the optimizer uses."""
    weights = dict(potential.named_parameters())
    for key, value in tensors.items():
        name, _, entry = key.rpartition("/")
        place = "cpu" if entry == "step" else weights[name].device
        optimizer.state[weights[name]][entry] = value.to(place, copy=True)


class MovingAverage:
    """A copy of a potential whose weights follow those of the trained one: a ← d a + (1 - d) w after each step.

    With ``warmup`` the decay is d = min(decay, (1 + t) / (10 + t)) at step t, so that the average forgets the random
    initial weights. Decay 0 makes the copy equal to the potential.

    Attributes:
        potential: the average, in evaluation mode.
    """

    def __init__(self, potential: Potential, section: EmaSection) -> None:
        self.potential = copy.deepcopy(potential).eval().requires_grad_(False)
        self._section = section

    @torch.no_grad()
    def update(self, potential: Potential, step: int) -> None:
        """Follow the weights after step ``step``, counted from 0; buffers are copied."""
        decay = self._section.decay
        if self._section.warmup:
            decay = min(decay, (1 + step) / (10 + step))
        averages = [average.data for average in self.potential.parameters()]
        torch._foreach_lerp_(averages, [weight.data for weight in potential.parameters()], 1 - decay)
        for own, other in zip(self.potential.buffers(), potential.buffers(), strict=True):
            own.copy_(other)
