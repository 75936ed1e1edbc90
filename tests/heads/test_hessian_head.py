"""Predicted Hessians are symmetric, equivariant, smooth and local by construction, whatever the weights are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hessian_examples import COMMON, CUTOFF, HEAD, PAIR_CUTOFF, build, crystal, molecule
from torch import Tensor

from atomsym.artifacts import ModelCard, config_from_json, config_to_json, load_model, save_model
from atomsym.core import AtomGraph, ConfigError
from atomsym.derivatives import evaluate
from atomsym.heads import HessianBlocks, HessianHeadConfig, HessianPotential, HessianPotentialConfig
from atomsym.heads.hessian import head as head_module
from atomsym.kernels.neighbors import connect
from atomsym.models import MACEConfig
from atomsym.symmetry import random_rotations
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation


def moved(graph: AtomGraph, rotation: Tensor, shift: float = 0.0) -> AtomGraph:
    """The structure turned (and mirrored) and shifted, connected anew."""
    positions = graph.positions.double() @ rotation.T + shift
    cell = graph.cell[0].double() @ rotation.T
    bare = AtomGraph.without_edges(positions, graph.numbers, cell, graph.pbc[0])
    return connect(bare.to(dtype=graph.dtype), CUTOFF)


def turned(matrix: Tensor, rotation: Tensor) -> Tensor:
    """R H Rᵀ for every block."""
    everywhere = torch.kron(torch.eye(matrix.shape[0] // 3, dtype=torch.float64), rotation).to(matrix.dtype)
    return everywhere @ matrix @ everywhere.T


def rotation_error(potential: HessianPotential, graph: AtomGraph) -> float:
    """Largest relative deviation of H(Rx) from R H(x) Rᵀ over proper and improper rotations, and inversion."""
    generator = torch.Generator().manual_seed(1)
    rotations = [*random_rotations(3, generator=generator, improper=True), -torch.eye(3, dtype=torch.float64)]
    (plain,) = potential.hessians(graph)
    return max(
        deviation(potential.hessians(moved(graph, rotation, 0.7))[0], turned(plain, rotation)) for rotation in rotations
    )


@pytest.mark.parametrize("structure", [molecule, crystal])
def test_hessians_turn_with_the_structure(potential: HessianPotential, structure: Callable[[], AtomGraph]) -> None:
    assert rotation_error(potential, structure()) < tolerances.EQUIVARIANCE.float64


def test_in_single_precision_too() -> None:
    assert rotation_error(build(dtype=torch.float32), molecule(torch.float32)) < tolerances.EQUIVARIANCE.float32


@pytest.mark.parametrize("structure", [molecule, crystal])
def test_hessians_are_symmetric_and_their_rows_sum_to_zero(
    potential: HessianPotential, structure: Callable[[], AtomGraph]
) -> None:
    graph = structure()
    (matrix,) = potential.hessians(graph)
    n = graph.n_atoms
    assert matrix.shape == (3 * n, 3 * n)
    assert deviation(matrix, matrix.T) < tolerances.ALGEBRA.float64
    assert float(matrix.view(n, 3, n, 3).sum(2).abs().max()) < tolerances.ACOUSTIC_SUM.float64
    (free,) = potential.hessians(graph, sum_rule=False)
    assert float(free.view(n, 3, n, 3).sum(2).abs().max()) > 1e-3


def test_pairs_have_an_antisymmetric_part() -> None:
    """Which only a pseudovector can carry: without it the block of two different atoms would be symmetric."""
    (matrix,) = build().hessians(molecule())
    block = matrix[0:3, 6:9]
    assert float((block - block.T).abs().max()) > 1e-3 * float(block.abs().max())


def test_assembly_equals_a_loop_over_pairs(potential: HessianPotential) -> None:
    for graph in (molecule(), crystal()):
        blocks = potential.with_hessians(graph).hessians
        expected = np.zeros((graph.n_atoms, 3, graph.n_atoms, 3))
        for atom, block in enumerate(blocks.atoms.detach().numpy()):
            expected[atom, :, atom] += block
        for (i, j), block in zip(blocks.graph.edge_index.T.tolist(), blocks.pairs.detach().numpy(), strict=True):
            expected[i, :, j] += block
            expected[j, :, i] += block.T
        size = 3 * graph.n_atoms
        (matrix,) = blocks.matrices(sum_rule=False)
        assert deviation(matrix.detach(), torch.from_numpy(expected.reshape(size, size))) < tolerances.ALGEBRA.float64
        assert deviation(blocks.sparse().to_dense().detach(), matrix.detach()) < tolerances.ALGEBRA.float64
        sums = matrix.detach().view(-1, 3, graph.n_atoms, 3).sum(2).abs().max()
        assert blocks.sum_rule_violation() == pytest.approx(float(sums), rel=1e-10)


def test_permuted_atoms_have_a_permuted_hessian(potential: HessianPotential) -> None:
    graph, order = molecule(), [3, 0, 4, 1, 2]
    other = connect(AtomGraph.without_edges(graph.positions[order], graph.numbers[order]), CUTOFF)
    rows = torch.tensor([3 * atom + axis for atom in order for axis in range(3)])
    (plain,), (permuted,) = potential.hessians(graph), potential.hessians(other)
    assert deviation(permuted, plain[rows][:, rows]) < tolerances.EQUIVARIANCE.float64


def test_systems_of_a_batch_do_not_know_each_other(potential: HessianPotential) -> None:
    far = moved(molecule(), torch.eye(3, dtype=torch.float64), shift=0.3)
    graphs = [molecule(), crystal(), far]
    batch = AtomGraph.batch(graphs)
    together = potential.hessians(batch)
    for matrix, graph in zip(together, graphs, strict=True):
        assert deviation(matrix, potential.hessians(graph)[0]) < tolerances.BATCHING.float64
    some = potential.with_hessians(batch, torch.tensor([1, 2]))
    assert deviation(some.energies, potential(batch)["energies"]) < tolerances.ALGEBRA.float64
    for matrix, expected in zip(some.hessians.matrices(), together[1:], strict=True):
        assert deviation(matrix.detach(), expected) < tolerances.BATCHING.float64


def test_distant_molecules_do_not_couple(potential: HessianPotential) -> None:
    """Extensivity: the Hessian of two far molecules has theirs as its diagonal blocks, without the sum rule."""
    graph = molecule()
    pair = torch.cat((graph.positions, graph.positions + torch.tensor([50.0, 0, 0], dtype=torch.float64)))
    both = connect(AtomGraph.without_edges(pair, torch.cat((graph.numbers, graph.numbers))), CUTOFF)
    (matrix,), (single,) = potential.hessians(both, sum_rule=False), potential.hessians(graph, sum_rule=False)
    n = 3 * graph.n_atoms
    assert float(matrix[:n, n:].abs().max()) == 0
    assert deviation(matrix[:n, :n], single) < tolerances.EQUIVARIANCE.float64
    assert deviation(matrix[n:, n:], single) < tolerances.EQUIVARIANCE.float64


def test_supercells_repeat_the_crystal() -> None:
    """Sums of the supercell's blocks over images are the blocks of the cell, at the centre of the zone."""
    potential, graph = build(), crystal()
    cell = graph.cell[0]
    twice = torch.cat((graph.positions, graph.positions + cell[1]))
    numbers = torch.cat((graph.numbers, graph.numbers))
    doubled = cell * torch.tensor([[1.0], [2.0], [1.0]], dtype=torch.float64)
    large = connect(AtomGraph.without_edges(twice, numbers, doubled, graph.pbc[0]), CUTOFF)
    (single,), (matrix,) = potential.hessians(graph), potential.hessians(large)
    n = single.shape[0]
    assert deviation(matrix[:n, :n] + matrix[:n, n:], single) < tolerances.EQUIVARIANCE.float64


def test_blocks_fade_out_smoothly_at_the_cutoff() -> None:
    """And their slope: a pair that enters makes no jump."""
    potential = build("mace-one-layer")

    def coupling(distance: float) -> float:
        graph = AtomGraph.from_arrays([[0, 0, 0], [distance, 0, 0]], [14, 8])
        return float(potential.hessians(graph, sum_rule=False)[0][:3, 3:].abs().max())

    inside, close, closer = (coupling(PAIR_CUTOFF - gap) for gap in (0.5, 0.02, 0.01))
    assert coupling(PAIR_CUTOFF + 0.01) == 0
    assert 0 < close < 1e-4 * inside
    assert closer < close / 8  # fourth order in the gap


@pytest.mark.parametrize("numbers", [[], [8]], ids=["no atom", "one atom"])
def test_no_pairs_are_fine(numbers: list[int]) -> None:
    graph = AtomGraph.from_arrays(np.zeros((len(numbers), 3)), numbers)
    (matrix,) = build().hessians(graph)
    assert matrix.shape == (3 * len(numbers),) * 2
    assert float(matrix.abs().sum()) == 0


def test_gradients_reach_every_weight_and_are_right() -> None:
    potential, graph = build(head=replace(HEAD, channels=2, hidden=3)), molecule()
    names = [name for name, _ in potential.head.named_parameters()]

    def entries(*weights: Tensor) -> Tensor:
        changed = {f"head.{name}": weight for name, weight in zip(names, weights, strict=True)}
        blocks = torch.func.functional_call(_Matrices(potential), {f"inner.{k}": v for k, v in changed.items()}, graph)
        return blocks[0][::4, ::3]

    weights = tuple(w.detach().clone().requires_grad_() for w in potential.head.parameters())
    assert torch.autograd.gradcheck(entries, weights, fast_mode=True)
    total = sum(matrix.square().sum() for matrix in potential.with_hessians(graph).hessians.matrices())
    gradients = torch.autograd.grad(total, tuple(potential.head.parameters()))
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients)


class _Matrices(torch.nn.Module):
    def __init__(self, inner: HessianPotential) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, graph: AtomGraph) -> list[Tensor]:
        return self.inner.with_hessians(graph).hessians.matrices()


def test_energies_and_forces_are_the_backbones() -> None:
    potential, graph = build(), molecule()
    own, plain = evaluate(potential, graph, ("forces",)), evaluate(potential.energy_model, graph, ("forces",))
    assert torch.equal(own.energies, plain.energies)
    assert own.forces is not None
    assert plain.forces is not None
    assert torch.equal(own.forces, plain.forces)


def test_a_saved_potential_predicts_the_same(potential: HessianPotential, tmp_path: Path) -> None:
    card = ModelCard("tiny", "none", "none: random weights", "CC0-1.0", "nobody")
    save_model(potential, tmp_path / "tiny.safetensors", card)
    loaded = load_model(tmp_path / "tiny.safetensors")
    assert isinstance(loaded, HessianPotential)
    assert torch.equal(loaded.hessians(molecule())[0], potential.hessians(molecule())[0])
    again = config_from_json(HessianPotentialConfig, config_to_json(potential.config))
    assert config_to_json(again) == config_to_json(potential.config)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: HessianPotential.of("mace", MACEConfig(**(COMMON | {"max_degree": 1, "hidden": "0e+1o"}))), "with 2e"),
    (lambda: HessianHeadConfig(cutoff=0.0), "cutoff of a Hessian head"),
    (lambda: HessianHeadConfig(scale=math.nan), "scale of a Hessian head"),
    (lambda: HessianHeadConfig(channels=0), "channels of a Hessian head"),
    (lambda: HessianHeadConfig(correlation=9), "correlation must be 1 to 4"),
    (lambda: HessianPotential(replace(build().config, cutoff=2.0)), "must be those of the backbone"),
    (lambda: HessianPotential(replace(build().config, backbone={})), "backbone.architecture is missing"),
    (lambda: HessianPotential(replace(build().config, backbone={"architecture": "zbl"})), "shows no features"),
    (
        lambda: HessianPotential(replace(build().config, backbone=build().config.backbone | {"chanels": 3})),
        "did you mean 'channels'",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_work_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_every_backbone_tells_the_shape_of_its_features(potential: HessianPotential) -> None:
    features = potential.backbone.describe(molecule()).features
    assert features.shape == (5, potential.backbone.feature_irreps.dim, potential.backbone.feature_channels)


# Planted bugs --------------------------------------------------------------------------------------------------------


def test_a_vector_in_place_of_the_pseudovector_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = head_module.BLOCK_IRREPS.__class__.parse("0e+1o+2e")
    monkeypatch.setattr(head_module, "BLOCK_IRREPS", wrong)
    assert rotation_error(build(), molecule()) > 100 * tolerances.EQUIVARIANCE.float64


def test_a_swapped_component_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = head_module._blocks

    def wrong(components: Tensor, irreps: Any) -> Tensor:
        order = list(range(components.shape[1]))
        order[-1], order[-2] = order[-2], order[-1]
        return right(components[:, order], irreps)

    monkeypatch.setattr(head_module, "_blocks", wrong)
    assert rotation_error(build(), molecule()) > 100 * tolerances.EQUIVARIANCE.float64


def test_a_forgotten_transpose_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only pairs' antisymmetric parts can tell."""
    blocks = build().with_hessians(molecule()).hessians
    careless = HessianBlocks(blocks.atoms, 0.5 * (blocks.pairs + blocks.pairs.transpose(1, 2)), blocks.graph)
    (right,), (wrong,) = blocks.matrices(), careless.matrices()
    assert deviation(wrong.detach(), right.detach()) > 1e-3
