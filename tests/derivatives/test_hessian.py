"""Hessians: symmetric, translation-free, equal by every method, with the right number of zero modes."""

from __future__ import annotations

import importlib
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from atomsym.core import AtomGraph, AtomsymWarning, InputError, OutOfMemoryError, units
from atomsym.derivatives import (
    HessianOperator,
    evaluate,
    hessian,
    hessian_asymmetry,
    hessian_vector_product,
    hessians,
    memory,
)
from atomsym.models import ARGON, LennardJones
from atomsym.nn import edge_lengths
from atomsym.testing import tolerances

METHODS = ("rows", "vmap", "finite-difference")
WAVENUMBER = math.sqrt(units.ACCELERATION) * 1e15 / (2 * math.pi * 2.99792458e10)  # 1/cm from sqrt(eV/Å²/amu)
MASS = 39.948


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def acoustic_error(matrix: Tensor) -> float:
    """Largest force constant against moving all atoms together, eV/Å²."""
    n = len(matrix) // 3
    return float(matrix.reshape(n, 3, n, 3).sum(dim=2).abs().max())


def tethered(graph: AtomGraph) -> Tensor:
    """Mutant: a spring to the origin breaks translation."""
    return LennardJones(ARGON)(graph)["energies"] + 1e-6 * graph.positions.square().sum(dim=1)


class LopsidedProduct(torch.autograd.Function):
    """Mutant: a product with half of one derivative, as a kernel with a wrong backward would have it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a * b

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        a, b = ctx.saved_tensors
        return gradient * b, 0.5 * gradient * a


def lopsided(graph: AtomGraph) -> Tensor:
    decay = torch.exp(-edge_lengths(graph.edge_vectors()))
    pairs = LopsidedProduct.apply(decay, decay.roll(1))
    return torch.zeros(graph.n_atoms, dtype=graph.dtype).index_add(0, graph.edge_index[0], pairs)


def test_wavenumber_factor() -> None:
    assert pytest.approx(521.47, abs=0.01) == WAVENUMBER


@pytest.mark.parametrize("method", METHODS)
def test_f10_hessian_is_symmetric_before_symmetrisation_and_obeys_the_sum_rule(
    subject: Any, make_cluster: Any, make_crystal: Any, method: str
) -> None:
    for structure in (make_cluster(subject.numbers, 5), make_crystal(subject.numbers)):
        raw = hessian(subject.potential, structure.graph(subject.cutoff), method=method, symmetrize=False)
        bound = tolerances.HESSIAN_FINITE_DIFFERENCE if method == "finite-difference" else tolerances.HESSIAN_SYMMETRY
        assert hessian_asymmetry(raw) < bound.float64
        assert acoustic_error(raw) < tolerances.ACOUSTIC_SUM.float64


def test_f10_planted_bugs_in_hessians_are_found(make_cluster: Any) -> None:
    graph = make_cluster((18,), 5).graph(8.5)
    assert acoustic_error(hessian(tethered, graph)) > tolerances.ACOUSTIC_SUM.float64
    for method in METHODS:
        with pytest.warns(AtomsymWarning, match="asymmetric by"):
            raw = hessian(lopsided, graph, method=method, symmetrize=False)
        assert hessian_asymmetry(raw) > tolerances.HESSIAN_SYMMETRY.float64


def test_f10_all_methods_and_vector_products_agree(subject: Any, make_crystal: Any) -> None:
    graph = make_crystal(subject.numbers).graph(subject.cutoff)
    rows, vmap, differences = (hessian(subject.potential, graph, method=method) for method in METHODS)
    assert relative(vmap, rows) < tolerances.HESSIAN_VECTOR_PRODUCT.float64
    assert relative(differences, rows) < tolerances.HESSIAN_FINITE_DIFFERENCE.float64
    assert torch.equal(hessian(subject.potential, graph), vmap)
    vector = torch.randn(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    product = hessian_vector_product(subject.potential, graph, vector)
    assert relative(product, rows @ vector) < tolerances.HESSIAN_VECTOR_PRODUCT.float64
    assert relative(-product, rows @ vector) > tolerances.HESSIAN_VECTOR_PRODUCT.float64


def test_f10_forces_change_by_the_hessian(subject: Any, make_cluster: Any) -> None:
    """Against differences of forces whose edges are made anew at every displacement."""
    structure = make_cluster(subject.numbers, 4)
    matrix = hessian(subject.potential, structure.graph(subject.cutoff), method="rows")
    columns = []
    for degree in range(12):
        change = torch.zeros(12, dtype=torch.float64)
        for shift, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            positions = structure.positions.copy()
            positions.reshape(-1)[degree] += shift * 1e-3
            forces = evaluate(subject.potential, structure.moved(positions).graph(subject.cutoff), ("forces",)).forces
            assert forces is not None
            change += weight * forces.reshape(-1) / 12e-3
        columns.append(-change)
    assert relative(torch.stack(columns, dim=1), matrix) < tolerances.HESSIAN_FINITE_DIFFERENCE.float64


@pytest.mark.parametrize("chunk_size", [1, 5, 12, 100])
@pytest.mark.parametrize("method", ["vmap", "finite-difference"])
def test_chunks_do_not_change_the_result(make_crystal: Any, method: str, chunk_size: int) -> None:
    graph = make_crystal((18,)).graph(8.5)
    expected = hessian(LennardJones(ARGON), graph, method="rows")
    bound = tolerances.HESSIAN_FINITE_DIFFERENCE if method == "finite-difference" else tolerances.HESSIAN_SYMMETRY
    assert relative(hessian(LennardJones(ARGON), graph, method=method, chunk_size=chunk_size), expected) < bound.float64


def relaxed(potential: Any, structure: Any, cutoff: float) -> Any:
    """Newton steps with a positive definite Hessian until the forces vanish."""
    for _ in range(200):
        graph = structure.graph(cutoff)
        forces = evaluate(potential, graph, ("forces",)).forces
        assert forces is not None
        if forces.abs().max() < 1e-10:
            return structure
        values, vectors = torch.linalg.eigh(hessian(potential, graph, method="rows"))
        step = vectors @ ((vectors.T @ forces.reshape(-1)) / values.abs().clamp(min=0.002))
        step = step * min(1.0, 0.2 / float(step.abs().max()))
        structure = structure.moved(structure.positions + step.reshape(-1, 3).numpy())
    raise AssertionError("not relaxed")


def wavenumbers(matrix: Tensor) -> np.ndarray:
    values = torch.linalg.eigvalsh(matrix / MASS).numpy()
    return np.sign(values) * np.sqrt(np.abs(values)) * WAVENUMBER


@pytest.mark.parametrize(("n_atoms", "zero_modes"), [(2, 5), (4, 6)])
def test_f10_zero_modes_of_relaxed_clusters(make_cluster: Any, n_atoms: int, zero_modes: int) -> None:
    start = make_cluster((18,), n_atoms)
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.1]])[:n_atoms]
    structure = relaxed(LennardJones(ARGON), start.moved(1.4 * corners), 8.5)
    for method in ("rows", "vmap"):
        modes = np.sort(np.abs(wavenumbers(hessian(LennardJones(ARGON), structure.graph(8.5), method=method))))
        assert modes[:zero_modes].max() < tolerances.ZERO_MODES.float64
        assert modes[zero_modes] > 10
    # planted bug: a spring to the origin gives the translations a frequency
    modes = np.sort(np.abs(wavenumbers(hessian(tethered, structure.graph(8.5)))))
    assert modes[:zero_modes].max() > tolerances.ZERO_MODES.float64


def test_dimer_frequency_by_closed_form(make_cluster: Any) -> None:
    """u'' at the minimum of Lennard-Jones is 72 ε / (2^(1/3) σ²); the reduced mass is half the atom's."""
    structure = relaxed(LennardJones(ARGON), make_cluster((18,), 2), 8.5)
    distance = float(np.linalg.norm(structure.positions[1] - structure.positions[0]))
    assert distance == pytest.approx(2 ** (1 / 6) * 3.405, rel=1e-9)
    stiffness = 72 * ARGON.epsilon[0][0] / (2 ** (1 / 3) * 3.405**2)
    expected = math.sqrt(2 * stiffness / MASS) * WAVENUMBER
    assert wavenumbers(hessian(LennardJones(ARGON), structure.graph(8.5)))[-1] == pytest.approx(expected, rel=1e-9)


def test_partial_hessian_is_the_block_of_the_moving_atoms(make_cluster: Any) -> None:
    graph = make_cluster((18,), 6).graph(8.5)
    full = hessian(LennardJones(ARGON), graph, method="rows")
    chosen = [4, 0, 3]
    degrees = [3 * atom + axis for atom, axis in itertools.product(chosen, range(3))]
    for method in METHODS:
        part = hessian(LennardJones(ARGON), graph, indices=chosen, method=method)
        assert part.shape == (9, 9)
        assert relative(part, full[degrees][:, degrees]) < tolerances.HESSIAN_FINITE_DIFFERENCE.float64
    assert hessian(LennardJones(ARGON), graph, indices=[]).shape == (0, 0)


@pytest.mark.parametrize("method", METHODS)
def test_f06_hessians_of_a_batch_are_those_of_its_systems(make_cluster: Any, make_crystal: Any, method: str) -> None:
    structures = [make_cluster((18,), 1), make_crystal((18,)), make_cluster((18,), 7)]
    graphs = [structure.graph(8.5) for structure in structures]
    together = hessians(LennardJones(ARGON), AtomGraph.batch(graphs), method=method)
    assert [tuple(matrix.shape) for matrix in together] == [(3, 3), (12, 12), (21, 21)]
    for matrix, graph in zip(together, graphs, strict=True):
        alone = hessian(LennardJones(ARGON), graph, method=method)
        assert float((matrix - alone).abs().max()) < tolerances.BATCHING.float64
    some = hessians(LennardJones(ARGON), AtomGraph.batch(graphs), indices=[2, 6, 5], method=method)
    assert [tuple(matrix.shape) for matrix in some] == [(0, 0), (3, 3), (6, 6)]


def test_f05_the_hessian_of_a_supercell_folds_to_that_of_its_cell(make_crystal: Any) -> None:
    structure = make_crystal((18,))
    supercell = structure.repeated((2, 1, 2))
    cell = hessian(LennardJones(ARGON), structure.graph(8.5))
    folded = hessian(LennardJones(ARGON), supercell.graph(8.5)).reshape(4, 12, 4, 12)[0].sum(dim=1)
    assert relative(folded, cell) < tolerances.HESSIAN_SYMMETRY.float64


def test_operator_works_on_vectors_columns_and_in_scipy(make_cluster: Any) -> None:
    graph = make_cluster((18,), 6).graph(8.5)
    matrix = hessian(LennardJones(ARGON), graph, method="rows")
    operator = HessianOperator(LennardJones(ARGON), graph)
    assert operator.shape == (18, 18)
    columns = torch.randn(18, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    bound = tolerances.HESSIAN_VECTOR_PRODUCT.float64
    assert relative(operator @ columns, matrix @ columns) < bound
    field = columns[:, 0].reshape(6, 3)
    assert (operator @ field).shape == (6, 3)
    assert relative((operator @ field).reshape(-1), matrix @ columns[:, 0]) < bound
    assert (operator @ columns[:, :0]).shape == (18, 0)
    from scipy.sparse.linalg import eigsh

    largest = eigsh(operator.to_scipy(), k=2, which="LA", return_eigenvectors=False, v0=np.ones(18) + np.arange(18))
    assert np.sort(largest) == pytest.approx(torch.linalg.eigvalsh(matrix)[-2:].numpy(), rel=1e-9)
    with pytest.raises(InputError, match=r"must have shape \(18,\), \(6, 3\) or \(18, k\); found \(17,\)"):
        operator @ columns[:17, 0]
    with pytest.raises(InputError, match=r"the vector is torch\.float32"):
        operator @ columns.float()


def test_atoms_without_neighbors_have_zero_hessians(make_cluster: Any) -> None:
    for n_atoms in (0, 1):
        graph = make_cluster((18,), n_atoms).graph(8.5)
        for method in METHODS:
            matrix = hessian(LennardJones(ARGON), graph, method=method)
            assert matrix.shape == (3 * n_atoms, 3 * n_atoms)
            assert float(matrix.abs().sum()) == 0


def test_float32_hessian_is_close_to_float64(make_crystal: Any) -> None:
    structure = make_crystal((18,))
    exact = hessian(LennardJones(ARGON), structure.graph(8.5))
    graph = structure.graph(8.5).to(dtype=torch.float32)
    for method in METHODS:
        single = hessian(LennardJones(ARGON).to(torch.float32), graph, method=method)
        assert single.dtype == torch.float32
        assert relative(single.double(), exact) < tolerances.HESSIAN_FINITE_DIFFERENCE.float32


def test_faulty_arguments_are_refused(make_cluster: Any) -> None:
    graph = make_cluster((18,), 3).graph(8.5)
    potential = LennardJones(ARGON)
    with pytest.raises(InputError, match="no Hessian method 'analytic'; known: auto, rows, vmap, finite-difference"):
        hessian(potential, graph, method="analytic")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2 systems; hessians"):
        hessian(potential, AtomGraph.batch([graph, graph]))
    with pytest.raises(InputError, match="indices has 3; atoms are numbered 0 to 2"):
        hessian(potential, graph, indices=[0, 3])
    with pytest.raises(InputError, match="names an atom twice"):
        hessian(potential, graph, indices=[1, 1])
    with pytest.raises(InputError, match="chunk_size must be at least 1"):
        hessian(potential, graph, chunk_size=0)


# Memory -----------------------------------------------------------------------------------------------------------


class NeverEvaluated(LennardJones):
    """Shows that a refusal comes before any work."""

    def forward(self, graph: AtomGraph) -> Any:
        raise AssertionError("the potential was evaluated")


def test_i08_a_hessian_too_large_for_memory_is_refused_at_once() -> None:
    n_atoms = 100_000
    positions = torch.rand(n_atoms, 3, dtype=torch.float64) * 500
    graph = AtomGraph.without_edges(positions, torch.full((n_atoms,), 18))
    graph = graph.with_edges(graph.edge_index, graph.edge_shift, 8.5)
    with pytest.raises(OutOfMemoryError, match=r"100000 atoms needs 1.44 TB .* up to \d+ atoms fit.*HessianOperator"):
        hessian(NeverEvaluated(ARGON), graph)
    assert hessian(LennardJones(ARGON), graph, indices=[0, 99_999]).shape == (6, 6)


def test_i08_chunks_follow_the_free_memory(make_crystal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = make_crystal((18,)).graph(8.5)
    potential = LennardJones(ARGON)
    expected = hessian(potential, graph)
    kept = memory.kept_bytes(potential, graph, twice=True)
    module = importlib.import_module("atomsym.derivatives.hessian")

    def with_free(n_bytes: float) -> None:
        monkeypatch.setattr(module, "free_memory", lambda device: int(n_bytes / 0.8) + 10_000)

    with_free(8.5 * kept)
    with pytest.raises(OutOfMemoryError, match="chunk_size=3 is the largest that fits"):
        hessian(potential, graph, method="vmap", chunk_size=4)
    assert torch.allclose(hessian(potential, graph, method="vmap", chunk_size=3), expected, rtol=1e-12)
    with_free(5.2 * kept)
    assert torch.allclose(hessian(potential, graph), expected, rtol=1e-12)
    with_free(4.5 * kept)
    with pytest.raises(OutOfMemoryError, match=r"at one row a time up to about \d atoms would fit"):
        hessian(potential, graph)
    with_free(-8_000 + 1000)
    with pytest.raises(OutOfMemoryError, match="up to 2 atoms fit"):
        hessian(potential, graph)


def test_i08_kept_memory_of_a_large_graph_is_scaled_from_a_part(
    make_crystal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = make_crystal((18,)).repeated((2, 2, 2)).graph(8.5)
    whole = memory.kept_bytes(LennardJones(ARGON), graph, twice=True)
    monkeypatch.setattr(memory, "_PROBE_EDGES", graph.n_edges // 4)
    assert memory.kept_bytes(LennardJones(ARGON), graph, twice=True) == pytest.approx(whole, rel=0.1)
    assert memory.kept_bytes(LennardJones(ARGON), graph, twice=False) < whole
    assert memory.free_memory(torch.device("cpu")) > 1_000_000
