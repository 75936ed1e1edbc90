"""Units at every public border: eV, Å, amu, e, fs. Values from CODATA 2018 (exact SI constants where defined).

Stress is in eV/Å³, positive under tension. ASE's own time unit is not the femtosecond: convert with ``FS_IN_ASE_TIME``.
"""

from __future__ import annotations

import math

BOLTZMANN = 1.380649e-23 / 1.602176634e-19
"""Boltzmann constant, eV/K."""

AMU_ANGSTROM2_PER_FS2 = 1.66053906660e-27 * 1e-20 / 1e-30 / 1.602176634e-19
"""1 amu Å²/fs² in eV: kinetic energies from velocities in Å/fs."""

ACCELERATION = 1.0 / AMU_ANGSTROM2_PER_FS2
"""1 eV/Å per amu as an acceleration in Å/fs²."""

FS_IN_ASE_TIME = math.sqrt(ACCELERATION)
"""1 fs in ASE's time unit Å·sqrt(amu/eV)."""

GPA_IN_EV_PER_ANGSTROM3 = 1e9 * 1e-30 / 1.602176634e-19
"""1 GPa in eV/Å³."""

COULOMB = 14.399645478425668
"""e²/(4π ε0) in eV·Å."""

BOHR = 0.529177210903
"""1 bohr in Å."""

HARTREE = 27.211386245988
"""1 hartree in eV."""
