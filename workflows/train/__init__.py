"""``atomsym train``: potentials from labelled structures."""

from atomsym.workflows.train.data import load_data, split_structures, with_reference_energies
from atomsym.workflows.train.run import FinalErrors, finish_run

__all__ = ["FinalErrors", "finish_run", "load_data", "split_structures", "with_reference_energies"]
