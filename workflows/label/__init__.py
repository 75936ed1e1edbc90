"""Labelling of structures with reference methods: energies, forces and Hessians."""

from atomsym.workflows.label.engine import ENGINES, Engine, LabelError, Labels, make_engine
from atomsym.workflows.label.run import LabelResult, run_label
from atomsym.workflows.label.settings import LabelSettings

__all__ = ["ENGINES", "Engine", "LabelError", "LabelResult", "LabelSettings", "Labels", "make_engine", "run_label"]
