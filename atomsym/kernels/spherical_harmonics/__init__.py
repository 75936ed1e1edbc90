"""Real spherical harmonics of vectors, with derivatives of every order."""

from atomsym.kernels.spherical_harmonics.front import SPHERICAL_HARMONICS, spherical_harmonics
from atomsym.kernels.spherical_harmonics.reference import unit_vectors

__all__ = ["SPHERICAL_HARMONICS", "spherical_harmonics", "unit_vectors"]
