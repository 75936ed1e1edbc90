"""Results do not depend on the caller's torch state, and the state is the same afterwards, also after an exception."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch

from atomsym.core import CalculationError, InputError
from atomsym.derivatives import HessianOperator, evaluate, hessian
from atomsym.models import ARGON, LennardJones


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


STATES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64 by default": lambda: default_dtype(torch.float64),
    "float16 by default": lambda: default_dtype(torch.float16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


def state() -> tuple[Any, ...]:
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_num_threads(),
        torch.random.get_rng_state().tolist(),
    )


def results(potential: Any, graph: Any) -> list[torch.Tensor]:
    result = evaluate(potential, graph)
    assert result.forces is not None
    assert result.stress is not None
    vector = torch.ones(12, dtype=graph.dtype)
    vector[::2] = -3
    found = [result.energy, result.energies, result.forces, result.stress]
    found += [hessian(potential, graph, method=method) for method in ("rows", "vmap", "finite-difference")]
    return [*found, HessianOperator(potential, graph) @ vector]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", sorted(STATES))
def test_i09_results_do_not_depend_on_the_ambient_state(make_crystal: Any, name: str, dtype: torch.dtype) -> None:
    potential = LennardJones(ARGON).to(dtype)
    structure = make_crystal((18,))
    graph = structure.graph(8.5).to(dtype=dtype)
    expected = results(potential, graph)
    with STATES[name]():
        before = state()
        found = results(potential, graph)
        rebuilt = structure.graph(8.5).to(dtype=dtype)  # tensors made inside the state
        again = results(potential, rebuilt)
        assert state() == before
        with pytest.raises(CalculationError):
            evaluate(lambda g: g.positions, graph)
        assert state() == before
    for a, b, c in zip(expected, found, again, strict=True):
        assert a.dtype == b.dtype == c.dtype
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_i09_weights_made_in_inference_mode_are_refused(make_crystal: Any) -> None:
    with torch.inference_mode():
        potential = LennardJones(ARGON)
    with pytest.raises(InputError, match=r"made under torch\.inference_mode"):
        evaluate(potential, make_crystal((18,)).graph(8.5))
