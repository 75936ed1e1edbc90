"""The optimizer with its parameter groups, and the moving average of the weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor

from atomsym.core import ConfigError
from atomsym.models import Potential
from atomsym.training.config import EmaSection, OptimizerSection

OPTIMIZERS: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}

if TYPE_CHECKING:
    from atomsym.generators import ProtostructureGenerator

Averaged = TypeVar("Averaged", bound=torch.nn.Module)


def make_optimizer(model: Potential | ProtostructureGenerator, section: OptimizerSection) -> torch.optim.Optimizer:
    """An optimizer whose weight decay acts only where the architecture says so.

    Raises:
        ConfigError: if nothing can be trained, or decay is asked of an architecture that names no weights for it.
    """
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if not trained:
        raise ConfigError(f"the architecture '{model.architecture}' has no parameters to train")
    decaying = model.decay_parameters()
    if section.weight_decay and not decaying:
        raise ConfigError(
            f"optimizer.weight_decay is {section.weight_decay:g}, but no weight of the architecture "
            f"'{model.architecture}' takes decay; set it to 0"
        )
    unknown = decaying - {name for name, _ in model.named_parameters()}
    if unknown:
        raise ConfigError(f"'{model.architecture}' names weights that it does not have: {', '.join(sorted(unknown))}")
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


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, Tensor]:
    """The optimizer's memory as ``weight/entry`` to tensor."""
    found = {}
    for name, weight in model.named_parameters():
        for entry, value in optimizer.state.get(weight, {}).items():
            found[f"{name}/{entry}"] = value
    return found


def restore_optimizer(optimizer: torch.optim.Optimizer, model: torch.nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what ``optimizer_tensors`` gave; every value keeps the dtype and device that the optimizer uses."""
    weights = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, entry = key.rpartition("/")
        place = "cpu" if entry == "step" else weights[name].device
        optimizer.state[weights[name]][entry] = value.to(place, copy=True)


class MovingAverage(Generic[Averaged]):
    """A copy of a model whose weights follow those of the trained one: a ← d a + (1 - d) w after each step.

    With ``warmup`` the decay is d = min(decay, (1 + t) / (10 + t)) at step t, so that the average forgets the random
    initial weights. Decay 0 makes the copy equal to the model.

    Attributes:
        model: the average, in evaluation mode.
    """

    def __init__(self, model: Averaged, section: EmaSection) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._section = section

    @torch.no_grad()
    def update(self, model: Averaged, step: int) -> None:
        """Follow the weights after step ``step``, counted from 0; buffers are copied."""
        decay = self._section.decay
        if self._section.warmup:
            decay = min(decay, (1 + step) / (10 + step))
        averages = [average.data for average in self.model.parameters()]
        torch._foreach_lerp_(averages, [weight.data for weight in model.parameters()], 1 - decay)
        for own, other in zip(self.model.buffers(), model.buffers(), strict=True):
            own.copy_(other)
