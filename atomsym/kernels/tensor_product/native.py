"""The C++ backend: the tables of a product for the compiled kernels."""

from __future__ import annotations

from functools import cache

from atomsym.kernels.compiled_convolution import CompiledConvolution
from atomsym.kernels.native import cpu_extension
from atomsym.kernels.tensor_product.operators import CONVOLUTION
from atomsym.kernels.tensor_product.product import product_of
from atomsym.kernels.tensor_product.tables import tables_of

MAX_DEGREE = 6
"""Largest output degree the kernels are compiled for; degrees of inputs are bounded with it for simplicity."""


@cache
def plan_address(handle: str) -> int:
    """Address of the compiled form of a product's tables."""
    product = product_of(handle)
    tables = tables_of(product)
    rows = [
        int(value)
        for path in tables.paths
        for value in (
            path.first_in,
            path.first_out,
            path.rows,
            path.columns,
            path.weight,
            path.matrix,
            path.diagonal,
        )
    ]
    address: int = cpu_extension().channelwise_plan(
        product.irreps_in.dim,
        product.irreps_edge.dim,
        product.irreps_out.dim,
        product.n_paths,
        tables.n_matrix,
        rows,
        tables.element,
        tables.component,
        tables.coefficient,
    )
    return address


CompiledConvolution(CONVOLUTION, lambda handle, _: (plan_address(handle),)).define(CONVOLUTION.operands)
