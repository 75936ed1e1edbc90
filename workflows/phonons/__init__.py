"""Phonons of crystals: band structure, density of states and thermal properties, with phonopy."""

from atomsym.workflows.phonons.result import PhononsResult
from atomsym.workflows.phonons.run import phonons_of, run_phonons
from atomsym.workflows.phonons.settings import PhononsSettings

__all__ = ["PhononsResult", "PhononsSettings", "phonons_of", "run_phonons"]
