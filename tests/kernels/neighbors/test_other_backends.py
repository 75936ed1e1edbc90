"""The Triton and torch_cluster backends promise the edges of the reference. Tiny systems: the interpreter is slow."""

from __future__ import annotations

import itertools
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from atomsym.core import BackendError, InputError, OutOfMemoryError
from atomsym.kernels.neighbors import NEIGHBOR_LIST, neighbor_list

EdgeSet = Callable[[Any], set[tuple[int, int, int, int, int]]]
PBC = list(itertools.product([False, True], repeat=3))
CELL = torch.tensor([[4.1, 0.3, -0.2], [1.5, 3.7, 0.4], [-0.8, 1.1, 4.4]], dtype=torch.float64)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
needs_triton = pytest.mark.skipif(
    "triton" not in NEIGHBOR_LIST.available(device=torch.device(DEVICE), dtype=torch.float64), reason="no Triton here"
)


def atoms(n_atoms: int, seed: int, size: float = 4.0) -> Tensor:
    return size * torch.rand(n_atoms, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1.0


def triton_list(*arguments: Any) -> Any:
    on_device = [value.to(DEVICE) if isinstance(value, Tensor) else value for value in arguments]
    edges = neighbor_list(*on_device, backend="triton")
    receiver = edges.edge_index[0]
    assert (receiver[1:] >= receiver[:-1]).all()
    return edges


@needs_triton
@pytest.mark.parametrize("pairs", ["all", "bins"])
@pytest.mark.parametrize(
    "pbc", list(itertools.product([False, True], repeat=3)), ids=lambda p: "".join("FT"[k] for k in p)
)
def test_triton_equals_the_reference(
    pbc: tuple[bool, ...], pairs: str, edge_set: EdgeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pairs == "bins":
        monkeypatch.setattr("atomsym.kernels.neighbors.triton_backend._ALL_PAIRS", 0)
    arguments = (atoms(4, seed=1, size=9.0), 2.9, CELL, torch.tensor(pbc))
    assert edge_set(triton_list(*arguments)) == edge_set(neighbor_list(*arguments, backend="reference"))


@needs_triton
@pytest.mark.parametrize("pairs", ["all", "bins"])
def test_triton_takes_batches_far_atoms_and_single_precision(
    pairs: str, edge_set: EdgeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pairs == "bins":
        monkeypatch.setattr("atomsym.kernels.neighbors.triton_backend._ALL_PAIRS", 0)
    sizes = [3, 0, 1, 5]
    positions = atoms(9, seed=2, size=3000.0).float()
    cells = torch.stack([CELL, CELL, CELL / 2, torch.zeros(3, 3, dtype=torch.float64)])
    cells[3, 1, 1] = 5.0
    pbc = torch.tensor([[True, True, False], [True] * 3, [True] * 3, [False, True, False]])
    system = torch.repeat_interleave(torch.arange(4), torch.tensor(sizes))
    positions[4:, 0] = torch.arange(5)  # those of the wire
    positions[4:, 2] = 0
    arguments = (positions, 2.6, cells, pbc, system)
    expected = neighbor_list(*arguments, backend="reference")
    assert expected.n_edges >= 20
    assert edge_set(triton_list(*arguments)) == edge_set(expected)


@needs_triton
def test_triton_decides_at_the_cutoff_like_the_reference() -> None:
    cell, pbc = 2.5 * torch.eye(3, dtype=torch.float64), torch.ones(3, dtype=torch.bool)
    assert triton_list(torch.zeros(1, 3, dtype=torch.float64), 5.0, cell, pbc).n_edges == 26


@needs_triton
def test_triton_takes_no_atoms_and_no_edges() -> None:
    assert triton_list(torch.zeros(0, 3), 5.0).edge_shift.shape == (0, 3)
    apart = triton_list(torch.tensor([[0.0, 0, 0], [9, 0, 0]]), 5.0)
    assert apart.n_edges == 0
    assert apart.receiver_offsets.tolist() == [0, 0, 0]


@needs_triton
def test_triton_needs_no_memory_for_the_volume_of_a_gigantic_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atomsym.kernels.neighbors.triton_backend._ALL_PAIRS", 0)
    positions = torch.tensor([[0.0, 0, 0], [9e5, 9e5, 9e5], [9e5 + 1, 9e5, 9e5], [0, 5e5, 1]], dtype=torch.float64)
    edges = triton_list(positions, 5.0, 1e6 * torch.eye(3), torch.ones(3, dtype=torch.bool))
    assert edges.edge_index.tolist() == [[1, 2], [2, 1]]


@needs_triton
def test_triton_refuses_what_all_backends_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    pbc = torch.ones(3, dtype=torch.bool)
    with pytest.raises(InputError, match=r"positions\[0, 2\]"):
        triton_list(torch.tensor([[0.0, 0, torch.nan]]), 1.0)
    with pytest.raises(InputError, match=r"cell\[0\]"):
        triton_list(torch.zeros(1, 3), 1.0, torch.zeros(3, 3), pbc)
    with pytest.raises(OutOfMemoryError, match="images"):
        triton_list(torch.zeros(1, 3), 50.0, 1e-3 * torch.eye(3), pbc)
    monkeypatch.setattr("atomsym.kernels.neighbors.triton_backend.free_memory", lambda device: 3000)
    with pytest.raises(OutOfMemoryError, match="edges"):
        triton_list(torch.zeros(12, 3), 1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_triton_equals_cpp_on_large_systems() -> None:
    positions = 60.0 * torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    arguments = (positions, 5.0, 60.0 * torch.eye(3, dtype=torch.float64), torch.tensor([True, True, False]))
    fast, gpu = neighbor_list(*arguments, backend="cpp"), triton_list(*arguments)
    assert torch.equal(fast.receiver_offsets, gpu.receiver_offsets.cpu())
    keys = []
    for edges in (fast, gpu):
        shift = (edges.edge_shift.cpu().to(torch.int64) + 5) @ torch.tensor([121, 11, 1])
        index = edges.edge_index.cpu()
        keys.append(torch.sort((index[0] * 20_000 + index[1]) * 1331 + shift).values)
    assert torch.equal(keys[0], keys[1])


def fake_radius_graph(x: Tensor, r: float, batch: Tensor | None, loop: bool, max_num_neighbors: int) -> Tensor:
    """What torch_cluster's documentation says: (source, target) pairs within r, grouped by target."""
    batch = torch.zeros(len(x), dtype=torch.int64) if batch is None else batch
    near = (torch.cdist(x, x) <= r) & (batch[:, None] == batch[None, :])
    if not loop:
        near.fill_diagonal_(False)
    assert int(near.sum(dim=1).max()) <= max_num_neighbors
    target, source = near.nonzero(as_tuple=True)
    return torch.stack([source, target])


def test_torch_cluster_equals_the_reference_for_open_systems(
    edge_set: EdgeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "torch_cluster" not in NEIGHBOR_LIST.available(device=torch.device("cpu"), dtype=torch.float64):
        module = types.ModuleType("torch_cluster")
        module.radius_graph = fake_radius_graph  # type: ignore[attr-defined]
        module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]  # how find_spec sees that it is there
        monkeypatch.setitem(sys.modules, "torch_cluster", module)
    cells, pbc = torch.zeros(2, 3, 3), torch.zeros(2, 3, dtype=torch.bool)
    arguments = (atoms(20, seed=3, size=5.0), 2.0, cells, pbc, torch.tensor([0] * 12 + [1] * 8))
    found = neighbor_list(*arguments, backend="torch_cluster")
    expected = neighbor_list(*arguments, backend="reference")
    assert torch.equal(found.edge_index, expected.edge_index)
    assert torch.equal(found.receiver_offsets, expected.receiver_offsets)
    exactly = torch.tensor([[0.0, 0, 0], [2.0, 0, 0]])
    assert neighbor_list(exactly, 2.0, backend="torch_cluster").n_edges == 0
    with pytest.raises(BackendError, match="open systems"):
        neighbor_list(exactly, 2.0, torch.eye(3), torch.ones(3, dtype=torch.bool), backend="torch_cluster")


def test_a_missing_package_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"atomsym\[pyg\]"):
        neighbor_list(torch.zeros(1, 3), 1.0, backend="torch_cluster")


def test_auto_takes_the_compiled_search_on_the_cpu() -> None:
    assert NEIGHBOR_LIST.select("auto", device=torch.device("cpu"), dtype=torch.float32).name == "cpp"
