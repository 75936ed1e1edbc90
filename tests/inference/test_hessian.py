"""Hessians from differences of an engine's forces are those of autograd."""

from __future__ import annotations

import pytest
import torch

from atomsym.core import InputError
from atomsym.derivatives import hessian
from atomsym.inference import Engine, engine_for, hessian_with_engine
from atomsym.inference import hessian as hessian_module
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation

from .conftest import crystal, model


def engine_of(variant: str) -> Engine:
    engine = engine_for(model(variant), torch.float64)
    assert engine is not None
    return engine


@pytest.mark.parametrize("variant", ["default", "repulsion", "agnesi"])
def test_f10_it_is_the_derivative_by_autograd(variant: str) -> None:
    graph = crystal()
    found = hessian_with_engine(engine_of(variant), graph, torch.arange(graph.n_atoms))
    expected = hessian(model(variant), graph)
    assert deviation(found, expected) < tolerances.HESSIAN_FINITE_DIFFERENCE.float64
    assert deviation(found, found.T) < tolerances.ALGEBRA.float64
    sums = found.view(-1, 3, graph.n_atoms, 3).sum(2)
    assert float(sums.abs().max()) < tolerances.ACOUSTIC_SUM.float64


def test_some_atoms_give_their_rows_and_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = crystal()
    whole = hessian_with_engine(engine_of("default"), graph, torch.arange(graph.n_atoms))
    rows = torch.tensor([6, 7, 8, 0, 1, 2])
    some = hessian_with_engine(engine_of("default"), graph, torch.tensor([2, 0]))
    assert deviation(some, whole[rows][:, rows]) < tolerances.HESSIAN_FINITE_DIFFERENCE.float64
    monkeypatch.setattr(hessian_module, "_EDGES", 1)  # one row at a time
    alone = hessian_with_engine(engine_of("default"), graph, torch.tensor([2, 0]))
    assert deviation(alone, some) < tolerances.HESSIAN_FINITE_DIFFERENCE.float64


def test_single_precision_is_refused() -> None:
    engine = engine_for(model(dtype=torch.float32), torch.float32)
    assert engine is not None
    with pytest.raises(InputError, match="double precision"):
        hessian_with_engine(engine, crystal(torch.float32), torch.arange(2))
