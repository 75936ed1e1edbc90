"""With MACE's coupling tensors and weights the contraction gives MACE's values."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from atomsym.kernels.symmetric_contraction import SymmetricContraction, symmetric_contraction
from atomsym.symmetry import parse_irreps
from atomsym.testing import tolerances

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("mace") is None, reason="needs mace-torch"),
    pytest.mark.filterwarnings("ignore"),  # of mace and the e3nn it asks for
]


@pytest.fixture
def mace_module() -> Any:
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # e3nn 0.4 loads its constants by pickle
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("mace.modules.symmetric_contraction")


@pytest.mark.parametrize("irreps_out", ["4x0e", "4x0e+4x1o", "4x0e+4x1o+4x2e"])
@pytest.mark.parametrize("correlation", [1, 2, 3])
def test_equals_mace(mace_module: Any, deviation: Callable[..., float], irreps_out: str, correlation: int) -> None:
    from e3nn import o3

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # the foreign module has no argument for it
    try:
        irreps_in = "4x0e+4x1o+4x2e+4x3o"
        foreign = mace_module.SymmetricContraction(o3.Irreps(irreps_in), o3.Irreps(irreps_out), correlation, num_elements=3)
    finally:
        torch.set_default_dtype(default)
    tensors, weights = {}, []
    for output, part in enumerate(foreign.contractions):
        for order in range(1, correlation + 1):
            dense = part.U_tensors(order).movedim(-1, 0)
            tensors[output, order] = dense if dense.ndim == order + 2 else dense.unsqueeze(1)
            # MACE lists the weights from the highest order down.
            weights.append((part.weights_max if order == correlation else part.weights[correlation - 1 - order]).detach())
    (channels, own_in), (_, own_out) = parse_irreps(irreps_in), parse_irreps(irreps_out)
    contraction = SymmetricContraction.from_coupling_tensors(own_in, own_out, correlation, tensors)

    generator = torch.Generator().manual_seed(0)
    features = torch.randn(9, own_in.dim, channels, generator=generator, dtype=torch.float64)
    species = torch.randint(3, (9,), generator=generator)
    found = symmetric_contraction(features, torch.cat(weights, dim=1), species, contraction, backend="cpp")
    one_hot = torch.nn.functional.one_hot(species, 3).double()
    expected = foreign(features.transpose(1, 2).contiguous(), one_hot).detach()
    # MACE's result is irrep by irrep, in each channel by channel.
    start = 0
    for irrep, own in zip(own_out, own_out.slices, strict=True):
        block = expected[:, start : start + channels * irrep.dim].reshape(9, channels, irrep.dim).transpose(1, 2)
        assert deviation(found[:, own], block) < tolerances.BACKEND_PARITY.float64
        start += channels * irrep.dim
