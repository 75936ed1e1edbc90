"""Relaxation of atoms and cell to a minimum of the energy."""

from atomsym.workflows.relax.relaxation import RelaxResult, resume_relax, run_relax
from atomsym.workflows.relax.settings import RelaxSettings

__all__ = ["RelaxResult", "RelaxSettings", "resume_relax", "run_relax"]
