"""eSCN-MD, the backbone under the published eSEN and UMA potentials (Fu et al. 2025, Wood et al. 2025)."""

from atomsym.models.escnmd.config import ESCNMDConfig
from atomsym.models.escnmd.model import ESCNMD

__all__ = ["ESCNMD", "ESCNMDConfig"]
