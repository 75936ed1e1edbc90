"""Categorical noise with a fixed end: how states are forgotten, and how that is undone (D3PM)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def kept_fractions(steps: int, schedule: str) -> Tensor:
    """a_t: how likely a state has not yet been replaced at noise level t.

    With c_t = cos(π/2 · (t/T + 0.008) / 1.008) it is c_t/c_0, or its square for ``squared_cosine``: the product of
    1 − β_s with β_s = 1 − c_s/c_{s−1} over s ≤ t.

    Args:
        steps: T.
        schedule: ``cosine`` or ``squared_cosine``.

    Returns:
        Shape (T + 1,), float64, decreasing from 1 to exactly 0: the last step forgets everything, so that sampling can
        start from the prior.

    Source: Nichol and Dhariwal 2021 square the cosine; WyckoffDiff (Kelvinius et al. 2025) does not, and bounds β by
    0.999, which leaves some 1e-6 instead of 0 at the end.
    """
    levels = torch.arange(steps + 1, dtype=torch.float64) / steps
    cosine = torch.cos(math.pi / 2 * (levels + 0.008) / 1.008)
    kept = cosine / cosine[0]
    kept[-1] = 0.0
    return kept**2 if schedule == "squared_cosine" else kept


def transition_matrix(kept: Tensor, prior: Tensor) -> Tensor:
    """Q = a·I + (1 − a)·1mᵀ: from a state (row) to the states after noise that keeps it with probability a.

    For one step a is 1 − β_t; for the first t steps together it is a_t, since 1mᵀ is idempotent.

    Args:
        kept: a, shape ().
        prior: m, shape (n_states,), sums to 1.

    Returns:
        Shape (n_states, n_states); rows sum to 1.
    """
    return kept * torch.eye(len(prior), dtype=prior.dtype, device=prior.device) + (1 - kept) * prior.expand(
        len(prior), -1
    )


def with_noise(states: Tensor, kept: Tensor, prior: Tensor, generator: torch.Generator) -> Tensor:
    """Draw x_t given x_0.

    Args:
        states: x_0, integers, any shape.
        kept: a_t, broadcastable to them.
        prior: m, shape (n_states,).
        generator: of the draws, on the CPU.
    """
    stays = torch.rand(states.shape, generator=generator).to(states.device) < kept
    shape, fresh = states.shape, torch.zeros_like(states)
    if states.numel():
        weights = prior.detach().to("cpu", torch.float64)
        fresh = torch.multinomial(weights, states.numel(), replacement=True, generator=generator)
        fresh = fresh.reshape(shape).to(states.device)
    return torch.where(stays, states, fresh)


def step_back(clean: Tensor, noisy: Tensor, kept_before: Tensor, kept: Tensor, prior: Tensor) -> Tensor:
    """p(x_s | x_t) = Σ_k q(x_s | x_t, x_0 = k) p(x_0 = k) for levels s < t, not only neighbouring ones.

    By Bayes q(x_s = j | x_t = i, x_0 = k) = Q[j, i] Q̄_s[k, j] / Q̄_t[k, i], with Q from s to t. The sum over k has a
    closed form that costs as little as a softmax. Where x_t cannot come from the prior it is x_0 itself, whatever
    ``clean`` says.

    Args:
        clean: p(x_0), shape (…, n_states); sums to 1. A one-hot gives the posterior.
        noisy: x_t, integers, shape (…).
        kept_before, kept: a_s > a_t, broadcastable to (…).
        prior: m, shape (n_states,).

    Returns:
        Shape (…, n_states); sums to 1. At s = 0 it is ``clean`` among the states that can lead to x_t.
    """
    index = noisy.unsqueeze(-1)
    one = torch.ones_like(index, dtype=clean.dtype)
    here = torch.zeros_like(clean).scatter_(-1, index, one)
    before, after = kept_before.unsqueeze(-1), kept.unsqueeze(-1)
    ratio, end = after / before, prior[noisy].unsqueeze(-1)
    from_prior = (1 - after) * end
    certain = from_prior <= 0
    weights = clean / torch.where(certain, one, from_prior)
    own = clean.gather(-1, index) / torch.where(certain, one, from_prior + after)
    weights = torch.where(here > 0, own, weights)
    total = weights.sum(dim=-1, keepdim=True)
    result = ((1 - ratio) * end + ratio * here) * (before * weights + (1 - before) * prior * total)
    return torch.where(certain, here, result)


def draw(weights: Tensor, generator: torch.Generator) -> Tensor:
    """One state each, never one of weight 0.

    Args:
        weights: not normalised, shape (…, n_states); none is all zero.
        generator: on the CPU.

    Returns:
        Shape (…), int64.
    """
    sums = weights.cumsum(dim=-1)
    total = sums[..., -1]
    spot = torch.rand(total.shape, generator=generator, dtype=torch.float64).to(weights.device, weights.dtype) * total
    # rounding must not lift it to the total, where no state begins
    spot = torch.minimum(spot, torch.nextafter(total, torch.zeros_like(total)))
    return (sums <= spot.unsqueeze(-1)).sum(dim=-1)


def leaving_rate(kept_before: Tensor, kept: Tensor) -> Tensor:
    """(a_s − a_t)/(1 − a_t): how likely what is forgotten at level t was still known at level s < t."""
    return (kept_before - kept) / (1 - kept)


def draw_growth(clean: Tensor, noisy: Tensor, rate: Tensor, generator: torch.Generator) -> Tensor:
    """A draw from ``step_back`` for the prior that is state 0 alone, at the cost of the few variables that leave it.

    Args:
        clean: p(x_0), shape (…, n_states).
        noisy: x_t, integers, shape (…).
        rate: ``leaving_rate``, broadcastable to (…).
        generator: on the CPU.
    """
    spot = torch.rand(noisy.shape, generator=generator).to(clean.device, clean.dtype)
    leaves = (noisy == 0) & (spot < rate * (1 - clean[..., 0]))
    result = noisy.clone()
    result[leaves] = draw(clean[leaves][:, 1:], generator) + 1
    return result
