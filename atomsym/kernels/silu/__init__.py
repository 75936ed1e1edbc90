"""The activation x · sigmoid(x), with derivatives fast enough for training on forces."""

from atomsym.kernels.silu.front import silu

__all__ = ["silu"]
