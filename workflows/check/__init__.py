"""``atomsym check``: the physics report card of any ASE calculator."""

from atomsym.calculators.ase.load import load_calculator
from atomsym.workflows.check.card import ReportCard
from atomsym.workflows.check.run import CheckOptions, run_check

__all__ = ["CheckOptions", "ReportCard", "load_calculator", "run_check"]
