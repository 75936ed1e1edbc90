"""The matrix product's front function and its backends."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.matrix_product.native import cpp_matrix_product
from atomsym.kernels.native import cpu_reason

OPERATION = Operation("matrix_product")


def matrix_product(rows: Tensor, matrix: Tensor, *, backend: str = "auto") -> Tensor:
    """Multiply every row with a matrix: out[…, j] = Σ_k rows[…, k] matrix[k, j].

    The C++ backend is made for many rows and a matrix of at most some hundred rows and columns: layers on edges and
    nodes, whose gradients for the matrix sum over all of them. It uses the widest vectors of the processor whoever
    made it, and memory of former results.

    Args:
        rows: shape (…, k), float32 or float64.
        matrix: shape (k, n), same dtype.
        backend: ``auto``, ``cpp`` or ``reference``.

    Returns:
        Shape (…, n). Differentiable any number of times; gradients of the matrix are computed only where asked for.

    Raises:
        InputError: if shapes, dtypes or devices do not fit each other.
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> matrix_product(torch.eye(2), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
        tensor([[1., 2., 3.],
                [4., 5., 6.]])
    """
    _check(rows, matrix)
    if _select(backend, rows.device.type, rows.dtype) == "reference":
        return rows @ matrix
    flat = rows.reshape(-1, rows.shape[-1]) if rows.numel() else rows.new_empty(rows.shape[:-1].numel(), rows.shape[-1])
    return cpp_matrix_product(flat, matrix).reshape(*rows.shape[:-1], matrix.shape[1])


def _check(rows: Tensor, matrix: Tensor) -> None:
    if rows.ndim < 1 or matrix.ndim != 2 or rows.shape[-1] != matrix.shape[0]:
        raise InputError(
            f"matrix_product needs rows (…, k) and a matrix (k, n); found {tuple(rows.shape)} and {tuple(matrix.shape)}"
        )
    if rows.dtype != matrix.dtype or rows.device != matrix.device:
        raise InputError(
            f"rows are {rows.dtype} on {rows.device}, the matrix is {matrix.dtype} on {matrix.device}; convert one"
        )


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype).name


OPERATION.register(Backend("reference", torch.matmul))
OPERATION.register(
    Backend("cpp", cpp_matrix_product, device_types=frozenset({"cpu"}), priority=20, unavailable=cpu_reason)
)
