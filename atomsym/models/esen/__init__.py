"""eSEN (Fu et al. 2025), with the smooth attention and the merged norm of EquiformerV3 (2026)."""

from atomsym.models.esen.config import ESENConfig
from atomsym.models.esen.model import ESEN

__all__ = ["ESEN", "ESENConfig"]
