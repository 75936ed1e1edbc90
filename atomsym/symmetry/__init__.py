"""Layer 1: irreps, coupling coefficients, Wigner matrices; later frames, canonicalization, space groups."""

from atomsym.symmetry.edge_frames import rotation_to_polar_axis
from atomsym.symmetry.irreps import Irrep, Irreps, parse_irreps, sorted_irreps
from atomsym.symmetry.rotations import (
    euler_to_matrix,
    matrix_to_euler,
    matrix_to_quaternion,
    matrix_to_rotation_vector,
    quaternion_to_matrix,
    random_rotations,
    rotation_vector_to_matrix,
)
from atomsym.symmetry.symmetric_coupling import SymmetricCoupling, symmetric_coupling
from atomsym.symmetry.wigner_3j import wigner_3j
from atomsym.symmetry.wigner_d import (
    block_diagonal,
    representation_matrix,
    rotation_generators,
    wigner_d,
    wigner_d_from_euler,
    wigner_d_from_rotation_vector,
)

__all__ = [
    "Irrep",
    "Irreps",
    "SymmetricCoupling",
    "block_diagonal",
    "euler_to_matrix",
    "matrix_to_euler",
    "matrix_to_quaternion",
    "matrix_to_rotation_vector",
    "parse_irreps",
    "quaternion_to_matrix",
    "random_rotations",
    "representation_matrix",
    "rotation_generators",
    "rotation_to_polar_axis",
    "rotation_vector_to_matrix",
    "sorted_irreps",
    "symmetric_coupling",
    "wigner_3j",
    "wigner_d",
    "wigner_d_from_euler",
    "wigner_d_from_rotation_vector",
]
