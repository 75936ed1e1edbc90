"""The inference engine of MACE."""

from atomsym.inference.mace.engine import MACEEngine

__all__ = ["MACEEngine"]
