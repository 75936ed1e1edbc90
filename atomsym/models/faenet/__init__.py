"""FAENet (Duval et al. 2023)."""

from atomsym.models.faenet.config import FAENetConfig
from atomsym.models.faenet.model import FAENet

__all__ = ["FAENet", "FAENetConfig"]
