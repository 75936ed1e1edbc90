"""A product as flat integer tables, for compiled kernels.

Kernels first contract the couplings of a path with the edge features to a small matrix
A[i, k] = coefficient · Σ_f C[i, f, k] Y[f], without channels. A scalar edge irrep gives a multiple of the identity,
for which one number is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from atomsym.kernels.tensor_product.product import ChannelwiseProduct
from atomsym.symmetry import wigner_3j


@dataclass(frozen=True)
class PathRow:
    """Where the operands of one path lie.

    Attributes:
        first_in, first_out: first component on the node and on the output axis.
        rows, columns: 2 l_in + 1 and 2 l_out + 1, the shape of A.
        weight: position on the weight axis.
        matrix: first element of A, row by row.
        diagonal: A is one number times the identity.
    """

    first_in: int
    first_out: int
    rows: int
    columns: int
    weight: int
    matrix: int
    diagonal: bool


@dataclass(frozen=True)
class ProductTables:
    """All paths, and the sparse couplings A[element[t]] += coefficient[t] · Y[component[t]]."""

    paths: tuple[PathRow, ...]
    n_matrix: int
    element: tuple[int, ...]
    component: tuple[int, ...]
    coefficient: tuple[float, ...]


@cache
def tables_of(product: ChannelwiseProduct) -> ProductTables:
    """Tables of a product; paths that read the same node irrep follow one another, so that it stays in the cache."""
    rows: list[PathRow] = []
    element: list[int] = []
    component: list[int] = []
    coefficient: list[float] = []
    n_matrix = 0
    for number, path in sorted(enumerate(product.paths), key=lambda item: (item[1].index_in, item[1].index_out)):
        irreps = (product.irreps_in[path.index_in], product.irreps_edge[path.index_edge])
        out = product.irreps_out[path.index_out]
        coupling = path.coefficient * wigner_3j(irreps[0].degree, irreps[1].degree, out.degree)
        first_edge = product.irreps_edge.slices[path.index_edge].start
        diagonal = irreps[1].degree == 0
        rows.append(
            PathRow(
                product.irreps_in.slices[path.index_in].start,
                product.irreps_out.slices[path.index_out].start,
                irreps[0].dim,
                out.dim,
                number,
                n_matrix,
                diagonal,
            )
        )
        if diagonal:
            terms = [(n_matrix, first_edge, float(coupling[0, 0, 0]))]
        else:
            terms = [
                (n_matrix + i * out.dim + k, first_edge + f, float(coupling[i, f, k]))
                for i, f, k in coupling.nonzero().tolist()
            ]
        element += [term[0] for term in terms]
        component += [term[1] for term in terms]
        coefficient += [term[2] for term in terms]
        n_matrix += 1 if diagonal else irreps[0].dim * out.dim
    return ProductTables(tuple(rows), n_matrix, tuple(element), tuple(component), tuple(coefficient))
