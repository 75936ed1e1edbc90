"""Molecular dynamics: from a structure and a model to a trajectory, a log and a report picture."""

from atomsym.workflows.md.run_files import read_log, read_trajectory
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.md.simulation import MdResult, resume_md, run_md

__all__ = ["MdResult", "MdSettings", "read_log", "read_trajectory", "resume_md", "run_md"]
