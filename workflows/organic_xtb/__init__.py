"""A set of small organic molecules with GFN2-xTB labels, made from nothing."""

from atomsym.workflows.organic_xtb.run import OrganicResult, run_organic
from atomsym.workflows.organic_xtb.settings import OrganicSettings

__all__ = ["OrganicResult", "OrganicSettings", "run_organic"]
