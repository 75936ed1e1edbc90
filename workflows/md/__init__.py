"""Molecular dynamics: from a structure and a model to a trajectory, a log and a report picture."""

from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.md.simulation import MdResult, resume_md, run_md
from atomsym.workflows.run_files import read_log, read_trajectory

__all__ = ["MdResult", "MdSettings", "read_log", "read_trajectory", "resume_md", "run_md"]
