"""The neighbor list promises: every pair in every image, once, with the right shift, in every kind of cell."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from atomsym.core import InputError, OutOfMemoryError
from atomsym.kernels.native import cpu_extension
from atomsym.kernels.neighbors import NEIGHBOR_LIST, NeighborList, neighbor_list

EdgeSet = Callable[[Any], set[tuple[int, int, int, int, int]]]
PBC = list(itertools.product([False, True], repeat=3))
FAST = [
    name
    for name in NEIGHBOR_LIST.available(device=torch.device("cpu"), dtype=torch.float64)
    if name in ("cpp", "reference")
]

_ALPHA = math.radians(10)
CELLS = {
    "cubic": [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]],
    "triclinic": [[4.1, 0.3, -0.2], [1.5, 3.7, 0.4], [-0.8, 1.1, 4.4]],
    "left_handed": [[0, 4.0, 0.1], [4.2, 0.5, 0], [0.3, 0, 3.9]],
    "needle": [[5.0, 0, 0], [0, 5.0, 0], [0, 5.0 * math.cos(_ALPHA), 5.0 * math.sin(_ALPHA)]],
    "sheared": [[3.0, 0, 0], [31.0, 3.0, 0], [-47.0, 22.0, 3.5]],
    "flat": [[9.0, 0, 0], [0, 8.0, 0], [0.5, 0.5, 0.9]],
}


def every_pair(
    positions: Tensor, cell: Tensor, pbc: tuple[bool, ...], cutoff: float, reach: int
) -> set[tuple[int, ...]]:
    """The definition, word by word: loops over pairs and all shifts up to ``reach``."""
    x, c = positions.double().numpy(), cell.double().numpy()
    ranges = [range(-reach, reach + 1) if periodic else range(1) for periodic in pbc]
    shifts = np.array(list(itertools.product(*ranges)))
    found = set()
    for i, j in itertools.product(range(len(x)), repeat=2):
        distance = np.linalg.norm(x[j] + shifts @ c - x[i], axis=1)
        for shift in shifts[distance < cutoff]:
            if i != j or shift.any():
                found.add((i, j, *map(int, shift)))
    return found


def random_positions(n_atoms: int, seed: int, size: float = 4.0) -> Tensor:
    return (torch.rand(n_atoms, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.3) * size


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("pbc", PBC, ids=lambda pbc: "".join("FT"[p] for p in pbc))
@pytest.mark.parametrize("cell", CELLS)
def test_i7_every_kind_of_cell_gives_the_pairs_of_the_definition(
    cell: str, pbc: tuple[bool, ...], backend: str, edge_set: EdgeSet
) -> None:
    positions, vectors = random_positions(4, seed=1), torch.tensor(CELLS[cell], dtype=torch.float64)
    cutoff = 3.3
    reach = {"sheared": 20, "needle": 9}.get(cell, 6)
    expected = every_pair(positions, vectors, pbc, cutoff, reach)
    assert max((abs(s) for edge in expected for s in edge[2:]), default=0) < reach or cell == "sheared"
    found = edge_set(neighbor_list(positions, cutoff, vectors, torch.tensor(pbc), backend=backend))
    if cell == "sheared":  # its near images have large shifts; the definition's loop sees only some of them
        found = {edge for edge in found if max(map(abs, edge[2:])) <= reach}
    assert found == expected


def lattice_vectors() -> st.SearchStrategy[list[list[float]]]:
    entry = st.floats(-6, 6).map(lambda value: round(value, 3))
    return st.lists(st.lists(entry, min_size=3, max_size=3), min_size=3, max_size=3)


@settings(max_examples=400, deadline=None)
@given(
    cell=lattice_vectors(),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    n_atoms=st.integers(0, 7),
    seed=st.integers(0, 2**20),
    size=st.sampled_from([1.0, 8.0, 300.0]),
    cutoff=st.floats(0.2, 7.0),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_i7_cpp_equals_the_reference_in_any_cell(
    cell: list[list[float]],
    pbc: tuple[bool, ...],
    n_atoms: int,
    seed: int,
    size: float,
    cutoff: float,
    dtype: torch.dtype,
) -> None:
    vectors, periodic = torch.tensor(cell, dtype=torch.float64), torch.tensor(pbc)
    positions = random_positions(n_atoms, seed, size).to(dtype)
    heights = _heights(vectors, periodic)
    if heights and min(heights) < 0.4:  # brute force would take too long, or there is no lattice
        return
    reference, fast = (
        neighbor_list(positions, cutoff, vectors, periodic, backend=name) for name in ("reference", "cpp")
    )
    assert torch.equal(_ordered(reference), _ordered(fast))
    assert torch.equal(reference.receiver_offsets, fast.receiver_offsets)


def _heights(cell: Tensor, pbc: Tensor) -> list[float]:
    lattice = cell[pbc]
    if lattice.shape[0] == 0:
        return []
    if float(torch.linalg.svdvals(lattice)[-1]) < 1e-2:
        return [0.0]
    return (1 / torch.linalg.vector_norm(torch.linalg.pinv(lattice), dim=0)).tolist()


def _ordered(edges: NeighborList) -> Tensor:
    """Edges in one order, to compare large lists."""
    rows = torch.cat([edges.edge_index.T, edges.edge_shift.to(torch.int64)], dim=1)
    for column in reversed(range(5)):
        rows = rows[torch.argsort(rows[:, column], stable=True)]
    return rows


def crystal_and_liquid() -> dict[str, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    corner = torch.tensor([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], dtype=torch.float64)
    sites = torch.cartesian_prod(*[torch.arange(5.0, dtype=torch.float64)] * 3)
    fcc = 3.9 * (sites[:, None] + corner).reshape(-1, 3)
    fcc = fcc + 0.05 * torch.randn(fcc.shape, generator=generator, dtype=torch.float64)
    liquid = 2.15 * torch.cartesian_prod(*[torch.arange(9.0, dtype=torch.float64)] * 3)
    liquid = liquid + 0.6 * (torch.rand(liquid.shape, generator=generator, dtype=torch.float64) - 0.5)
    tilt = torch.tensor([[1, 0, 0], [0.3, 1, 0], [-0.2, 0.4, 1]], dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    return {"fcc": (fcc, 19.5 * eye), "liquid": (liquid @ tilt, 19.35 * tilt)}


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, True, False), (False, False, False)])
@pytest.mark.parametrize("system", ["fcc", "liquid"])
def test_ase_vesin_and_the_reference_agree_with_cpp(system: str, pbc: tuple[bool, ...]) -> None:
    ase_atoms = pytest.importorskip("ase")
    from ase.neighborlist import neighbor_list as ase_neighbor_list

    positions, cell = crystal_and_liquid()[system]
    ours = neighbor_list(positions, 5.0, cell, torch.tensor(pbc), backend="cpp")
    reference = neighbor_list(positions, 5.0, cell, torch.tensor(pbc), backend="reference")
    assert torch.equal(_ordered(ours), _ordered(reference))
    atoms = ase_atoms.Atoms(numbers=[1] * len(positions), positions=positions.numpy(), cell=cell.numpy(), pbc=pbc)
    i, j, shift = ase_neighbor_list("ijS", atoms, 5.0)
    assert torch.equal(_ordered(_as_list(i, j, shift, len(positions))), _ordered(ours))
    vesin = pytest.importorskip("vesin")
    points, box = positions.numpy(), cell.numpy()
    if all(pbc) or not any(pbc):
        calculator = vesin.NeighborList(cutoff=5.0, full_list=True)
        i, j, shift = calculator.compute(points=points, box=box, periodic=all(pbc), quantities="ijS")
        assert torch.equal(_ordered(_as_list(i, j, shift, len(positions))), _ordered(ours))


def _as_list(i: np.ndarray, j: np.ndarray, shift: np.ndarray, n_atoms: int) -> NeighborList:
    index = torch.from_numpy(np.stack([i, j]).astype(np.int64))
    return NeighborList(index, torch.from_numpy(shift.astype(np.int32)), torch.zeros(n_atoms + 1, dtype=torch.int64))


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("times", [1.2, 1.7, 5.0])
def test_i6_a_cell_smaller_than_the_cutoff_equals_its_supercell(times: float, backend: str) -> None:
    cell, cutoff = torch.tensor(CELLS["triclinic"], dtype=torch.float64) / 2, times * 2.0
    one = neighbor_list(
        torch.zeros(1, 3, dtype=torch.float64), cutoff, cell, torch.ones(3, dtype=torch.bool), backend=backend
    )
    assert one.n_edges > 0
    assert (one.edge_shift != 0).any(dim=1).all()
    translations = torch.cartesian_prod(*[torch.arange(3.0, dtype=torch.float64)] * 3)
    many = neighbor_list(translations @ cell, cutoff, 3 * cell, torch.ones(3, dtype=torch.bool), backend=backend)
    per_atom = torch.diff(many.receiver_offsets)
    assert (per_atom == one.n_edges).all()


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("distance", [5, 1000, 300_000])
def test_f4_shifts_follow_atoms_moved_by_lattice_vectors(distance: int, backend: str, edge_set: EdgeSet) -> None:
    generator = torch.Generator().manual_seed(distance)
    cell, pbc = torch.tensor(CELLS["triclinic"], dtype=torch.float64), torch.tensor([True, True, False])
    positions = random_positions(6, seed=2)
    moves = torch.randint(-distance, distance + 1, (6, 3), generator=generator) * pbc
    at_home = edge_set(neighbor_list(positions, 3.0, cell, pbc, backend=backend))
    moved = edge_set(neighbor_list(positions + moves.double() @ cell, 3.0, cell, pbc, backend=backend))
    expected = {(i, j, *(torch.tensor(shift) + moves[i] - moves[j]).tolist()) for i, j, *shift in at_home}
    assert moved == expected


@pytest.mark.parametrize("backend", FAST)
def test_f4_all_coordinates_negative(backend: str, edge_set: EdgeSet) -> None:
    cell, pbc = torch.tensor(CELLS["left_handed"], dtype=torch.float64), torch.ones(3, dtype=torch.bool)
    positions = random_positions(5, seed=4) - 20.0
    expected = every_pair(positions, cell, (True, True, True), 3.0, 5)
    assert edge_set(neighbor_list(positions, 3.0, cell, pbc, backend=backend)) == expected


@pytest.mark.parametrize("backend", FAST)
def test_a_neighbor_exactly_at_the_cutoff_is_none(backend: str) -> None:
    cell, pbc = 2.5 * torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.bool)
    atom = torch.zeros(1, 3, dtype=torch.float64)
    inside = neighbor_list(atom, 5.0, cell, pbc, backend=backend)
    beyond = neighbor_list(atom, math.nextafter(5.0, 6.0), cell, pbc, backend=backend)
    assert inside.n_edges == 26  # 6 at 2.5, 12 at 2.5 √2, 8 at 2.5 √3 Å
    assert beyond.n_edges == 32  # and 6 at 5 Å


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("constant", [3.9, 4.05, 3.6149, 5.43])
def test_backends_agree_on_shells_that_lie_at_the_cutoff(constant: float, dtype: torch.dtype) -> None:
    corner = torch.tensor([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], dtype=torch.float64)
    sites = torch.cartesian_prod(*[torch.arange(4.0, dtype=torch.float64)] * 3)
    positions = (constant * (sites[:, None] + corner).reshape(-1, 3) - 7.7).to(dtype)
    cell, pbc = 4 * constant * torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.bool)
    cutoff = constant * math.sqrt(1.5)
    lists = [neighbor_list(positions, cutoff, cell, pbc, backend=backend) for backend in FAST]
    assert lists[0].n_edges >= 18 * len(positions)  # up to 24 more per atom are a matter of rounding
    for other in lists[1:]:
        assert torch.equal(_ordered(other), _ordered(lists[0]))


@pytest.mark.parametrize("backend", FAST)
def test_output_is_sorted_symmetric_and_of_the_stated_types(backend: str, edge_set: EdgeSet) -> None:
    positions, cell = crystal_and_liquid()["liquid"]
    edges = neighbor_list(positions.float(), 4.0, cell, torch.ones(3, dtype=torch.bool), backend=backend)
    assert (edges.edge_index.dtype, edges.edge_shift.dtype) == (torch.int64, torch.int32)
    assert edges.edge_index.shape == (2, edges.n_edges)
    assert edges.edge_shift.shape == (edges.n_edges, 3)
    receiver = edges.edge_index[0]
    assert (receiver[1:] >= receiver[:-1]).all()
    counts = torch.bincount(receiver, minlength=len(positions))
    assert torch.equal(torch.diff(edges.receiver_offsets), counts)
    assert int(edges.receiver_offsets[0]) == 0
    found = edge_set(edges)
    assert found == {(j, i, -a, -b, -c) for i, j, a, b, c in found}


@pytest.mark.usefixtures("thread_setting")
def test_cpp_gives_the_same_order_for_any_number_of_threads() -> None:
    generator = torch.Generator().manual_seed(9)
    positions = 50.0 * torch.rand(12_500, 3, generator=generator, dtype=torch.float64)
    cell, pbc = 50.0 * torch.eye(3, dtype=torch.float64), torch.tensor([True, False, True])
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(neighbor_list(positions, 4.0, cell, pbc, backend="cpp"))
    for other in results[1:]:
        assert torch.equal(other.edge_index, results[0].edge_index)
        assert torch.equal(other.edge_shift, results[0].edge_shift)


@pytest.mark.usefixtures("thread_setting")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("backend", FAST)
def test_a_batch_gives_the_edges_of_its_systems(backend: str, threads: int) -> None:
    torch.set_num_threads(threads)
    sizes, cells, periodic = [3, 0, 1, 40, 250, 0, 7], list(CELLS.values()), PBC
    systems = []
    for number, size in enumerate(sizes):
        cell = torch.tensor(cells[number % len(cells)], dtype=torch.float64)
        systems.append((random_positions(size, number, 9.0), cell, torch.tensor(periodic[number])))
    alone = [neighbor_list(x, 3.1, cell, pbc, backend=backend) for x, cell, pbc in systems]
    together = neighbor_list(
        torch.cat([x for x, _, _ in systems]),
        3.1,
        torch.stack([cell for _, cell, _ in systems]),
        torch.stack([pbc for _, _, pbc in systems]),
        torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)),
        backend=backend,
    )
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    expected = torch.cat([edges.edge_index + start for edges, start in zip(alone, starts, strict=True)], dim=1)
    assert torch.equal(together.edge_index, expected)
    assert torch.equal(together.edge_shift, torch.cat([edges.edge_shift for edges in alone]))


@pytest.mark.parametrize("backend", FAST)
def test_no_atoms_one_atom_and_no_edges(backend: str) -> None:
    for n_atoms in (0, 1):
        edges = neighbor_list(torch.zeros(n_atoms, 3), 5.0, backend=backend)
        assert edges.edge_index.shape == (2, 0)
        assert edges.edge_shift.shape == (0, 3)
        assert edges.receiver_offsets.tolist() == [0] * (n_atoms + 1)
    apart = neighbor_list(torch.tensor([[0.0, 0, 0], [9, 0, 0]]), 5.0, backend=backend)
    assert apart.n_edges == 0
    empty_batch = neighbor_list(
        torch.zeros(0, 3),
        5.0,
        torch.zeros(0, 3, 3),
        torch.zeros(0, 3),
        torch.zeros(0, dtype=torch.int64),
        backend=backend,
    )
    assert empty_batch.n_edges == 0


@pytest.mark.parametrize("backend", FAST)
def test_coincident_atoms_are_neighbors_but_not_of_themselves(backend: str, edge_set: EdgeSet) -> None:
    edges = edge_set(neighbor_list(torch.ones(3, 3), 0.5, backend=backend))
    assert edges == {(i, j, 0, 0, 0) for i in range(3) for j in range(3) if i != j}


@pytest.mark.parametrize("backend", FAST)
def test_i7_a_zero_vector_is_allowed_where_nothing_is_periodic(backend: str, edge_set: EdgeSet) -> None:
    cell = torch.tensor([[3.0, 0, 0], [0, 0, 0], [0, 0, 0]])
    positions = random_positions(3, seed=5)
    found = edge_set(neighbor_list(positions, 3.5, cell, torch.tensor([True, False, False]), backend=backend))
    assert found == every_pair(positions, cell, (True, False, False), 3.5, 4)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(
    "cell",
    [
        [[0.0] * 3] * 3,
        [[3.0, 0, 0], [0, 3.0, 0], [0, 0, 0]],
        [[3.0, 0, 0], [6.0, 0, 0], [0, 0, 3.0]],
        [[3.0, 0, 0], [0, math.nan, 0], [0, 0, 3.0]],
        [[3.0, 0, 0], [0, math.inf, 0], [0, 0, 3.0]],
    ],
    ids=["all_zero", "one_zero", "dependent", "nan", "inf"],
)
def test_i7_a_periodic_direction_without_a_lattice_is_an_input_error(cell: list[list[float]], backend: str) -> None:
    cells = torch.stack([torch.eye(3, dtype=torch.float64), torch.tensor(cell, dtype=torch.float64)])
    pbc = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(InputError, match=r"cell\[1\]"):
        neighbor_list(torch.zeros(2, 3), 1.0, cells, pbc, torch.tensor([0, 1]), backend=backend)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e13])
def test_i1_positions_that_are_not_finite_are_named(value: float, backend: str) -> None:
    positions = random_positions(9, seed=6)
    positions[7, 1] = value
    with pytest.raises(InputError, match=r"positions\[7, 1\]"):
        neighbor_list(positions, 3.0, backend=backend)


@pytest.mark.parametrize("backend", FAST)
def test_shifts_that_do_not_fit_an_int32_are_an_input_error(backend: str) -> None:
    positions = torch.tensor([[0.0, 0, 0], [3e9, 0, 0]], dtype=torch.float64)
    with pytest.raises(InputError, match=r"positions\[1\]"):
        neighbor_list(positions, 1.5, torch.eye(3), torch.ones(3, dtype=torch.bool), backend=backend)


@pytest.mark.parametrize("backend", FAST)
def test_shifts_that_do_not_fit_along_a_sheared_vector_are_an_input_error(backend: str) -> None:
    cell = torch.tensor([[1.0, 0, 0], [1000.0, 1, 0], [0, 0, 1]], dtype=torch.float64)  # the cubic lattice
    positions = torch.tensor([[0.0, 0, 0], [0, 1e6, 0]], dtype=torch.float64)  # -1e9 and 1e6 vectors
    with pytest.raises(InputError, match=r"positions\[1\]"):
        neighbor_list(positions, 1.5, cell, torch.ones(3, dtype=torch.bool), backend=backend)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("index", [[0, 1, 0], [0, 0, 2], [-1, 0, 1]])
def test_a_system_index_out_of_order_is_an_input_error(index: list[int], backend: str) -> None:
    cells, pbc = torch.zeros(2, 3, 3), torch.zeros(2, 3, dtype=torch.bool)
    with pytest.raises(InputError, match="system_index"):
        neighbor_list(torch.zeros(3, 3), 1.0, cells, pbc, torch.tensor(index), backend=backend)


@pytest.mark.parametrize(
    "arguments",
    [
        {"positions": torch.zeros(3, 2)},
        {"positions": torch.zeros(3, 3, dtype=torch.int64)},
        {"cutoff": 0.0},
        {"cutoff": -1.0},
        {"cutoff": math.nan},
        {"cutoff": math.inf},
        {"cell": torch.eye(2)},
        {"pbc": torch.ones(2, dtype=torch.bool)},
        {"cell": torch.zeros(2, 3, 3), "pbc": torch.zeros(2, 3)},
        {"system_index": torch.zeros(2, dtype=torch.int64)},
        {"system_index": torch.zeros(3)},
    ],
)
def test_wrong_shapes_types_and_cutoffs_are_input_errors(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        neighbor_list(**({"positions": torch.zeros(3, 3), "cutoff": 1.0} | arguments))


@pytest.mark.parametrize("backend", FAST)
def test_i9_strided_and_differentiable_inputs_give_the_same_and_stay_as_they_are(backend: str) -> None:
    positions, cell, pbc = (
        random_positions(8, seed=8),
        torch.tensor(CELLS["triclinic"]).double(),
        torch.ones(3, dtype=torch.bool),
    )
    plain = neighbor_list(positions, 3.0, cell, pbc, backend=backend)
    strided = torch.zeros(3, 16, dtype=torch.float64).T[::2]
    strided.copy_(positions)
    before = strided.clone()
    other = neighbor_list(strided.requires_grad_(), 3.0, cell.T.contiguous().T.requires_grad_(), pbc, backend=backend)
    assert torch.equal(plain.edge_index, other.edge_index)
    assert torch.equal(plain.edge_shift, other.edge_shift)
    assert torch.equal(strided.detach(), before)


def _peak_memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    pytest.skip("no /proc/self/status here")


@pytest.mark.parametrize("backend", FAST)
def test_i7_a_gigantic_cell_needs_no_memory_for_its_volume(backend: str) -> None:
    positions = torch.cat(
        [1e6 * random_positions(150, seed=10, size=1.0), 500_000 + random_positions(50, seed=11, size=2.5)]
    )
    cell, pbc = 1e6 * torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.bool)
    before = _peak_memory()
    edges = neighbor_list(positions, 5.0, cell, pbc, backend=backend)
    assert edges.n_edges == 50 * 49
    if backend == "cpp":
        assert _peak_memory() - before < 100e6


@pytest.mark.parametrize("backend", FAST)
def test_i8_too_many_images_are_refused_with_the_number(backend: str) -> None:
    cell, pbc = 1e-3 * torch.eye(3), torch.ones(3, dtype=torch.bool)
    with pytest.raises(OutOfMemoryError, match=r"\d.* images.* GB"):
        neighbor_list(torch.zeros(1, 3), 50.0, cell, pbc, backend=backend)


@pytest.mark.parametrize("backend", FAST)
def test_i8_too_many_edges_are_refused_with_the_number(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    positions = 20 * random_positions(3000, seed=12, size=1.0)
    for module in ("native", "reference"):
        monkeypatch.setattr(f"atomsym.kernels.neighbors.{module}.free_memory", lambda device: 10_000_000)
    monkeypatch.setattr("atomsym.kernels.neighbors.native._SMALL", 1_000_000)
    monkeypatch.setattr("atomsym.kernels.neighbors.reference._BYTES_PER_PAIR", 1)
    with pytest.raises(OutOfMemoryError, match=r"edges.* GB are free"):
        neighbor_list(positions, 15.0, backend=backend)
    assert neighbor_list(positions, 1.0, backend=backend).n_edges > 0


def test_i8_memory_of_the_search_is_a_few_bytes_per_edge() -> None:
    positions, cell = crystal_and_liquid()["liquid"]
    pbc = torch.ones(3, dtype=torch.bool)
    cell = cell.contiguous()
    search = cpu_extension().NeighborSearch(
        positions.data_ptr(), False, len(positions), cell.data_ptr(), pbc.data_ptr(), 0, 1, 6.0, 1e9, 1
    )
    assert search.status == 0
    assert search.working_bytes < 8 * search.n_edges
