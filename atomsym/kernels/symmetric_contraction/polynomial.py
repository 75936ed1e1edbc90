"""A contraction as a sparse polynomial in the components of A: the tables that the C++ and Triton kernels walk.

B[o] = Σ_e c_e · X[prefix_e] · A[factor_e] over the entries e of output component o. An entry is one monomial of one
output component; its coefficient c_e = Σ_p fold_ep W[species, p] depends on species and channel only and is folded
once for many nodes. X are products of fewer factors (1, A_i, A_i A_j, …), each formed once per node and used by all
monomials that contain it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np

from atomsym.kernels.symmetric_contraction.description import SymmetricContraction

_Monomial = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ContractionPolynomial:
    """Integer tables (int32) of a contraction; E entries, G distinct monomials, R rows, P products.

    Products are numbered 0: the constant 1; 1 … dim_in: the components of A; then X[parent] · A[factor], parents first.
    Entries are sorted by (output component, factor): a row is a run of equal pairs.

    Attributes:
        dim_in, dim_out, n_paths: sizes of A, B and the path axis of the weights.
        product_parent, product_factor: (P,), of the products of two and more factors.
        row_output, row_factor: (R,); row_start: (R + 1,) positions among the entries.
        entry_prefix: (E,) product number.
        fold_start: (E + 1,); fold_path, and fold_coefficient in float64: terms of the coefficients c_e.
        group_factor, group_prefix: (G,) the monomials by increasing factor; group_start: (G + 1,) positions among the
            members; member_entry, member_output: (E,) the entries that have the monomial.
    """

    dim_in: int
    dim_out: int
    n_paths: int
    product_parent: np.ndarray
    product_factor: np.ndarray
    row_output: np.ndarray
    row_factor: np.ndarray
    row_start: np.ndarray
    entry_prefix: np.ndarray
    fold_start: np.ndarray
    fold_path: np.ndarray
    fold_coefficient: np.ndarray
    group_factor: np.ndarray
    group_prefix: np.ndarray
    group_start: np.ndarray
    member_entry: np.ndarray
    member_output: np.ndarray

    @property
    def n_entries(self) -> int:
        """Number of (output component, monomial) pairs with a coefficient."""
        return len(self.entry_prefix)

    @property
    def entry_output(self) -> np.ndarray:
        """Output component of each entry, (E,)."""
        return np.repeat(self.row_output, np.diff(self.row_start)).astype(np.int32)

    @property
    def entry_factor(self) -> np.ndarray:
        """The factor that completes the monomial of each entry, (E,)."""
        return np.repeat(self.row_factor, np.diff(self.row_start)).astype(np.int32)

    def product_components(self) -> list[_Monomial]:
        """The components of A that each product multiplies."""
        components: list[_Monomial] = [(), *((i,) for i in range(self.dim_in))]
        for parent, factor in zip(self.product_parent.tolist(), self.product_factor.tolist(), strict=True):
            components.append((*components[parent], factor))
        return components

    def forward_operations(self) -> int:
        """Floating-point operations per node and channel of B, without the folding of the weights."""
        return len(self.product_parent) + 2 * self.n_entries + 2 * len(self.row_output)

    def gradient_operations(self) -> int:
        """Floating-point operations per node and channel of ∂⟨g, B⟩/∂A."""
        return 5 * len(self.product_parent) + 2 * self.n_entries + 4 * len(self.group_factor)


@cache
def contraction_polynomial(key: str) -> ContractionPolynomial:
    """The tables of the contraction with this key; built once a process."""
    contraction = SymmetricContraction.from_key(key)
    terms = _terms(contraction)
    monomials = sorted({monomial for _, monomial in terms})
    split, products = _split(monomials)
    number = {product: index for index, product in enumerate([(), *((i,) for i in range(contraction.irreps_in.dim))])}
    parents, factors = [], []
    for product in sorted(products, key=lambda p: (len(p), p)):
        parent, factor = split[product]
        number[product] = len(number)
        parents.append(number[parent])
        factors.append(factor)
    entries = sorted((output, split[m][1], number[split[m][0]], m) for output, m in terms)
    fold = [terms[output, monomial] for output, _, _, monomial in entries]
    row_start = [i for i, e in enumerate(entries) if i == 0 or entries[i - 1][:2] != e[:2]]
    by_monomial = sorted(range(len(entries)), key=lambda i: (entries[i][1:3], i))
    group_start = [j for j, i in enumerate(by_monomial) if j == 0 or entries[by_monomial[j - 1]][1:3] != entries[i][1:3]]
    return ContractionPolynomial(
        dim_in=contraction.irreps_in.dim,
        dim_out=contraction.irreps_out.dim,
        n_paths=contraction.n_paths,
        product_parent=_integers(parents),
        product_factor=_integers(factors),
        row_output=_integers([entries[i][0] for i in row_start]),
        row_factor=_integers([entries[i][1] for i in row_start]),
        row_start=_integers([*row_start, len(entries)]),
        entry_prefix=_integers([e[2] for e in entries]),
        fold_start=_integers(list(itertools.accumulate(map(len, fold), initial=0))),
        fold_path=_integers([path for paths in fold for path, _ in paths]),
        fold_coefficient=np.array([value for paths in fold for _, value in paths], dtype=np.float64),
        group_factor=_integers([entries[by_monomial[j]][1] for j in group_start]),
        group_prefix=_integers([entries[by_monomial[j]][2] for j in group_start]),
        group_start=_integers([*group_start, len(entries)]),
        member_entry=_integers(by_monomial),
        member_output=_integers([entries[i][0] for i in by_monomial]),
    )


def _terms(contraction: SymmetricContraction) -> dict[tuple[int, _Monomial], list[tuple[int, float]]]:
    """(output component, monomial) → [(path, coefficient)]."""
    terms: dict[tuple[int, _Monomial], list[tuple[int, float]]] = {}
    for block, coupling in zip(contraction.blocks, contraction.couplings, strict=True):
        first_component = contraction.irreps_out.slices[block.output].start
        rows = zip(
            (coupling.component + first_component).tolist(),
            map(tuple, coupling.monomial.tolist()),
            (coupling.path + block.paths.start).tolist(),
            coupling.coefficient.tolist(),
            strict=True,
        )
        for output, monomial, path, value in rows:
            terms.setdefault((output, monomial), []).append((path, value))
    return terms


def _split(monomials: list[_Monomial]) -> tuple[dict[_Monomial, tuple[_Monomial, int]], set[_Monomial]]:
    """Write every monomial as product × factor such that few different products are needed.

    From the highest order down, each monomial takes the product that most monomials of its order could take.

    Returns:
        Monomial or product → (product, factor), and the products of at least two factors.
    """
    split: dict[_Monomial, tuple[_Monomial, int]] = {}
    products: set[_Monomial] = set()
    for order in range(max(map(len, monomials), default=0), 0, -1):
        same_order = sorted({m for m in monomials if len(m) == order} | {p for p in products if len(p) == order})
        choices = {m: sorted({(m[:j] + m[j + 1 :], m[j]) for j in range(order)}) for m in same_order}
        popularity = Counter(product for candidates in choices.values() for product, _ in candidates)
        for monomial, candidates in choices.items():
            split[monomial] = max(candidates, key=lambda candidate: (popularity[candidate[0]], candidate[1]))
            if order > 2:
                products.add(split[monomial][0])
    return split, products


def _integers(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int32)
