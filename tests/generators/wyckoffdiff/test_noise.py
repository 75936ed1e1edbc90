"""Categorical noise: its matrices, their closed form, and how a step is undone, against enumeration by Bayes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from atomsym.generators.wyckoffdiff import (
    divergences,
    divergences_from_zero,
    draw,
    draw_growth,
    kept_fractions,
    leaving_rate,
    step_back,
    transition_matrix,
    with_noise,
)
from atomsym.testing.tolerances import ALGEBRA, STATISTICAL_SIGMAS

TOLERANCE = ALGEBRA.float64
STEPS = 40
PRIORS = {
    "uniform": torch.full((5,), 0.2, dtype=torch.float64),
    "marginal": torch.tensor([0.6, 0.25, 0.1, 0.05, 0.0], dtype=torch.float64),
    "zeros": torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64),
}


def single_steps(kept: Tensor, prior: Tensor) -> list[Tensor]:
    """Q_t of every step, written entry by entry."""
    found = []
    for level in range(1, len(kept)):
        beta = 1 - float(kept[level] / kept[level - 1])
        rows = [[(1 - beta) * (i == j) + beta * float(prior[j]) for j in range(5)] for i in range(5)]
        found.append(torch.tensor(rows, dtype=torch.float64))
    return found


@pytest.mark.parametrize("schedule", ["cosine", "squared_cosine"])
@pytest.mark.parametrize("name", PRIORS)
def test_the_product_of_the_steps_is_the_closed_form(name: str, schedule: str) -> None:
    prior, kept = PRIORS[name], kept_fractions(STEPS, schedule)
    product = torch.eye(5, dtype=torch.float64)
    for level, step in enumerate(single_steps(kept, prior), start=1):
        product = product @ step
        closed = transition_matrix(kept[level], prior)
        torch.testing.assert_close(product, closed, rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(closed.sum(dim=1), torch.ones(5, dtype=torch.float64), rtol=0, atol=TOLERANCE)
        assert (closed >= 0).all()
    assert torch.equal(closed, prior.expand(5, -1)), "the end is the prior itself"


def test_the_schedule_is_the_published_one_up_to_its_last_step() -> None:
    kept, product = kept_fractions(1000, "cosine"), 1.0
    for t in range(999):
        now, after = (math.cos(math.pi / 2 * (s / 1000 + 0.008) / 1.008) for s in (t, t + 1))
        product *= 1 - min(1 - after / now, 0.999)
        assert float(kept[t + 1]) == pytest.approx(product, rel=1e-9)
    squared = kept_fractions(1000, "squared_cosine")
    torch.testing.assert_close(squared, kept**2, rtol=0, atol=TOLERANCE)
    assert (kept.diff() < 0).all()
    assert kept[-1] == 0


@pytest.mark.parametrize("below", [0, 6, 9])
@pytest.mark.parametrize("level", [10, STEPS])
@pytest.mark.parametrize("name", PRIORS)
def test_a_step_back_is_bayes_rule(name: str, level: int, below: int) -> None:
    """q(x_s | x_t, x_0) is q(x_t | x_s) q(x_s | x_0) over its sum, mixed by p(x_0 | x_t)."""
    prior, kept = PRIORS[name], kept_fractions(STEPS, "cosine")
    steps = single_steps(kept, prior)
    first, between = torch.eye(5, dtype=torch.float64), torch.eye(5, dtype=torch.float64)
    for step in steps[:below]:
        first = first @ step
    for step in steps[below:level]:
        between = between @ step
    clean = torch.rand(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    for noisy in range(5):
        joint = first * between[:, noisy]  # of x_0 and x_s
        evidence = joint.sum(dim=1)
        possible = evidence > 0
        if not possible.any():
            continue
        belief = clean[noisy] * possible
        belief = belief / belief.sum()
        expected = (belief[possible].unsqueeze(1) * joint[possible] / evidence[possible].unsqueeze(1)).sum(dim=0)
        found = step_back(clean[noisy], torch.tensor(noisy), kept[below], kept[level], prior)
        torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
        assert float(found.sum()) == pytest.approx(1, abs=TOLERANCE)


def test_what_cannot_come_from_the_prior_is_clean_whatever_the_model_says() -> None:
    prior, kept = PRIORS["zeros"], kept_fractions(STEPS, "cosine")
    clean = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    found = step_back(clean, torch.tensor(3), kept[9], kept[10], prior)
    assert found.tolist() == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("name", PRIORS)
def test_noise_follows_its_distribution_and_ends_at_the_prior(name: str) -> None:
    prior, kept = PRIORS[name], kept_fractions(STEPS, "cosine")
    n = 20000
    generator = torch.Generator().manual_seed(1)
    for level in (0, 15, STEPS):
        states = torch.full((n,), 2)
        noisy = with_noise(states, kept[level], prior, generator)
        expected = transition_matrix(kept[level], prior)[2]
        frequencies = torch.bincount(noisy, minlength=5) / n
        deviation = (frequencies - expected).abs()
        assert (deviation <= STATISTICAL_SIGMAS * (expected * (1 - expected) / n).sqrt() + TOLERANCE).all()
        assert (frequencies[expected < TOLERANCE] == 0).all()


@pytest.mark.parametrize(("level", "below"), [(1, 0), (20, 19), (20, 5), (STEPS, STEPS - 1)])
def test_growth_from_zero_is_the_general_case(level: int, below: int) -> None:
    prior, kept = PRIORS["zeros"], kept_fractions(STEPS, "cosine")
    generator = torch.Generator().manual_seed(2)
    logits = 3 * torch.randn(10, 5, dtype=torch.float64, generator=generator)
    clean = torch.arange(5).repeat(2)
    noisy = torch.cat((torch.zeros(5, dtype=torch.int64), torch.arange(5)))
    expected = divergences(logits, clean, noisy, kept[below], kept[level], prior)
    found = divergences_from_zero(logits, clean, noisy, kept[below], kept[level])
    torch.testing.assert_close(found, expected, rtol=0, atol=100 * TOLERANCE)
    n = 20000
    for state in (0, 3):
        belief, start = logits[0].softmax(dim=0), torch.tensor(state)
        probabilities = step_back(belief, start, kept[below], kept[level], prior)
        drawn = draw_growth(belief.expand(n, -1), start.expand(n), leaving_rate(kept[below], kept[level]), generator)
        deviation = (torch.bincount(drawn, minlength=5) / n - probabilities).abs()
        assert (deviation <= STATISTICAL_SIGMAS * (probabilities * (1 - probabilities) / n).sqrt() + 1e-12).all()


def test_draws_follow_the_weights_and_never_take_what_has_none() -> None:
    weights = torch.tensor([0.0, 3.0, 0.0, 1.0, 0.0], dtype=torch.float32).expand(20000, -1)
    drawn = draw(weights, torch.Generator().manual_seed(3))
    counts = torch.bincount(drawn, minlength=5)
    assert counts[[0, 2, 4]].sum() == 0
    assert float(counts[1] / 20000) == pytest.approx(0.75, abs=STATISTICAL_SIGMAS * math.sqrt(0.75 * 0.25 / 20000))


def test_draws_at_the_very_end_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random number next to 1 is rounded up to it in single precision, behind the last state that has a weight."""
    rand = torch.rand
    monkeypatch.setattr(torch, "rand", lambda *a, **k: torch.full_like(rand(*a, **k), 1 - 1e-12))
    weights = torch.tensor([[0.3, 0.7, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float32)
    assert draw(weights, torch.Generator()).tolist() == [1, 0]
