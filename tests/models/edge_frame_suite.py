"""Promises of models with messages in the frames of edges, in the place of two tests of ``test_learned.py``.

Which operations the compiled and the reference path share, and how far an atom sees, is other than in MACE and NequIP.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from learned_examples import CUTOFF, Example, build, crystal
from learned_suite import results_and_gradients

from atomsym.core import AtomGraph
from atomsym.kernels.backends import Backend, Operation
from atomsym.kernels.neighbors import connect
from atomsym.testing import tolerances


def test_f15_compiled_and_reference_backends_agree(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    found = results_and_gradients(build(example), crystal())
    asked = []

    def reference(operation: Operation, name: str, **_: Any) -> Backend:
        asked.append(operation.name)
        return operation["reference"]

    monkeypatch.setattr(Operation, "select", reference)
    expected = results_and_gradients(build(example), crystal())
    assert {"matrix_product", "segment_sum", "irreps_linear", "silu"} <= set(asked)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert (found[name] - values).abs().max() <= tolerances.BACKEND_PARITY.float64 * values.abs().max(), name


def test_an_atom_sees_one_cutoff_further_than_there_are_layers(example: Example) -> None:
    """A chain whose atoms reach the next one only; the embedding of the neighborhood is one more step."""
    potential = build(example)
    positions = [[2.2 * k, 0.3 * (-1) ** k, 0.2 * (k % 3)] for k in range(6)]
    graph = connect(AtomGraph.from_arrays(positions, [14, 8, 22, 14, 8, 22]), CUTOFF)
    x = graph.positions.requires_grad_()
    (gradient,) = torch.autograd.grad(potential(graph.with_positions(x))["energies"][0], x)
    reach = potential.config.n_layers + 1  # type: ignore[attr-defined]
    reached = gradient.abs().amax(dim=1) > 1e-12
    assert reached[: reach + 1].all()
    assert torch.equal(gradient[reach + 1 :], torch.zeros(5 - reach, 3, dtype=torch.float64))
