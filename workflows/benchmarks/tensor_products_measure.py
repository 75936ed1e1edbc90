"""Times, memory and errors of one product with one backend."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.symmetry import Irrep, Irreps
from atomsym.testing.equivariance import equivariance_error
from atomsym.workflows.benchmarks.machine import best_seconds
from atomsym.workflows.benchmarks.peak_memory import peak_memory
from atomsym.workflows.benchmarks.tensor_products_kinds import Product
from atomsym.workflows.benchmarks.tensor_products_peers import PEERS, peer_product

_SLOW = 0.3  # s; slower calls are timed twice
_TIMED = 0.02  # s of each repeat of a quick call
_SECOND_OVER_FIRST = 4.0  # about the price of second derivatives
_FEW = 24  # edges or nodes on which results are compared


@dataclass(frozen=True)
class Times:
    """Of a call, ms and MB; None: not measured, since it would have taken too long or counters are missing.

    Attributes:
        forward_ms: the product alone.
        gradients_ms: the product and its gradients for all operands.
        second_ms: and the derivatives of a gradient, which training on forces needs.
        second_operand_ms: harmonics or frames of the edges, once for all layers of a model.
        forward_mb, gradients_mb: growth of the process.
    """

    forward_ms: float
    gradients_ms: float
    second_ms: float | None
    second_operand_ms: float | None
    forward_mb: float | None
    gradients_mb: float | None


@dataclass(frozen=True, eq=False)
class Operands:
    """Random ones of unit variance.

    Attributes:
        tensors: first and second operand and weights.
        topology: of the edges; on nodes everyone sends to itself.
        vectors: of the edges.
    """

    tensors: tuple[Tensor, Tensor, Tensor]
    topology: EdgeTopology
    vectors: Tensor


def draw_operands(
    product: Product,
    place: str,
    n: int,
    channels: int,
    *,
    neighbors: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Operands:
    """Operands for n edges, ``neighbors`` for each receiver with random senders, or for n nodes."""
    generator = torch.Generator().manual_seed(seed)
    nodes = max(n // neighbors, 1) if place == "edges" else n
    receiver = (torch.arange(n) // neighbors).clamp_max(nodes - 1) if place == "edges" else torch.arange(n)
    sender = torch.randint(nodes, (n,), generator=generator) if place == "edges" else receiver
    vectors = torch.randn(n, 3, generator=generator, dtype=torch.float64)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)

    first = normal(nodes, product.irreps_first.dim, channels)
    if product.second is None:
        second, weights = normal(n, product.irreps_second.dim, channels), normal(product.n_weights, channels)
    else:
        weights = normal(n, product.n_weights, channels)
        second = product.second(vectors.to(device, dtype)).detach()
    topology = EdgeTopology.from_edge_index(torch.stack([receiver, sender]).to(device), nodes)
    return Operands((first, second, weights), topology, vectors.to(device, dtype))


class Measured:
    """One backend on given operands.

    Args:
        product: what is measured.
        place: ``edges`` or ``nodes``.
        backend: one of the product's, or one of ``PEERS``.
        operands: see ``draw_operands``.
    """

    def __init__(self, product: Product, place: str, backend: str, operands: Operands) -> None:
        self._product, self._place, self._backend, self._given = product, place, backend, operands
        first = operands.tensors[0]
        self._peer = (
            peer_product(backend, product, place, first.shape[-1], first.dtype, first.device)
            if backend in PEERS
            else None
        )

    def _call(self, operands: Operands) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        """The product as a function of tensors in its own layout, and these tensors."""
        if self._peer is not None:
            return partial(self._peer.apply, topology=operands.topology), self._peer.operands(*operands.tensors)
        product, topology, backend = self._product, operands.topology, self._backend
        return lambda x, y, w: product.apply(x, y, w, topology, backend), operands.tensors

    def deviation(self) -> float:
        """Largest difference from the reference on some of the edges or nodes, relative to the largest value."""
        first, dtype = self._given.tensors[0], self._given.tensors[0].dtype
        few = draw_operands(
            self._product, self._place, _FEW, first.shape[-1], neighbors=6, dtype=dtype, device=first.device, seed=1
        )
        call, tensors = self._call(few)
        with torch.no_grad():
            found = call(*tensors)
            if self._peer is not None:
                found = self._peer.result(found)
            wanted = self._product.apply(*few.tensors, few.topology, "reference")
        return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30))

    def times(self, repeats: int, max_seconds: float) -> Times:
        """Measure; second derivatives are left out if they would take longer than ``max_seconds``."""
        call, given = self._call(self._given)
        tensors = tuple(tensor.detach().requires_grad_(tensor.numel() > 0) for tensor in given)
        varied = [tensor for tensor in tensors if tensor.requires_grad]
        device = tensors[0].device
        with torch.no_grad():
            g = torch.ones_like(call(*tensors))

        def forward() -> None:
            with torch.no_grad():
                call(*tensors)

        def gradients() -> None:
            torch.autograd.grad(call(*tensors), varied, g)

        # Forces come from the gradients for the edges; on nodes, from those for both factors. Their loss is
        # differentiated for everything.
        inner = [tensors[1], tensors[2]] if self._place == "edges" else [tensors[0], tensors[1]]

        def second() -> None:
            found = torch.autograd.grad(call(*tensors), inner, g, create_graph=True)
            torch.autograd.grad(found, varied, [tensor.detach() for tensor in inner], allow_unused=True)

        forward_s, gradients_s = (_seconds(task, device, repeats) for task in (forward, gradients))
        affordable = gradients_s * _SECOND_OVER_FIRST <= max_seconds
        second_s = _seconds(second, device, max(repeats // 2, 1)) if affordable else None
        of_vectors = self._product.second
        geometry_s = None
        if of_vectors is not None and self._peer is None:
            vectors = self._given.vectors
            geometry_s = _seconds(lambda: of_vectors(vectors), device, max(repeats // 2, 1))
        return Times(
            forward_ms=1e3 * forward_s,
            gradients_ms=1e3 * gradients_s,
            second_ms=_in(1e3, second_s),
            second_operand_ms=_in(1e3, geometry_s),
            forward_mb=_in(1e-6, _peak(forward, device)),
            gradients_mb=_in(1e-6, _peak(gradients, device)),
        )


def symmetry_errors(
    product: Product, place: str, backend: str, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> tuple[float, float]:
    """Largest relative error under random rotations, and under random reflections and rotations.

    Features turn as (−1)^l under the inversion; a product that knows nothing of it (``mirror=False``) shows that in
    the second number.
    """
    operands = draw_operands(product, place, _FEW, 2, neighbors=6, dtype=dtype, device=device)
    first, second, weights = operands.tensors
    lists = [product.irreps_first, product.irreps_second, product.irreps_out]
    if not product.mirror:
        lists = [Irreps(tuple(Irrep(irrep.degree, (-1) ** irrep.degree) for irrep in irreps)) for irreps in lists]
    if product.second is None:
        turning, given = lists[:2], (first, second)
    else:
        turning, given = [lists[0], Irreps.parse("1o")], (first, operands.vectors)

    def function(x: Tensor, other: Tensor) -> Tensor:
        y = other if product.second is None else product.second(other)
        return product.apply(x, y, weights, operands.topology, backend)

    def error(improper: bool) -> float:
        generator = torch.Generator(device).manual_seed(2)
        return equivariance_error(function, turning, lists[2], given, generator=generator, improper=improper)

    return error(False), error(True)


def gpu_matmul_rate(dtype: torch.dtype, size: int = 8192) -> float:
    """The graphics processor's product of two square matrices, GFLOP/s."""
    a, b = (torch.rand(size, size, dtype=dtype, device="cuda") for _ in range(2))
    return 2 * size**3 / _seconds(lambda: a @ b, a.device, 10) * 1e-9


def _seconds(task: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Smallest time of a call: CPU time on one thread, else wall time. The device is waited for."""
    if device.type != "cuda":
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        start = clock()
        task()  # warm up
        if clock() - start <= _SLOW:
            return best_seconds(task, repeats=repeats, min_time=_TIMED * repeats)
        return min(_timed(task, clock) for _ in range(2))
    for _ in range(3):
        task()
    return min(_timed(lambda: _finished(task), time.perf_counter) for _ in range(max(repeats, 10)))


def _timed(task: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    task()
    return clock() - start


def _finished(task: Callable[[], object]) -> None:
    torch.cuda.synchronize()
    task()
    torch.cuda.synchronize()


def _peak(task: Callable[[], None], device: torch.device) -> int | None:
    if device.type != "cuda":
        return peak_memory(task)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    task()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _in(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value
