"""Descriptions of contractions: layout of the weights, given coupling tensors, identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from atomsym.core import InputError
from atomsym.kernels.symmetric_contraction import SymmetricContraction, symmetric_contraction
from atomsym.kernels.symmetric_contraction.polynomial import contraction_polynomial
from atomsym.symmetry import Irreps
from atomsym.testing import tolerances

IN, OUT = Irreps.parse("0e+1o+2e"), Irreps.parse("0e+1o")


def test_blocks_tile_the_path_axis_in_the_documented_order() -> None:
    contraction = SymmetricContraction(IN, OUT, 3)
    assert [(b.output, b.order) for b in contraction.blocks] == [(o, n) for o in (0, 1) for n in (1, 2, 3)]
    ends = [0, *(b.paths.stop for b in contraction.blocks)]
    assert [b.paths.start for b in contraction.blocks] == ends[:-1]
    assert ends[-1] == contraction.n_paths


def test_equal_descriptions_are_equal_and_hash_alike() -> None:
    first, second = SymmetricContraction(IN, OUT, 3), SymmetricContraction(IN, OUT, 3)
    assert first == second
    assert hash(first) == hash(second)
    assert first != SymmetricContraction(IN, OUT, 2)
    assert SymmetricContraction.from_key(first.key) == first


def test_given_tensors_of_the_own_basis_give_the_same_result(make_case: Callable[..., Any], deviation: Any) -> None:
    own = SymmetricContraction(IN, OUT, 3)
    tensors = {(b.output, b.order): c.tensors() for b, c in zip(own.blocks, own.couplings, strict=True)}
    given = SymmetricContraction.from_coupling_tensors(IN, OUT, 3, tensors)
    assert given.blocks == own.blocks
    case = make_case(contraction=own)
    found = symmetric_contraction(case.features, case.weights, case.species, given, backend="cpp")
    assert deviation(found, case.evaluate("reference")) < tolerances.BACKEND_PARITY.float64


def test_given_tensors_need_not_be_symmetric(make_case: Callable[..., Any], deviation: Any) -> None:
    vector, scalar = Irreps.parse("1o+1o"), Irreps.parse("0e")
    lopsided = torch.zeros(2, 1, 6, 6, dtype=torch.float64)
    lopsided[0, 0, torch.arange(3), torch.arange(3, 6)] = 2.0
    lopsided[1, 0, 4, 1] = -1.0
    contraction = SymmetricContraction.from_coupling_tensors(vector, scalar, 2, {(0, 2): lopsided})
    case = make_case(contraction=contraction)
    a, w = case.features, case.weights[case.species]
    expected = torch.einsum("npc,pij,nic,njc->nc", w, lopsided[:, 0], a, a).unsqueeze(1)
    for backend in ("cpp", "reference"):
        assert deviation(case.evaluate(backend), expected) < tolerances.BACKEND_PARITY.float64


def test_all_zero_paths_have_zero_gradients(make_case: Callable[..., Any]) -> None:
    zero = {(0, 1): torch.zeros(2, 1, 3, dtype=torch.float64), (0, 2): torch.eye(3, dtype=torch.float64)[None, None]}
    contraction = SymmetricContraction.from_coupling_tensors(Irreps.parse("1o"), Irreps.parse("0e"), 2, zero)
    case = make_case(contraction=contraction)
    features, weights = case.differentiable()
    (gradient,) = torch.autograd.grad(case.function("cpp")(features, weights).sum(), weights)
    assert not gradient[:, :2].any()
    assert gradient[:, 2].abs().max() > 0


def test_contractions_of_other_tensors_differ() -> None:
    scalar = Irreps.parse("0e")
    one, two = (
        SymmetricContraction.from_coupling_tensors(scalar, scalar, 1, {(0, 1): torch.full((1, 1, 1), value)})
        for value in (1.0, 2.0)
    )
    assert one != two
    assert one.key != two.key
    assert SymmetricContraction.from_key(two.key) == two


@pytest.mark.parametrize("correlation", [0, 5])
def test_correlation_out_of_range_is_refused(correlation: int) -> None:
    with pytest.raises(InputError, match="correlation must be 1 to 4"):
        SymmetricContraction(IN, OUT, correlation)


def test_tensors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(output, order\) \[\(2, 1\)\]"):
        SymmetricContraction.from_coupling_tensors(IN, OUT, 1, {(2, 1): torch.zeros(1, 1, 9)})
    with pytest.raises(InputError, match=r"output 1 \(1o\), order 1 has shape"):
        SymmetricContraction.from_coupling_tensors(IN, OUT, 1, {(1, 1): torch.zeros(1, 1, 9)})
    with pytest.raises(InputError, match="2 couplings are needed"):
        SymmetricContraction(IN, OUT, 1, SymmetricContraction(IN, OUT, 2).couplings)
    with pytest.raises(InputError, match="expected"):
        SymmetricContraction(IN, OUT, 1, SymmetricContraction(Irreps.parse("1o"), OUT, 1).couplings)
    with pytest.raises(InputError, match="not known in this process"):
        SymmetricContraction.from_key("0e->0e;1;0123")


@pytest.mark.parametrize("correlation", [1, 2, 3, 4])
def test_tables_hold_every_monomial_once(correlation: int) -> None:
    contraction = SymmetricContraction(IN, OUT, correlation)
    polynomial = contraction_polynomial(contraction.key)
    products = polynomial.product_components()
    assert len({tuple(sorted(p)) for p in products}) == len(products)
    entries = zip(polynomial.entry_output, polynomial.entry_prefix, polynomial.entry_factor, strict=True)
    monomials = [(int(o), tuple(sorted((*products[p], int(f))))) for o, p, f in entries]
    expected = set()
    for block, coupling in zip(contraction.blocks, contraction.couplings, strict=True):
        first = contraction.irreps_out.slices[block.output].start
        rows = zip(coupling.component.tolist(), coupling.monomial.tolist(), strict=True)
        expected |= {(first + component, tuple(monomial)) for component, monomial in rows}
    assert len(set(monomials)) == len(monomials)
    assert set(monomials) == expected
    assert len(polynomial.fold_path) == sum(len(c.coefficient) for c in contraction.couplings)
