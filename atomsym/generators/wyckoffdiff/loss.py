"""What undoing noise costs: the terms of the objectives and of the variational bound."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from atomsym.generators.wyckoffdiff.noise import leaving_rate, step_back


def entropies(logits: Tensor, clean: Tensor) -> Tensor:
    """-log p(x_0 | x_t) of each variable, in nats.

    Args:
        logits: of the clean states, shape (…, n_states).
        clean: x_0, integers, shape (…).
    """
    return -logits.log_softmax(dim=-1).gather(-1, clean.unsqueeze(-1)).squeeze(-1)


def divergences(
    logits: Tensor, clean: Tensor, noisy: Tensor, kept_before: Tensor, kept: Tensor, prior: Tensor
) -> Tensor:
    """KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)) of each variable, in nats; at s = 0 that is -log p(x_0 | x_t).

    Args:
        logits: of the clean states, shape (…, n_states).
        clean, noisy: x_0 and x_t, integers, shape (…).
        kept_before, kept: a_s > a_t, broadcastable to (…).
        prior: m, shape (n_states,).
    """
    wanted = step_back(one_hot(clean, logits.shape[-1]).to(logits.dtype), noisy, kept_before, kept, prior)
    given = step_back(logits.softmax(dim=-1), noisy, kept_before, kept, prior)
    given = given.clamp(min=torch.finfo(given.dtype).tiny)
    return (torch.xlogy(wanted, wanted) - torch.xlogy(wanted, given)).sum(dim=-1)


def divergences_from_zero(logits: Tensor, clean: Tensor, noisy: Tensor, kept_before: Tensor, kept: Tensor) -> Tensor:
    """``divergences`` for the prior that is state 0 alone, where few terms are left and no array of states is needed.

    What is not in state 0 is clean already. Of the rest, with r = (a_s − a_t)/(1 − a_t), a variable of another clean
    state k leaves 0 with probability r, and the model says r p(k).
    """
    logs = logits.log_softmax(dim=-1)
    rate = leaving_rate(kept_before, kept)
    stays = (1 - rate + rate * logs[..., 0].exp()).clamp(min=torch.finfo(logs.dtype).tiny).log()
    state = logs.gather(-1, clean.unsqueeze(-1)).squeeze(-1)
    leaves = torch.xlogy(1 - rate, 1 - rate) - (1 - rate) * stays - rate * state
    return torch.where(noisy > 0, 0.0, torch.where(clean > 0, leaves, -stays))
