"""The one table of tolerances. Tests and checks import names, never numbers.

Changing a value is a commit of its own with the reason. Ids F-… name the physics test they belong to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tolerance:
    """A bound for double and for single precision; the unit is in the comment beside each name."""

    float64: float
    float32: float

    def of(self, dtype: torch.dtype) -> float:
        """The bound for float32 or float64."""
        return self.float32 if dtype == torch.float32 else self.float64


# Kernels -------------------------------------------------------------------------------------------------------------
BACKEND_PARITY = Tolerance(1e-10, 1e-5)  # F-15: largest deviation from the reference / largest value
ALGEBRA = Tolerance(1e-12, 1e-5)  # identities of harmonics, couplings, rotations: largest deviation / largest value
EQUIVARIANCE = Tolerance(1e-10, 1e-5)  # |f(Rx) − R f(x)| / |f|
INFERENCE = Tolerance(1e-6, 1e-5)  # engine against autograd: largest deviation / largest value; tables limit float64

# Potentials ----------------------------------------------------------------------------------------------------------
TRANSLATION = Tolerance(1e-10, 1e-6)  # F-1: eV/atom
ROTATION_ENERGY = Tolerance(1e-9, 1e-5)  # F-2: eV/atom
ROTATION_FORCES = Tolerance(1e-8, 1e-4)  # F-2: eV/Å
PERMUTATION = Tolerance(1e-10, 1e-6)  # F-3: eV/atom
IMAGE_SHIFT = Tolerance(1e-9, 1e-5)  # F-4: eV/atom, one atom moved by a few lattice vectors
IMAGE_SHIFT_FAR = Tolerance(1e-9, 1e-3)  # F-4: eV/atom, unwrapped by 1000 cells
EXTENSIVITY = Tolerance(1e-9, 1e-6)  # F-5: eV/atom
BATCHING = Tolerance(1e-10, 1e-6)  # F-6: eV/atom
FINITE_DIFFERENCE_FORCES = Tolerance(1e-6, 1e-3)  # F-7: × (1 + |force|), eV/Å
STRESS = Tolerance(1e-7, 1e-5)  # F-8: eV/Å³
JACOBIAN_SYMMETRY = Tolerance(1e-7, 1e-4)  # F-9: |J − Jᵀ| / |J + Jᵀ|
HESSIAN_SYMMETRY = Tolerance(1e-10, 1e-5)  # F-10: largest |H − Hᵀ| / largest |H|
ACOUSTIC_SUM = Tolerance(1e-8, 1e-4)  # F-10: eV/Å²
HESSIAN_VECTOR_PRODUCT = Tolerance(1e-10, 1e-5)  # F-10: relative
HESSIAN_FINITE_DIFFERENCE = Tolerance(1e-6, 1e-3)  # F-10: relative
ZERO_MODES = Tolerance(0.1, 1.0)  # F-10: 1/cm
CUTOFF_JUMP = Tolerance(1e-8, 1e-4)  # F-11: energy, force and Hessian jumps relative to the interior value
CUTOFF_THIRD_DERIVATIVE = Tolerance(1e-6, 1e-4)  # F-11: third derivative, relative to the interior value
CONTINUITY = Tolerance(1e-6, 1e-4)  # F-13: eV

# Molecular dynamics --------------------------------------------------------------------------------------------------
NVE_SLOPE_PAIR_POTENTIAL = 0.02  # F-16: meV/atom/ns, reference pair potentials, 2 fs
NVE_RMS_PAIR_POTENTIAL = 0.002  # F-16: meV/atom
NVE_SLOPE = Tolerance(0.1, 1.0)  # F-16: meV/atom/ns, learned potentials, 1 fs, 300–600 K
NVE_DRIFT_OF_KINETIC_STD = 0.1  # F-16: total drift / standard deviation of the kinetic energy
MD_CONSERVED_ENERGY = 0.02  # meV/atom, range of the conserved quantity of a thermostat over 0.4 ps of hot argon, 2 fs
MD_REVERSIBILITY = 1e-8  # Å, after 20 steps forth and back
STATISTICAL_SIGMAS = 3.0  # F-17: standard errors within which a sampled mean must be
