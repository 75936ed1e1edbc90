"""Whether the tensors of a file are those of a model."""

from __future__ import annotations

from torch import Tensor

from atomsym.core import ArtifactError


def check_fit(expected: dict[str, Tensor], found: dict[str, Tensor], where: str) -> None:
    """Check that tensors have the names, shapes and dtypes that a config gives.

    Raises:
        ArtifactError: if they do not.
    """
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        listed = f"missing: {', '.join(missing) or 'none'}; unexpected: {', '.join(extra) or 'none'}"
        raise ArtifactError(f"{where}: the tensors do not fit the config: {listed}")
    for name, tensor in expected.items():
        if (tensor.shape, tensor.dtype) != (found[name].shape, found[name].dtype):
            raise ArtifactError(
                f"{where}: tensor '{name}' is {found[name].dtype} {tuple(found[name].shape)}; "
                f"the config needs {tensor.dtype} {tuple(tensor.shape)}"
            )


def check_finite(tensors: dict[str, Tensor], where: str) -> None:
    """Check that all values are numbers.

    Raises:
        ArtifactError: if one is not.
    """
    for name, tensor in tensors.items():
        if tensor.dtype.is_floating_point and not bool(tensor.isfinite().all()):
            index = (~tensor.isfinite()).nonzero()[0].tolist()
            raise ArtifactError(f"{where}: tensor '{name}' is not finite at {index}: {float(tensor[tuple(index)])}")
