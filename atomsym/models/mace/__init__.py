"""MACE (Batatia et al. 2022)."""

from atomsym.models.mace.config import MACEConfig
from atomsym.models.mace.model import MACE

__all__ = ["MACE", "MACEConfig"]
