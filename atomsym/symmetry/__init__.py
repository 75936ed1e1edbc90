"""Layer 1: irreps, coupling coefficients, Wigner matrices; later frames, canonicalization, space groups."""

from atomsym.symmetry.irreps import Irrep, Irreps, parse_irreps, sorted_irreps
from atomsym.symmetry.symmetric_coupling import SymmetricCoupling, symmetric_coupling
from atomsym.symmetry.wigner_3j import wigner_3j

__all__ = [
    "Irrep",
    "Irreps",
    "SymmetricCoupling",
    "parse_irreps",
    "sorted_irreps",
    "symmetric_coupling",
    "wigner_3j",
]
