"""What a product can express: which couplings it has, and how many of them can be chosen on their own.

Every equivariant product of two features is Σ c · wigner_3j over couplings (l1, l2, l3); on edges l2 is the degree of
the harmonics of the edge's direction and goes up to l1 + l3. The numbers c of a product follow from its results on
random inputs; with the weights of the product and those of linear layers before and after it they span what can be
reached.

Source: The Price of Freedom (Xie et al. 2025, arXiv 2506.13523) for both measures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.spherical_harmonics.reference import reference_spherical_harmonics
from atomsym.symmetry import wigner_3j
from atomsym.workflows.benchmarks.tensor_products_kinds import Product

Coupling = tuple[int, int, int]
_SAMPLES = 4  # random inputs of each degree
_RANK = 1e-9  # singular values below it, relative to the largest, are zeros
_THERE = 1e-9  # of the largest coefficient: smaller ones are rounding errors


@dataclass(frozen=True)
class Reach:
    """Of a product with linear layers around it.

    Attributes:
        couplings_even, couplings_odd: couplings that occur, by l1 + l2 + l3 (interactability).
        all_even, all_odd: couplings that there are for these degrees.
        dimension: of the family of maps with one channel: numbers that can be chosen on their own, one for each
            degree before and after the product, and its weights (expressivity).
        span: of the sums of such maps, as many channels with mixing layers make them.
        residue: part of the result that is no equivariant map, relative to the norm.
    """

    couplings_even: int
    couplings_odd: int
    all_even: int
    all_odd: int
    dimension: int
    span: int
    residue: float


def reach_of(product: Product, place: str) -> Reach:
    """Measure it with the reference backend in double precision; one second at degree 6, ten times that at 8.

    Args:
        product: any of ``KINDS``.
        place: ``edges`` or ``nodes``, as it was built for.
    """
    generator = torch.Generator().manual_seed(0)
    couplings = _couplings(product, product.irreps_second.max_degree)
    last = product.irreps_out.max_degree
    everything = _couplings(product, product.irreps_first.max_degree + last) if place == "edges" else couplings
    found, residue = (_on_edges if place == "edges" else _on_nodes)(product, couplings, generator)
    largest = float(found.abs().max()) if found.numel() else 0.0
    there = (found.abs() > _THERE * largest).any(0)
    odd = torch.tensor([sum(coupling) % 2 == 1 for coupling in couplings])
    all_odd = sum(sum(coupling) % 2 for coupling in everything)
    dimension, span = _ranks(found * there, couplings, place, generator)
    return Reach(
        couplings_even=int((there & ~odd).sum()),
        couplings_odd=int((there & odd).sum()),
        all_even=len(everything) - all_odd,
        all_odd=all_odd,
        dimension=dimension,
        span=span,
        residue=residue,
    )


def _couplings(product: Product, second: int) -> list[Coupling]:
    """All (l1, l2, l3) with the degrees of a product and l2 up to ``second``."""
    first, last = product.irreps_first.max_degree, product.irreps_out.max_degree
    return [
        (a, b, c) for a in range(first + 1) for c in range(last + 1) for b in range(abs(a - c), min(a + c, second) + 1)
    ]


def _on_nodes(product: Product, couplings: list[Coupling], generator: torch.Generator) -> tuple[Tensor, float]:
    """Coefficients, shape (weights, couplings), and the residue; each pair of degrees by itself."""
    weights = torch.eye(max(product.n_weights, 1), dtype=torch.float64)
    pairs = [
        (a, b) for a in range(product.irreps_first.max_degree + 1) for b in range(product.irreps_second.max_degree + 1)
    ]
    first, second = (
        _only(irreps.dim, [pair[k] for pair in pairs], generator)
        for k, irreps in enumerate((product.irreps_first, product.irreps_second))
    )
    x_wide, y_wide = (operand.unsqueeze(2).expand(-1, -1, len(weights)) for operand in (first, second))
    out = product.apply(x_wide, y_wide, weights, _loops(len(first)), "reference")
    out = out.unflatten(0, (len(pairs), _SAMPLES))
    blocks: dict[tuple[int, int, int], Tensor] = {}
    for number, (a, b) in enumerate(pairs):
        rows = slice(number * _SAMPLES, (number + 1) * _SAMPLES)
        for c in range(abs(a - b), min(a + b, product.irreps_out.max_degree) + 1):
            x, y = first[rows, a**2 : (a + 1) ** 2], second[rows, b**2 : (b + 1) ** 2]
            blocks[a, b, c] = torch.einsum("ijk,ni,nj->nk", wigner_3j(a, b, c), x, y)
    found = torch.zeros(len(weights), len(couplings), dtype=torch.float64)
    explained = torch.zeros_like(out)
    for column, (a, b, c) in enumerate(couplings):
        number, part = pairs.index((a, b)), slice(c**2, (c + 1) ** 2)
        basis = blocks[a, b, c]
        found[:, column] = torch.einsum("nk,nkw->w", basis, out[number, :, part]) / basis.square().sum()
        explained[number, :, part] += basis.unsqueeze(2) * found[:, column]
    return found, _relative(out - explained, out)


def _on_edges(product: Product, couplings: list[Coupling], generator: torch.Generator) -> tuple[Tensor, float]:
    """The same in random directions; all degrees of the harmonics are there at once, and told apart by a fit."""
    if product.second is None:
        raise ValueError("a product on edges says what vectors become")
    n_weights, last = product.n_weights, product.irreps_out.max_degree
    degrees = list(range(product.irreps_first.max_degree + 1))
    # One sample gives 2 l3 + 1 equations for up to 2 l1 + 1 unknowns.
    samples = max(_SAMPLES, 2 * len(degrees))
    first = _only(product.irreps_first.dim, degrees, generator, samples)
    vectors = torch.randn(len(first), 3, generator=generator, dtype=torch.float64)
    harmonics = reference_spherical_harmonics(vectors, product.irreps_second.max_degree, True, "component")
    weights = torch.eye(n_weights, dtype=torch.float64).expand(len(first), -1, -1)
    wide = first.unsqueeze(2).expand(-1, -1, n_weights)
    out = product.apply(wide, product.second(vectors), weights, _loops(len(first)), "reference")
    out = out.unflatten(0, (len(degrees), samples))
    found = torch.zeros(n_weights, len(couplings), dtype=torch.float64)
    explained = torch.zeros_like(out)
    for a in degrees:
        rows, part_in = slice(a * samples, (a + 1) * samples), slice(a**2, (a + 1) ** 2)
        for c in range(last + 1):
            columns = [n for n, coupling in enumerate(couplings) if (coupling[0], coupling[2]) == (a, c)]
            if not columns:
                continue
            basis = torch.stack(
                [
                    torch.einsum(
                        "ijk,ni,nj->nk",
                        wigner_3j(a, b, c),
                        first[rows, part_in],
                        harmonics[rows, b**2 : (b + 1) ** 2],
                    )
                    for b in (couplings[n][1] for n in columns)
                ],
                2,
            )
            part = slice(c**2, (c + 1) ** 2)
            flat = out[a, :, part].reshape(-1, n_weights)
            fit = torch.linalg.lstsq(basis.flatten(0, 1), flat).solution
            found[:, columns] = fit.T
            explained[a, :, part] = basis @ fit
    return found, _relative(out - explained, out)


def _only(dim: int, degrees: list[int], generator: torch.Generator, samples: int = _SAMPLES) -> Tensor:
    """Random features, ``samples`` for each entry, of that degree alone; shape (entries · samples, dim)."""
    drawn = torch.randn(len(degrees), samples, dim, generator=generator, dtype=torch.float64)
    for entry, degree in enumerate(degrees):
        drawn[entry, :, : degree**2] = 0.0
        drawn[entry, :, (degree + 1) ** 2 :] = 0.0
    return drawn.flatten(0, 1)


def _loops(n: int) -> EdgeTopology:
    """Every node sends to itself."""
    return EdgeTopology.from_edge_index(torch.arange(n).expand(2, -1), n)


def _relative(difference: Tensor, whole: Tensor) -> float:
    return float(difference.norm() / whole.norm().clamp_min(1e-300))


def _ranks(found: Tensor, couplings: list[Coupling], place: str, generator: torch.Generator) -> tuple[int, int]:
    """Dimension of the family c = a_l1 b_l2 g_l3 (w · found), and of its span.

    On edges the harmonics are fixed, and there is no b.
    """
    n_weights = found.shape[0]
    index = torch.tensor(couplings).T
    sizes = [int(row.max()) + 1 for row in index]
    one = torch.ones(sizes[1], dtype=torch.float64)

    def draw(size: int) -> Tensor:
        return 0.5 + torch.rand(size, generator=generator, dtype=torch.float64)

    def coefficients(a: Tensor, b: Tensor, g: Tensor, w: Tensor) -> Tensor:
        return a[index[0]] * b[index[1]] * g[index[2]] * (w @ found)

    def member() -> tuple[Tensor, ...]:
        w = torch.randn(n_weights, generator=generator, dtype=torch.float64)
        return draw(sizes[0]), one if place == "edges" else draw(sizes[1]), draw(sizes[2]), w

    varied = (0, 2, 3) if place == "edges" else (0, 1, 2, 3)
    jacobian = torch.func.jacrev(coefficients, argnums=varied)(*member())
    dimension = _rank(torch.cat(jacobian, 1))
    members = torch.stack([coefficients(*member()) for _ in range(len(couplings) + 8)])
    return dimension, _rank(members)


def _rank(matrix: Tensor) -> int:
    """Of columns or rows of very different sizes: each coupling is scaled to unit size first."""
    axis = 0 if matrix.shape[0] > matrix.shape[1] else 1
    scale = matrix.norm(dim=axis, keepdim=True)
    kept = matrix / torch.where(scale > 0, scale, 1.0)
    return int(torch.linalg.matrix_rank(kept, rtol=_RANK))
