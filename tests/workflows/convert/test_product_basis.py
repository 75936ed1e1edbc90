"""Coupling tensors of any basis of the same space are expressed in ours; others are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atomsym.core import InputError
from atomsym.symmetry import Irrep, Irreps, symmetric_coupling
from atomsym.testing import tolerances
from atomsym.workflows.convert.product_basis import ForeignCoupling, change_of_basis

IRREPS = Irreps.parse("0e+1o+2e")


def foreign(tensors: torch.Tensor) -> ForeignCoupling:
    """From (paths, component, i1 … iν) to the layout with the paths last."""
    dense = tensors.movedim(0, -1).contiguous().numpy()
    index = np.flatnonzero(dense)
    return ForeignCoupling(index, dense.ravel()[index], dense.shape)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("irrep", ["0e", "1o", "2e"])
def test_a_mixture_with_what_symmetry_removes_is_found(irrep: str, order: int) -> None:
    own = symmetric_coupling(IRREPS, Irrep.parse(irrep), order)
    generator = torch.Generator().manual_seed(order)
    mixture = torch.randn(own.n_paths + 2, own.n_paths, generator=generator, dtype=torch.float64)
    tensors = torch.einsum("pq,q...->p...", mixture, own.tensors())
    if order > 1:
        noise = torch.randn(tensors.shape, generator=generator, dtype=torch.float64)
        tensors = tensors + noise - noise.transpose(-1, -2)
    found = change_of_basis(foreign(tensors), own, np.arange(IRREPS.dim))
    assert float((found - mixture).abs().max()) < 100 * tolerances.ALGEBRA.float64


def test_components_in_another_order_are_found() -> None:
    own = symmetric_coupling(IRREPS, Irrep.parse("1o"), 2)
    places = np.roll(np.arange(IRREPS.dim), 3)
    tensors = own.tensors()[:, :, places][:, :, :, places]
    found = change_of_basis(foreign(tensors), own, places)
    assert float((found - torch.eye(own.n_paths, dtype=torch.float64)).abs().max()) < tolerances.ALGEBRA.float64


def test_single_precision_is_allowed_for() -> None:
    own = symmetric_coupling(IRREPS, Irrep.parse("0e"), 3)
    found = change_of_basis(foreign(own.tensors().float().double()), own, np.arange(IRREPS.dim))
    assert float((found - torch.eye(own.n_paths, dtype=torch.float64)).abs().max()) < tolerances.ALGEBRA.float32


def test_tensors_outside_the_span_are_refused() -> None:
    own = symmetric_coupling(IRREPS, Irrep.parse("1o"), 2)
    spoiled = own.tensors()
    spoiled[0, 0, 1, 4] += 1e-6
    with pytest.raises(InputError, match="not in the span"):
        change_of_basis(foreign(spoiled), own, np.arange(IRREPS.dim))
