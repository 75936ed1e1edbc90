"""The symmetric contraction is the formula, on every backend."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from atomsym.core import BackendError, InputError
from atomsym.kernels.symmetric_contraction import OPERATION, SymmetricContraction, symmetric_contraction
from atomsym.kernels.symmetric_contraction.polynomial import contraction_polynomial
from atomsym.symmetry import Irreps, symmetric_coupling, wigner_3j
from atomsym.testing import tolerances

BACKENDS = OPERATION.available(device=torch.device("cpu"), dtype=torch.float64)
FAST = [name for name in BACKENDS if name != "reference"]
PARITY = tolerances.BACKEND_PARITY
MakeCase = Callable[..., Any]


def brute_force(case: Any) -> Tensor:
    """The sum of the formula, term by term."""
    contraction, features = case.contraction, case.features
    result = torch.zeros(len(features), contraction.irreps_out.dim, features.shape[-1], dtype=torch.float64)
    for block in contraction.blocks:
        irrep, first = contraction.irreps_out[block.output], contraction.irreps_out.slices[block.output].start
        tensors = symmetric_coupling(contraction.irreps_in, irrep, block.order).tensors()
        for path, m in itertools.product(range(len(tensors)), range(irrep.dim)):
            for indices in torch.nonzero(tensors[path, m]).tolist():
                product = case.weights[case.species, block.paths.start + path] * tensors[(path, m, *indices)]
                for index in indices:
                    product = product * features[:, index]
                result[:, first + m] += product
    return result


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("correlation", [1, 2, 3, 4])
def test_equals_the_brute_force_sum(make_case: MakeCase, deviation: Any, backend: str, correlation: int) -> None:
    case = make_case("0e+1o", "1o+0e", correlation, n_nodes=3, channels=2)
    assert deviation(case.evaluate(backend), brute_force(case)) < PARITY.float64


@pytest.mark.parametrize("irreps_in", ["0e", "1o+0o+1e", "0e+0e+1o+2e", "0e+1o+2e+3o"])
@pytest.mark.parametrize("correlation", [1, 2, 3, 4])
def test_cpp_equals_the_reference_for_any_irreps(
    make_case: MakeCase, deviation: Any, irreps_in: str, correlation: int
) -> None:
    case = make_case(irreps_in, "2e+0e+1o+1e+0e+4e", correlation if irreps_in != "0e+1o+2e+3o" else min(correlation, 3))
    assert deviation(case.evaluate("cpp"), case.evaluate("reference")) < PARITY.float64


@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 15, 16, 17, 33, 128])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_number_of_channels(make_case: MakeCase, deviation: Any, channels: int, dtype: torch.dtype) -> None:
    case = make_case(channels=channels, dtype=dtype, n_nodes=11)
    double = dataclasses.replace(case, features=case.features.double(), weights=case.weights.double())
    assert deviation(case.evaluate("cpp"), double.evaluate("reference")) < PARITY.of(dtype)


@pytest.mark.parametrize("backend", FAST)
def test_single_precision(make_case: MakeCase, deviation: Any, backend: str) -> None:
    case = make_case("0e+1o", "0e+1o", 2, dtype=torch.float32)
    double = dataclasses.replace(case, features=case.features.double(), weights=case.weights.double())
    assert case.evaluate(backend).dtype == torch.float32
    assert deviation(case.evaluate(backend), double.evaluate("reference")) < PARITY.float32


@pytest.mark.parametrize("n_nodes", [1, 2, 7, 8, 9, 63, 64, 65, 200])
def test_any_number_of_nodes(make_case: MakeCase, deviation: Any, n_nodes: int) -> None:
    case = make_case("0e+1o", n_nodes=n_nodes, n_species=2)
    assert deviation(case.evaluate("cpp"), case.evaluate("reference")) < PARITY.float64


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_nodes(make_case: MakeCase, backend: str) -> None:
    case = make_case("0e+1o", n_nodes=0)
    features, weights = case.differentiable()
    result = case.function(backend)(features, weights)
    assert result.shape == (0, 4, 3)
    in_features, in_weights = torch.autograd.grad(result.sum(), [features, weights])
    assert in_features.shape == features.shape
    assert not in_weights.any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_output_without_paths_is_zero(make_case: MakeCase, deviation: Any, backend: str) -> None:
    case = make_case("1o", "0o+1o+0e", 2)
    result = case.evaluate(backend)
    assert not result[:, 0].any()
    assert deviation(result, case.evaluate("reference")) < PARITY.float64
    assert result[:, 1:].abs().min() > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_paths_at_all(make_case: MakeCase, backend: str) -> None:
    case = make_case("0e+2e", "1o", 2)
    features, weights = case.differentiable()
    result = case.function(backend)(features, weights)
    assert weights.shape[1] == 0
    assert result.shape == (6, 3, 3)
    assert not result.any()
    in_features, in_weights = torch.autograd.grad(result.sum(), [features, weights], allow_unused=True)
    assert in_features is None or not in_features.any()
    assert in_weights is None or in_weights.shape == weights.shape


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("irreps_in", "irreps_out"), [("", "0e"), ("0e+1o", ""), ("", "")])
def test_empty_lists_of_irreps(make_case: MakeCase, backend: str, irreps_in: str, irreps_out: str) -> None:
    case = make_case(irreps_in, irreps_out, 2)
    result = case.evaluate(backend)
    assert result.shape == (6, case.contraction.irreps_out.dim, 3)
    assert not result.any()


@pytest.mark.parametrize("backend", FAST)
def test_a_species_without_nodes_has_no_gradient(make_case: MakeCase, deviation: Any, backend: str) -> None:
    case = make_case("0e+1o", "0e", 2, n_species=4)
    case = dataclasses.replace(case, species=torch.tensor([3, 0, 3, 3, 0, 3]))
    gradients = []
    for name in (backend, "reference"):
        features, weights = case.differentiable()
        gradients.append(torch.autograd.grad(case.function(name)(features, weights).square().sum(), weights)[0])
    assert deviation(*gradients) < PARITY.float64
    assert not gradients[0][[1, 2]].any()
    assert gradients[0][[0, 3]].abs().min() > 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wrong", [-1, 3])
def test_species_out_of_range_are_refused(make_case: MakeCase, backend: str, wrong: int) -> None:
    case = make_case("0e+1o", "0e", 2)
    case.species[4] = wrong
    with pytest.raises(InputError, match=rf"species\[4\] is {wrong}; the weights have species 0 to 2"):
        case.evaluate(backend)


def test_inputs_that_do_not_fit_are_refused(make_case: MakeCase) -> None:
    case = make_case("0e+1o", "0e", 2)
    a, w, s, c = case.features, case.weights, case.species, case.contraction
    for arguments, message in [
        ((a[:, :3], w, s), "node_features have shape"),
        ((a[..., 0], w, s), "node_features have shape"),
        ((a, w[:, :1], s), "weights have shape"),
        ((a, w[..., :2], s), "weights have shape"),
        ((a, w, s[:-1]), "species have shape"),
        ((a, w, s.int()), "torch.int64"),
        ((a, w.float(), s), "convert one of them"),
    ]:
        with pytest.raises(InputError, match=message):
            symmetric_contraction(*arguments, c)
    with pytest.raises(BackendError, match="no backend 'fpga'"):
        symmetric_contraction(a, w, s, c, backend="fpga")


def test_operands_need_not_be_contiguous(make_case: MakeCase) -> None:
    case = make_case()
    strided = [x.transpose(0, 2).contiguous().transpose(0, 2) for x in (case.features, case.weights)]
    assert not strided[0].is_contiguous()
    species = case.species.repeat_interleave(2)[::2]
    found = symmetric_contraction(*strided, species, case.contraction, backend="cpp")
    assert torch.equal(found, case.evaluate("cpp"))


def test_threads_do_not_change_a_bit(make_case: MakeCase) -> None:
    case = make_case(n_nodes=300, channels=40, dtype=torch.float32)
    results, threads = [], torch.get_num_threads()
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            features, weights = case.differentiable()
            result = case.function("cpp")(features, weights)
            results.append([result, *torch.autograd.grad(result.square().sum(), [features, weights])])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_results_do_not_depend_on_the_other_nodes(make_case: MakeCase) -> None:
    case = make_case(n_nodes=150)
    part = dataclasses.replace(case, features=case.features[40:90], species=case.species[40:90])
    assert torch.equal(part.evaluate("cpp"), case.evaluate("cpp")[40:90])


# Planted bugs: the comparison with the reference must notice them. ----------------------------------------------------


def test_mutant_wrong_multiplicity_of_repeated_factors(
    make_case: MakeCase, deviation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case("0e+1o", "0e", 3)
    right = symmetric_coupling(case.contraction.irreps_in, case.contraction.irreps_out[0], 3)
    repeated = (right.monomial[:, 1:] == right.monomial[:, :-1]).any(axis=1)
    coefficient = right.coefficient.copy()
    coefficient[repeated] *= 2
    wrong = dataclasses.replace(right, coefficient=coefficient)
    couplings = (*case.contraction.couplings[:2], wrong)
    mutant = SymmetricContraction(case.contraction.irreps_in, case.contraction.irreps_out, 3, couplings)
    found = symmetric_contraction(case.features, case.weights, case.species, mutant, backend="cpp")
    assert deviation(found, brute_force(case)) > 1e-3


def test_mutant_species_of_another_node(make_case: MakeCase, deviation: Any) -> None:
    case = make_case("0e+1o", "0e", 2)
    swapped = dataclasses.replace(case, species=case.species.flip(0))
    assert not torch.equal(case.species, swapped.species)
    assert deviation(swapped.evaluate("cpp"), brute_force(case)) > 1e-3


def test_mutant_coefficients_in_wrong_order(
    make_case: MakeCase, deviation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atomsym.kernels.symmetric_contraction import native

    case = make_case("0e+1o", "1o", 2)
    polynomial = contraction_polynomial(case.contraction.key)
    mutant = dataclasses.replace(polynomial, fold_path=polynomial.fold_path[::-1].copy())
    native._table.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(native, "contraction_polynomial", lambda key: mutant)
        wrong = case.evaluate("cpp")
    native._table.cache_clear()
    assert deviation(wrong, brute_force(case)) > 1e-3
    assert deviation(case.evaluate("cpp"), brute_force(case)) < PARITY.float64


def representation(irreps: Irreps, axis: tuple[float, float, float], improper: bool) -> Tensor:
    """Block-diagonal matrix of a rotation, with an inversion after it if improper; degrees built up by coupling."""
    x, y, z = axis
    generator = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    matrices = [torch.ones(1, 1, dtype=torch.float64), torch.linalg.matrix_exp(generator)]
    for degree in range(2, irreps.max_degree + 1):
        isometry = wigner_3j(degree - 1, 1, degree) * (2 * degree + 1) ** 0.5
        matrices.append(torch.einsum("abi,ac,bd,cdj->ij", isometry, matrices[-1], matrices[1], isometry))
    return torch.block_diag(*(matrices[r.degree] * (r.parity if improper else 1) for r in irreps))


def test_irreps_are_equivariant_under_rotation_and_inversion(make_case: MakeCase, deviation: Any) -> None:
    case = make_case("0e+0o+1o+1e+2e", "0e+0o+1o+1e+2e+3o", 3)
    for axis, improper in itertools.product([(0.4, 1.3, -2.2), (2.0, 0.1, 0.7)], (False, True)):
        d_in = representation(case.contraction.irreps_in, axis, improper)
        d_out = representation(case.contraction.irreps_out, axis, improper)
        rotated = dataclasses.replace(case, features=d_in @ case.features)
        assert deviation(rotated.evaluate("cpp"), d_out @ case.evaluate("cpp")) < tolerances.EQUIVARIANCE.float64
