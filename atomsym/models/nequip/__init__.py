"""NequIP (Batzner et al. 2022)."""

from atomsym.models.nequip.config import NequIPConfig
from atomsym.models.nequip.model import NequIP

__all__ = ["NequIP", "NequIPConfig"]
