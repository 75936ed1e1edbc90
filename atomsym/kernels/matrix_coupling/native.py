"""The compiled backends of products of features as matrices: matrices exist for a few channels of one row at a time.

What a channel costs, with n = 2 spin + 1 and L the largest degree. In the real basis of a spin the row and column of an
entry are orders a, b of harmonics, and T_lm has entries only where |m| is |a| + |b| or ||a| − |b||. The entries of one
block, (a, b), (−a, −b) and both transposed, have the same coefficients up to signs: of the degrees of one parity that
reach an order, one sum serves all of them. That makes Σ_M (n − M)(L + 1 − M) or about n³/3 products for the sums, and
at most four an entry for the signs; a dense map has n² (L + 1)². X Y and Y X are 2 n³ more. The symmetric and
antisymmetric halves of X and Y (even and odd degrees) do not make that less: their four products are of the same size
together.

Forward: 3 maps and 2 n³; both gradients: 5 maps and 4 n³, for the maps of X, Y and G are shared. Products of all three
degrees L, against couplings that do not vanish (each counted with its pair of factors):

    L                     1     2     3     4     5     6      7      8
    n                     3     3     5     5     7     7      9      9
    maps and 2 n³        96   138   499   580  1358  1478   2805   2976
    couplings, even      16   154   587  1753  4163  8797  15554  28780
    couplings, odd       12   104   446  1418  3162  7280  14842  26742

Small maps have their own price (see ``pointwise.tables``), so that couplings are taken up to L = 3 or 4.
"""

from __future__ import annotations

from functools import cache

from torch import Tensor

from atomsym.kernels.matrix_coupling.description import MatrixCoupling, matrix_coupling_of, operators
from atomsym.kernels.pointwise import ProductTables, Sampling, pointwise_product, register_tables


def multiply(backend: str, first: Tensor, second: Tensor, coupling: MatrixCoupling) -> Tensor:
    """See ``matrix_coupling``."""
    return pointwise_product(backend, (first, second), f"matrix_coupling {coupling.handle}")


def _tables(handle: str) -> ProductTables:
    coupling = matrix_coupling_of(handle)
    spin = coupling.spin or 0
    # The form is tr G (X Y ± Y X) / 2; with T_lm transposed in G the result is a scalar product with T_lm.
    first, second, out = (operators(spin, degree).movedim(0, -1) for degree in coupling.degrees)
    laid_out = (first, second, out.transpose(0, 1))
    sample = tuple(_sampling(matrices, spin) for matrices in laid_out)
    project = tuple(_sampling(0.5 * matrices.transpose(0, 1), spin) for matrices in laid_out)
    return ProductTables(sample, project, "anticommutator" if coupling.part == "even" else "commutator")


def _sampling(matrices: Tensor, spin: int) -> Sampling:
    """From T_lm, shape (rows, columns, dim), to the entries row by row."""
    entries = matrices.flatten(0, 1)
    return Sampling.in_blocks(entries, _blocks(spin), _classes(entries.shape[1]))


@cache
def _blocks(spin: int) -> list[list[int]]:
    """Entries (a, b) by the absolute values of a and b in any order, and the sign of their product."""
    orders = range(-spin, spin + 1)
    blocks: dict[tuple[int, int, bool], list[int]] = {}
    for number, (a, b) in enumerate((a, b) for a in orders for b in orders):
        large, small = max(abs(a), abs(b)), min(abs(a), abs(b))
        blocks.setdefault((large, small, (a < 0) == (b < 0)), []).append(number)
    return list(blocks.values())


@cache
def _classes(dim: int) -> list[list[int]]:
    """Components (l, m) by m and the parity of l."""
    classes: dict[tuple[int, int], list[int]] = {}
    degree = 0
    for component in range(dim):
        degree += (degree + 1) ** 2 == component
        classes.setdefault((component - degree * (degree + 1), degree % 2), []).append(component)
    return list(classes.values())


def _dims(handle: str) -> tuple[int, ...]:
    return tuple((degree + 1) ** 2 for degree in matrix_coupling_of(handle).degrees)


register_tables("matrix_coupling", _tables, _dims)
