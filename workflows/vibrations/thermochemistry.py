"""Zero-point energy, enthalpy, entropy and free energy from wavenumbers, with ASE's thermochemistry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms, units
from ase.thermochemistry import HarmonicThermo, IdealGasThermo, RRHOMode
from numpy.typing import NDArray

from atomsym.workflows.vibrations.modes import NormalModes
from atomsym.workflows.vibrations.molecules import SymmetryNumber

FloatArray = NDArray[np.float64]

_GEOMETRY = {"atom": "monatomic", "linear": "linear", "nonlinear": "nonlinear"}
_PARTS = {"S_t": "translation", "S_p": "translation", "S_r": "rotation", "S_e": "electronic", "S_v": "vibration"}


@dataclass(frozen=True)
class Conditions:
    """Where and how thermochemistry is evaluated.

    Attributes:
        temperature: K.
        pressure: bar.
        multiplicity: 2S + 1.
        entropy: ``harmonic`` or ``quasi-harmonic``.
        rotor_cutoff: of the latter, 1/cm.
    """

    temperature: float
    pressure: float
    multiplicity: int = 1
    entropy: str = "harmonic"
    rotor_cutoff: float = 100.0


@dataclass(frozen=True)
class Thermochemistry:
    """Corrections to the potential energy, per structure as it was given.

    Attributes:
        model: the approximations, in words.
        temperature: K.
        pressure: bar; None if there is no gas.
        zero_point_energy: half the sum of all real vibrational quanta, eV.
        internal_energy: U(T) − E, zero-point energy included, eV.
        enthalpy: H(T) − E, eV; the internal energy where there is no gas.
        entropy: eV/K.
        free_energy: of Gibbs, G(T) − E, or of Helmholtz where there is no gas, eV.
        entropy_parts: translation, rotation, electronic, vibration; eV/K.
        symmetry_number, multiplicity: as used; None where they do not enter.
        ignored: number of imaginary modes left out.
    """

    model: str
    temperature: float
    pressure: float | None
    zero_point_energy: float
    internal_energy: float
    enthalpy: float
    entropy: float
    free_energy: float
    entropy_parts: dict[str, float] = field(default_factory=dict)
    symmetry_number: SymmetryNumber | None = None
    multiplicity: int | None = None
    ignored: int = 0


def zero_point_energy(wavenumbers: FloatArray) -> float:
    """½ Σ hν over the real modes, eV, of wavenumbers in 1/cm."""
    return float(0.5 * units.invcm * wavenumbers[wavenumbers > 0].sum())


def ideal_gas(atoms: Atoms, modes: NormalModes, symmetry: SymmetryNumber, conditions: Conditions) -> Thermochemistry:
    """A molecule as an ideal gas of rigid rotors and harmonic oscillators.

    With the quasi-harmonic entropy each vibration of wavenumber ν counts as an oscillator with the weight
    1 / (1 + (cutoff/ν)⁴) and else as a free rotor; energies stay those of oscillators.

    Args:
        atoms: masses and moments of inertia.
        modes: of a molecule; imaginary ones are left out.
        symmetry: rotational symmetry number.
        conditions: temperature and the rest.

    Source: ASE's ``IdealGasThermo`` and ``RRHOMode`` (Grimme, Chem. Eur. J. 18, 9955 (2012), with the molecule's own
    mean moment of inertia).
    """
    quanta = _quanta(modes.wavenumbers)
    bare = atoms.copy()
    bare.set_constraint()
    gas = IdealGasThermo(
        vib_energies=quanta.tolist(),
        geometry=_GEOMETRY[modes.shape],
        atoms=bare,
        symmetrynumber=symmetry.value,
        spin=(conditions.multiplicity - 1) / 2,
        vib_selection="all",
    )
    temperature, pascal = conditions.temperature, conditions.pressure * 1e5
    _, parts = gas.get_ideal_entropy(
        temperature, translation=True, rotation=True, electronic=True, geometry=gas.geometry, pressure=pascal,
        symmetrynumber=symmetry.value,
    )  # fmt: skip
    words = "ideal gas, rigid rotor, harmonic oscillators"
    if conditions.entropy == "quasi-harmonic":
        words += f", entropy of soft modes as of free rotors below {conditions.rotor_cutoff:g} 1/cm (Grimme)"
        inertia = float(np.mean(bare.get_moments_of_inertia()))
        rotors = [RRHOMode(quantum, inertia, tau=conditions.rotor_cutoff) for quantum in quanta]
        parts["S_v"] = sum(float(mode.get_entropy(temperature, contributions=False)) for mode in rotors)
    else:
        parts["S_v"] = _vibrational_entropy(quanta, temperature)
    named: dict[str, float] = {}
    for key, value in parts.items():
        named[_PARTS[key]] = named.get(_PARTS[key], 0.0) + float(value)
    entropy = sum(named.values())
    internal = float(gas.get_internal_energy(temperature, verbose=False))
    enthalpy = internal + units.kB * temperature
    return Thermochemistry(
        model=words,
        temperature=temperature,
        pressure=conditions.pressure,
        zero_point_energy=zero_point_energy(modes.wavenumbers),
        internal_energy=internal,
        enthalpy=enthalpy,
        entropy=entropy,
        free_energy=enthalpy - temperature * entropy,
        entropy_parts=named,
        symmetry_number=symmetry,
        multiplicity=conditions.multiplicity,
        ignored=modes.n_imaginary,
    )


def oscillators(modes: NormalModes, temperature: float) -> Thermochemistry:
    """Harmonic oscillators alone: atoms in a crystal (at Γ only) or on a surface."""
    quanta = _quanta(modes.wavenumbers)
    internal = zero_point_energy(modes.wavenumbers)
    if len(quanta):
        internal = float(HarmonicThermo(quanta.tolist()).get_internal_energy(temperature, verbose=False))
    entropy = _vibrational_entropy(quanta, temperature)
    return Thermochemistry(
        model="harmonic oscillators",
        temperature=temperature,
        pressure=None,
        zero_point_energy=zero_point_energy(modes.wavenumbers),
        internal_energy=internal,
        enthalpy=internal,
        entropy=entropy,
        free_energy=internal - temperature * entropy,
        entropy_parts={"vibration": entropy},
        ignored=modes.n_imaginary,
    )


def _quanta(wavenumbers: FloatArray) -> FloatArray:
    """Energies of the real modes, eV. A mode of exactly zero has no finite entropy and is left out like imaginary
    ones."""
    return np.asarray(wavenumbers[wavenumbers > 0] * units.invcm)


def _vibrational_entropy(quanta: Sequence[float] | FloatArray, temperature: float) -> float:
    if not len(quanta):
        return 0.0
    return float(HarmonicThermo(list(quanta)).get_entropy(temperature, verbose=False))
