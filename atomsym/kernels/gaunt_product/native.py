"""The compiled backends of the Gaunt product: values on the grid exist for a few channels of one row at a time."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from atomsym.kernels.gaunt_product.description import GauntProduct, from_grid, gaunt_product_of, to_grid
from atomsym.kernels.pointwise import MOST_FACTORS, ProductTables, Sampling, pointwise_product, register_tables
from atomsym.symmetry import Irrep, Irreps


def multiply(backend: str, factors: Sequence[Tensor], product: GauntProduct) -> Tensor:
    """See ``gaunt_product``; many factors are multiplied in turn, with all degrees of the products between."""
    most = MOST_FACTORS[backend]
    while len(factors) > most:
        first, rest = product.factors[:most], product.factors[most:]
        between = _whole(first)
        part = pointwise_product(backend, factors[:most], f"gaunt_product {GauntProduct(first, between).handle}")
        factors, product = (part, *factors[most:]), GauntProduct((between, *rest), product.irreps_out)
    return pointwise_product(backend, factors, f"gaunt_product {product.handle}")


def _whole(factors: Sequence[Irreps]) -> Irreps:
    """All degrees that a product can have, in the parities that it has."""
    kind = 1
    for irreps in factors:
        for irrep in irreps[:1]:
            kind *= irrep.parity * (-1) ** irrep.degree
    largest = sum(irreps.max_degree for irreps in factors)
    return Irreps(tuple(Irrep(degree, kind * (-1) ** degree) for degree in range(largest + 1)))


def _tables(handle: str) -> ProductTables:
    product = gaunt_product_of(handle)
    degree, signal = product.grid_degree, product.signal
    lower = 1 if signal == "vector" else 0
    sample, project = [], []
    for irreps in (*product.factors, product.irreps_out):
        values, weighted = to_grid(irreps, degree, signal), from_grid(irreps, degree, signal)
        grid = (degree // 2 + 1, degree + 1, max(irreps.max_degree - lower, 0))
        if signal == "vector":  # components of the fields one after the other
            values, weighted = values.movedim(1, 0).flatten(0, 1), weighted.movedim(2, 1).flatten(1, 2)
        sample.append(Sampling.on_grid(values, *grid))
        project.append(Sampling.on_grid(weighted.T.contiguous(), *grid))
    return ProductTables(tuple(sample), tuple(project), "cross" if signal == "vector" else "product")


def _dims(handle: str) -> tuple[int, ...]:
    product = gaunt_product_of(handle)
    return tuple(irreps.dim for irreps in (*product.factors, product.irreps_out))


register_tables("gaunt_product", _tables, _dims)
