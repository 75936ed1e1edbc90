"""The merged norm: features of all degrees divided by one length."""

from atomsym.kernels.merged_norm.front import merged_norm

__all__ = ["merged_norm"]
