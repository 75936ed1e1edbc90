"""Vibrations of molecules, clusters and crystals at Γ: normal modes, spectra, thermochemistry."""

from atomsym.workflows.vibrations.modes import NormalModes, normal_modes
from atomsym.workflows.vibrations.result import VibrationsResult
from atomsym.workflows.vibrations.run import resume_vibrations, run_vibrations, vibrations_of
from atomsym.workflows.vibrations.settings import VibrationsSettings

__all__ = [
    "NormalModes",
    "VibrationsResult",
    "VibrationsSettings",
    "normal_modes",
    "resume_vibrations",
    "run_vibrations",
    "vibrations_of",
]
