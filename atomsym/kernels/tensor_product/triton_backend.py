"""The Triton backend: the same two operators as the C++ one, launched over nodes, slots and channel blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.tensor_product.operators import CONVOLUTION
from atomsym.kernels.tensor_product.product import ChannelwiseProduct, product_of
from atomsym.kernels.triton_support import FUSED
from atomsym.symmetry import Irreps, wigner_3j

_LARGEST_BLOCK = 128


@dataclass(frozen=True)
class _Launch:
    """Slots of one irrep size: their table and the table of the paths that add to them."""

    rows: int
    slots: Tensor
    paths: Tensor


@dataclass(frozen=True)
class _DeviceTables:
    """Tables of a product on one device.

    Attributes:
        couplings: Y @ couplings gives all matrices A, shape (edge_dim, n_matrix), float64.
        forward, backward: launches that fill output slots and input slots.
        edges: one row a path for the kernels that work edge by edge.
        rows: largest number of output components of a path.
    """

    couplings: Tensor
    forward: tuple[_Launch, ...]
    backward: tuple[_Launch, ...]
    edges: Tensor
    rows: int


@cache
def _tables(handle: str, device: torch.device) -> _DeviceTables:
    product = product_of(handle)
    ins, outs = product.irreps_in, product.irreps_out
    sizes = [ins[path.index_in].dim * outs[path.index_out].dim for path in product.paths]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    couplings = torch.zeros(product.edge_dim, sum(sizes), dtype=torch.float64)
    forward_rows, backward_rows, edge_rows = [], [], []
    for number, (path, start, size) in enumerate(zip(product.paths, starts, sizes, strict=True)):
        irreps = (ins[path.index_in], product.irreps_edge[path.index_edge], outs[path.index_out])
        coupling = path.coefficient * wigner_3j(*(irrep.degree for irrep in irreps))
        edge_part = product.irreps_edge.slices[path.index_edge]
        couplings[edge_part, start : start + size] = coupling.transpose(0, 1).reshape(-1, size)
        first_in, first_out = ins.slices[path.index_in].start, outs.slices[path.index_out].start
        rows, columns = irreps[0].dim, irreps[2].dim
        forward_rows.append((first_in, rows, number, start, 1, columns))
        backward_rows.append((first_out, columns, number, start, columns, 1))
        edge_rows.append((first_in, rows, number, start, first_out, columns))
    return _DeviceTables(
        couplings.to(device),
        _launches(outs, [path.index_out for path in product.paths], forward_rows, device),
        _launches(ins, [path.index_in for path in product.paths], backward_rows, device),
        torch.tensor(edge_rows, dtype=torch.int32, device=device),
        max((row[5] for row in edge_rows), default=1),
    )


def _launches(
    irreps: Irreps, slot_of_path: list[int], path_rows: Sequence[tuple[int, ...]], device: torch.device
) -> tuple[_Launch, ...]:
    launches = []
    for dim in sorted({irrep.dim for irrep in irreps}):
        slots: list[tuple[int, ...]] = []
        paths: list[tuple[int, ...]] = []
        for number, irrep in enumerate(irreps):
            if irrep.dim == dim:
                own = [row for row, slot in zip(path_rows, slot_of_path, strict=True) if slot == number]
                slots.append((irreps.slices[number].start, dim, len(paths), len(paths) + len(own)))
                paths += own
        tables = (torch.tensor(table, dtype=torch.int32, device=device) for table in (slots, paths))
        launches.append(_Launch(dim, *tables))
    return tuple(launches)


def _stride(operand: Tensor) -> int:
    return 0 if operand.shape[0] == 1 else operand[0].numel()


def _next_power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _matrices(y: Tensor, tables: _DeviceTables) -> Tensor:
    return (y @ tables.couplings.to(y.dtype)).contiguous()


def _contract(
    out: Tensor, source: Tensor, weight: Tensor, matrix: Tensor, walk: tuple[Any, ...], launches: tuple[_Launch, ...]
) -> None:
    from atomsym.kernels.tensor_product.triton_kernels import contract_kernel

    offsets, order, partner = walk
    batch, nodes, out_dim, channels = out.shape
    block = min(_LARGEST_BLOCK, _next_power_of_2(channels))
    for launch in launches:
        grid = (nodes, launch.slots.shape[0], batch * (-(-channels // block)))
        contract_kernel[grid](
            out,
            source,
            weight,
            matrix,
            offsets,
            offsets if order is None else order,
            partner,
            launch.slots,
            launch.paths,
            nodes,
            weight.shape[1],
            channels,
            out_dim,
            source.shape[2],
            weight.shape[2],
            matrix.shape[2],
            _stride(source),
            _stride(weight),
            _stride(matrix),
            ORDERED=order is not None,
            ROWS=_next_power_of_2(launch.rows),
            BLOCK=block,
            **FUSED,
        )


def _edge_arguments(
    product: ChannelwiseProduct, tables: _DeviceTables, g: Tensor, x: Tensor, third: Tensor, n_edges: int
) -> tuple[Any, ...]:
    return (
        tables.edges,
        n_edges,
        x.shape[3],
        product.out_dim,
        product.in_dim,
        product.n_paths,
        tables.couplings.shape[1],
        _stride(g),
        _stride(x),
        _stride(third),
    )


def _with_batch(operands: Sequence[Tensor]) -> list[Tensor]:
    """Operands with a batch axis, of size 1 where there was none."""
    ranks = CONVOLUTION.ranks[-len(operands) :]
    return [x if x.ndim > rank else x.unsqueeze(0) for x, rank in zip(operands, ranks, strict=True)]


def _forward(*args: Any) -> Tensor:
    (receiver, sender, receiver_offsets, _, _), handle = args[3:8], args[8]
    out = args[0].new_zeros(CONVOLUTION.out_shape(args[:3], args[3:8], handle))
    if out.numel() and receiver.numel():
        x, y, w = _with_batch(args[:3])
        tables = _tables(handle, x.device)
        full = out if out.ndim > CONVOLUTION.ranks[0] else out.unsqueeze(0)
        walk = (receiver_offsets, None, sender)
        _contract(full, x.contiguous(), w.contiguous(), _matrices(y, tables), walk, tables.forward)
    return out


def _gradients(*args: Any) -> tuple[Tensor, ...]:
    (receiver, sender, _, order, offsets), handle, needs = args[4:9], args[9], args[10:]
    product, tables = product_of(handle), _tables(handle, args[0].device)
    batch, _ = CONVOLUTION.batch_strides(args[:4])
    results = tuple(args[0].new_zeros(shape) for shape in CONVOLUTION.gradient_shapes(args[0], args[1:4], needs))
    g, x, y, w = _with_batch(args[:4])
    if not (batch and x.shape[3] and receiver.numel() and product.n_paths):
        return results
    from atomsym.kernels.tensor_product.triton_kernels import matrix_kernel, weight_kernel

    n_edges, channels = receiver.shape[0], x.shape[3]
    g, x, w, matrix = g.contiguous(), x.contiguous(), w.contiguous(), _matrices(y, tables)
    rows, block = _next_power_of_2(tables.rows), min(_LARGEST_BLOCK, _next_power_of_2(channels))
    if needs[0]:
        grad_x = results[0].view(batch, *results[0].shape[-3:])
        _contract(grad_x, g, w, matrix, (offsets, order, receiver), tables.backward)
    if needs[1]:
        grad_matrix = x.new_empty(batch, n_edges, tables.couplings.shape[1])
        arguments = _edge_arguments(product, tables, g, x, w, n_edges)
        matrix_kernel[(n_edges, product.n_paths, batch)](
            grad_matrix, g, x, w, receiver, sender, *arguments, ROWS=rows, BLOCK=block, **FUSED
        )
        results[1].copy_((grad_matrix @ tables.couplings.to(y.dtype).T).view_as(results[1]))
    if needs[2]:
        arguments = _edge_arguments(product, tables, g, x, matrix, n_edges)
        weight_kernel[(n_edges, product.n_paths, batch * (-(-channels // block)))](
            results[2], g, x, matrix, receiver, sender, *arguments, ROWS=rows, BLOCK=block, **FUSED
        )
    return results


CONVOLUTION.define("triton", _forward, _gradients, ("CPU", "CUDA"))
