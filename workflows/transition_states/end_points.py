"""Two ends of a reaction: the same atoms in the same order, and not the same structure."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from atomsym.core import InputError
from atomsym.workflows.transition_states.bonds import bonds_of

FloatArray = NDArray[np.float64]

SAME = 0.05
"""Å, root mean square: structures nearer than this after superposition are the same."""
_SUSPICIOUS = 4
"""An exchange of equal atoms that saves so many changes of bonds: two bonds that only seem to break and form anew."""


def aligned(moving: Atoms, fixed: Atoms) -> Atoms:
    """A copy, translated and rotated onto another structure with the same order of atoms."""
    copy = Atoms(moving.numbers, moving.positions)
    minimize_rotation_and_translation(Atoms(fixed.numbers, fixed.positions), copy)
    result = moving.copy()
    result.positions[:] = copy.positions
    return result


def distance(first: Atoms, second: Atoms) -> float:
    """Root mean square distance of the atoms after superposition, Å."""
    gap = aligned(second, first).positions - first.positions
    return float(np.sqrt((gap**2).sum(axis=1).mean()))


def require_reaction(reactant: Atoms, product: Atoms, *, trust_order: bool = False) -> None:
    """Check two ends before anything is computed.

    Raises:
        InputError: if they are of different composition, in another order as far as that can be seen, or the same.
    """
    first, second = reactant.get_chemical_formula(), product.get_chemical_formula()
    if first != second:
        raise InputError(f"the reactant is {first} and the product {second}; a reaction keeps its atoms")
    differing = np.flatnonzero(reactant.numbers != product.numbers)
    if differing.size:
        k = int(differing[0])
        raise InputError(
            f"the atoms are in another order: atoms[{k}] is {reactant.symbols[k]} in the reactant and "
            f"{product.symbols[k]} in the product. Number the atoms of the product as those of the reactant"
        )
    if distance(reactant, product) < SAME:
        raise InputError(
            f"reactant and product are the same structure (within {SAME:g} Å): there is no path between them"
        )
    if not trust_order:
        _require_plausible_order(reactant, product)


def _require_plausible_order(reactant: Atoms, product: Atoms) -> None:
    order = nearest_order(reactant, product)
    before = len(bonds_of(reactant) ^ bonds_of(product))
    after = len(bonds_of(reactant) ^ bonds_of(product[order]))
    if before - after < _SUSPICIOUS:
        return
    moved = np.flatnonzero(order != np.arange(len(order)))
    swap = ", ".join(f"{product.symbols[i]}{order[i]} → {i}" for i in moved[:6])
    raise InputError(
        f"equal atoms seem to be permuted: {before} bonds change between the ends as they are numbered, {after} if the "
        f"product is renumbered ({swap}{' …' if len(moved) > 6 else ''}). Renumber it, or insist with --trust-order"
    )


def nearest_order(reactant: Atoms, product: Atoms) -> NDArray[np.int64]:
    """The order of the product's atoms, exchanged among equal elements only, that lies nearest to the reactant.

    Assignment and superposition in turn find the nearest order only from a good first superposition, so three are
    tried: of all atoms as they are numbered, of those that are no hydrogen, and the frame in which they are given.

    Returns:
        Shape (n,): ``product[order]`` superposes best of what was tried.
    """
    starts = [aligned(product, reactant), product]
    heavy = np.flatnonzero(product.numbers > 1)
    if len(heavy) > 2:
        starts.append(_aligned_by(product, reactant, heavy))
    orders = [_refined(reactant, product, start.positions) for start in starts]
    return min(orders, key=lambda order: distance(reactant, product[order]))


def _refined(reactant: Atoms, product: Atoms, positions: FloatArray) -> NDArray[np.int64]:
    order = _assigned(reactant, product, positions)
    for _ in range(5):
        placed = np.empty_like(positions)
        placed[order] = aligned(product[order], reactant).positions
        again = _assigned(reactant, product, placed)
        if np.array_equal(again, order):
            break
        order = again
    return order


def _assigned(reactant: Atoms, product: Atoms, positions: FloatArray) -> NDArray[np.int64]:
    """Which atom of the product lies nearest to each atom of the reactant, one to one, among equal elements."""
    squares = ((reactant.positions[:, None] - positions[None, :]) ** 2).sum(axis=-1)
    squares[reactant.numbers[:, None] != product.numbers[None, :]] = 1e6
    return np.asarray(linear_sum_assignment(squares)[1])


def _aligned_by(moving: Atoms, fixed: Atoms, chosen: NDArray[np.int64]) -> Atoms:
    """A copy, superposed so that the chosen atoms lie as near as they can."""
    result = moving.copy()
    centre, target = moving.positions[chosen].mean(axis=0), fixed.positions[chosen].mean(axis=0)
    rotation, _ = Rotation.align_vectors(fixed.positions[chosen] - target, moving.positions[chosen] - centre)
    result.positions[:] = rotation.apply(moving.positions - centre) + target
    return result
