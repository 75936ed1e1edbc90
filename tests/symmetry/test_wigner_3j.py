"""Coupling coefficients agree with e3nn, in value and in sign."""

from __future__ import annotations

import warnings

import pytest
import torch

from atomsym.core import InputError
from atomsym.symmetry import wigner_3j
from atomsym.testing import tolerances

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # e3nn warns about torch's deprecated scripting
    o3 = pytest.importorskip("e3nn.o3")

TRIPLES = [(a, b, c) for a in range(7) for b in range(7) for c in range(abs(a - b), min(a + b, 6) + 1)]


@pytest.mark.parametrize("degrees", TRIPLES)
def test_equals_e3nn(degrees: tuple[int, int, int]) -> None:
    expected = o3.wigner_3j(*degrees, dtype=torch.float64)
    assert (wigner_3j(*degrees) - expected).abs().max() < tolerances.ALGEBRA.float64


def test_forbidden_coupling_is_refused() -> None:
    with pytest.raises(InputError, match="no coupling of degrees 1, 1 to 3"):
        wigner_3j(1, 1, 3)
