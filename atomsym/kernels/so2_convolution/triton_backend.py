"""The Triton backend of the convolution in edge frames: three kernels, each for a part of the slots at a time.

A program turns the features at one end of an edge into the frame, mixes orders and turns back, for a block of channels,
with rows and components in registers; for the result and for the gradient of x it goes over all edges of a receiver, or
of a sender. The gradient of x is the convolution with exchanged ends. Those of the two frames are rows of one end times
components of the other; only their sums over a block of channels are stored.

What a program reads and writes for an edge, in numbers a channel, with n_w weights: the convolution in_dim + n_w; for
the gradient of x out_dim + n_w; for those of the weights and of each frame in_dim + out_dim + n_w. All channels share
the frames: 2 frame_size numbers are read for a convolution and for the weights, and for a gradient of a frame
frame_size, with as many written for each block of channels. Features of nodes come from the cache where they fit, so
weights are the floor: for degree 3 with all orders and 128 channels in single precision 4 · 30 · 128 = 15 kB an edge,
for 230 multiply-adds a channel. A convolution with all its derivatives passes over the weights five times.

A kernel has as many slots at its result as fit in registers; a product with more of them is done in parts, each of
which turns the features it needs into the frame again. Kernels are compiled for a product and a number of channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from atomsym.kernels.so2_convolution.operators import CONVOLUTION
from atomsym.kernels.so2_convolution.product import so2_product_of
from atomsym.kernels.so2_convolution.tables import MixEntry, MixTables, mix_tables
from atomsym.kernels.triton_support import FUSED

_LARGEST_PART = 64  # components, in single precision; half as many in double precision
_REGISTERS = 160  # of a thread for rows and components; indices and elements of the frame need the others
_LARGEST_BLOCK = 128
_WARP = 32


@dataclass(frozen=True)
class _Part:
    """Some of the targets of a product, with the tables that ``triton_kernels`` describes.

    Attributes:
        tables: SOURCES, TARGETS and MIX.
        frame: of each target, the slice of the frame that its rows take.
        components: number of components of all targets.
        widest: of sources and targets, the largest number of components.
    """

    tables: dict[str, tuple[Any, ...]]
    frame: tuple[slice, ...]
    components: int
    widest: int


@cache
def _parts(handle: str, backward: bool, largest: int) -> tuple[_Part, ...]:
    """Parts with up to ``largest`` components from inputs to outputs, or backward; slots without paths are in none."""
    tables = mix_tables(handle)
    if backward:
        tables = tables.transposed()
    chosen: list[list[int]] = []
    for number, slot in enumerate(tables.targets):
        if slot.order >= 0:
            size = sum(tables.targets[other].columns for other in chosen[-1]) if chosen else largest
            if size + slot.columns > largest:
                chosen.append([])
            chosen[-1].append(number)
    return tuple(_part(tables, targets) for targets in chosen)


def _part(tables: MixTables, targets: Sequence[int]) -> _Part:
    groups = [group for target in targets for group in tables.groups if group.slot == target]
    sources = sorted({entry.slot for group in groups for entry in group.entries})
    rows, frame, n_groups, n_components = [], [], 0, 0
    for slot in (tables.targets[target] for target in targets):
        rows.append((slot.component, slot.columns, slot.order, slot.matrix, n_groups, n_components))
        frame.append(slice(slot.matrix, slot.matrix + slot.rows * slot.columns))
        n_groups += slot.order + 1
        n_components += slot.columns
    ends = [tables.sources[source] for source in sources]
    mix = tuple(
        tuple(
            tuple(_path(entry, slot.order, group.order) for entry in group.entries if entry.slot == source)
            for group in groups
        )
        for source, slot in zip(sources, ends, strict=True)
    )
    described = {
        "SOURCES": tuple((slot.component, slot.columns, slot.order, slot.matrix) for slot in ends),
        "TARGETS": tuple(rows),
        "MIX": mix,
    }
    widest = max([slot.columns for slot in ends] + [row[1] for row in rows])
    return _Part(described, tuple(frame), n_components, widest)


def _path(entry: MixEntry, largest: int, order: int) -> tuple[Any, ...]:
    """An entry of MIX; rows are counted from −U on."""
    other = largest - entry.sign * order if order else -1
    return (largest + entry.sign * order, other, entry.sign, entry.weight, entry.coefficient)


@dataclass(frozen=True)
class _Ends:
    """The two ends of the edges as a direction sees them: features are read at one and made at the other.

    Attributes:
        source, target: features of nodes with a batch axis; the target has none for a convolution.
        frame_from, frame_to: the frames that turn those of the source in and those of the target back.
        source_of_edge, target_of_edge: nodes.
        handle: of the product.
        backward: the source is the output of the product, the target its input.
    """

    source: Tensor
    target: Tensor
    frame_from: Tensor
    frame_to: Tensor
    source_of_edge: Tensor
    target_of_edge: Tensor
    handle: str
    backward: bool

    def turned(self) -> _Ends:
        """The other direction."""
        return _Ends(
            self.target,
            self.source,
            self.frame_to,
            self.frame_from,
            self.target_of_edge,
            self.source_of_edge,
            self.handle,
            not self.backward,
        )

    @property
    def parts(self) -> tuple[_Part, ...]:
        """Parts of the target that fit in registers."""
        return _parts(self.handle, self.backward, _LARGEST_PART // _words(self.source))

    @property
    def sizes(self) -> tuple[int, ...]:
        """SIZES of the kernels."""
        product = so2_product_of(self.handle)
        dims = (product.out_dim, product.in_dim) if self.backward else (product.in_dim, product.out_dim)
        return (*dims, product.n_weights, product.frame_size, self.source.shape[-1])


def _words(tensor: Tensor) -> int:
    """Registers for a number."""
    return tensor.element_size() // 4


def _per_thread(live: int, tensor: Tensor, largest: int) -> int:
    """Channels of a thread that holds ``live`` numbers for each: more of them share the elements of the frame."""
    count = largest
    while count > 1 and count * live * _words(tensor) > _REGISTERS:
        count //= 2
    return count


def _power_of_2(number: int) -> int:
    """The next one."""
    return 1 << (number - 1).bit_length()


def _shared(operand: Tensor) -> int:
    """Rows of a member of the batch; zero if all have the same."""
    return 0 if operand.shape[0] == 1 else operand.shape[1]


def _convolve(out: Tensor, ends: _Ends, weight: Tensor, offsets: Tensor, order: Tensor | None) -> None:
    """Fill ``out``, the features of the target."""
    from atomsym.kernels.so2_convolution.triton_kernels import convolution_kernel

    batch, nodes, _, channels = out.shape
    block = min(_LARGEST_BLOCK, _power_of_2(channels))
    for part in ends.parts:
        share = _per_thread(2 * (part.components + part.widest), out, 2)
        convolution_kernel[(nodes, -(-channels // block), batch)](
            out,
            ends.source,
            ends.frame_from,
            weight,
            ends.frame_to,
            offsets,
            offsets if order is None else order,
            ends.source_of_edge,
            nodes,
            _shared(ends.source),
            _shared(ends.frame_from),
            _shared(weight),
            _shared(ends.frame_to),
            SIZES=ends.sizes,
            **part.tables,
            ORDERED=order is not None,
            BLOCK=block,
            num_warps=max(1, block // (_WARP * share)),
            **FUSED,
        )


def _weigh(grad_weight: Tensor, ends: _Ends) -> None:
    """Fill ``grad_weight``."""
    from atomsym.kernels.so2_convolution.triton_kernels import weight_kernel

    batch, edges, _, channels = grad_weight.shape
    block = min(_LARGEST_BLOCK, _power_of_2(channels))
    for part in ends.parts:
        share = _per_thread(part.components + 2 * part.widest, grad_weight, 2)
        weight_kernel[(edges, -(-channels // block), batch)](
            grad_weight,
            ends.source,
            ends.frame_from,
            ends.target,
            ends.frame_to,
            ends.source_of_edge,
            ends.target_of_edge,
            edges,
            _shared(ends.source),
            _shared(ends.frame_from),
            _shared(ends.target),
            _shared(ends.frame_to),
            SIZES=ends.sizes,
            **part.tables,
            BLOCK=block,
            num_warps=max(1, block // (_WARP * share)),
            **FUSED,
        )


def _frame(grad_frame: Tensor, ends: _Ends, weight: Tensor) -> None:
    """Add to ``grad_frame``, zero before: the frame at the target."""
    from atomsym.kernels.so2_convolution.triton_kernels import frame_kernel

    batch, edges, _ = grad_frame.shape
    channels = weight.shape[-1]
    for part in ends.parts:
        # One warp, so that sums over channels need no memory and no barrier.
        share = _per_thread(part.components + 2 * part.widest, weight, 4)
        block = min(_WARP * share, _power_of_2(channels))
        blocks, elements = -(-channels // block), sum(place.stop - place.start for place in part.frame)
        sums = grad_frame.new_empty(batch, blocks, edges, elements)
        frame_kernel[(edges, blocks, batch)](
            sums,
            ends.source,
            ends.frame_from,
            weight,
            ends.target,
            ends.source_of_edge,
            ends.target_of_edge,
            edges,
            _shared(ends.source),
            _shared(ends.frame_from),
            _shared(weight),
            _shared(ends.target),
            SIZES=ends.sizes,
            **part.tables,
            ELEMENTS=elements,
            BLOCK=block,
            num_warps=1,
            **FUSED,
        )
        pieces = sums.sum(1).split([place.stop - place.start for place in part.frame], -1)
        for place, piece in zip(part.frame, pieces, strict=True):
            grad_frame[..., place] += piece


def _with_batch(operands: Sequence[Tensor]) -> list[Tensor]:
    """Operands with a batch axis, of size 1 where there was none."""
    ranks = CONVOLUTION.ranks[-len(operands) :]
    pairs = zip(operands, ranks, strict=True)
    return [(x if x.ndim > rank else x.unsqueeze(0)).contiguous() for x, rank in pairs]


def forward(*args: Any) -> Tensor:
    """(x, frames_in, w, frames_out, wiring, handle) → result."""
    (receiver, sender, receiver_offsets, _, _), handle = args[4:9], args[9]
    out = args[0].new_zeros(CONVOLUTION.out_shape(args[:4], args[4:9], handle))
    if out.numel() and receiver.numel():
        x, frames_in, w, frames_out = _with_batch(args[:4])
        ends = _Ends(x, x, frames_in, frames_out, sender, receiver, handle, backward=False)
        _convolve(out.view(-1, *out.shape[-3:]), ends, w, receiver_offsets, None)
    return out


def gradients(*args: Any) -> tuple[Tensor, ...]:
    """(g, x, frames_in, w, frames_out, wiring, handle, which are wanted) → derivatives; empty where not wanted."""
    (receiver, sender, _, order, offsets), handle, needs = args[5:10], args[10], args[11:]
    batch, _ = CONVOLUTION.batch_strides(args[:5])
    results = tuple(args[0].new_zeros(shape) for shape in CONVOLUTION.gradient_shapes(args[0], args[1:5], needs))
    g, x, frames_in, w, frames_out = _with_batch(args[:5])
    if not (batch and x.shape[-1] and receiver.numel()):
        return results
    ends = _Ends(x, g, frames_in, frames_out, sender, receiver, handle, backward=False)
    ranks = CONVOLUTION.ranks[1:]
    grad_x, grad_in, grad_w, grad_out = (
        result.view(batch, *result.shape[-rank:]) if need else None
        for result, rank, need in zip(results, ranks, needs, strict=True)
    )
    if grad_x is not None:
        _convolve(grad_x, ends.turned(), w, offsets, order)
    if grad_in is not None:
        _frame(grad_in, ends.turned(), w)
    if grad_w is not None:
        _weigh(grad_w, ends)
    if grad_out is not None:
        _frame(grad_out, ends, w)
    return results
