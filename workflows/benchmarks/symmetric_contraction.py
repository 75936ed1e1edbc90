"""Benchmark of the symmetric contraction, beside mace-torch's where that is installed."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.symmetric_contraction import OPERATION, SymmetricContraction, symmetric_contraction
from atomsym.kernels.symmetric_contraction.polynomial import contraction_polynomial
from atomsym.symmetry import Irreps
from atomsym.workflows.benchmarks.machine import best_seconds, peak_rate

_Model = Callable[[Tensor, Tensor], Tensor]


def run(
    n_nodes: Sequence[int] = (192, 1000),
    outputs: Sequence[str] = ("0e", "0e+1o"),
    *,
    max_degree: int = 3,
    correlation: int = 3,
    channels: int = 128,
    n_species: int = 5,
    dtype: torch.dtype = torch.float32,
) -> list[dict[str, Any]]:
    """Time value, forces-like gradient, full gradient and double backward, with torch's current thread count.

    Rates count the operations of our own algorithm (products, coefficients and rows of the sparse polynomial, without
    the folding of the weights): the same work per node for both programs' speed-ups, not what the peer executes.

    Args:
        n_nodes: numbers of nodes.
        outputs: output irreps; the inputs are the spherical-harmonic irreps up to ``max_degree``.

    Returns:
        One row for each case and implementation; milliseconds, GFLOP/s, and the peer's time divided by ours.
    """
    rows, peak = [], peak_rate(dtype) * torch.get_num_threads()
    for irreps_out in outputs:
        contraction = SymmetricContraction(
            Irreps.spherical_harmonics(max_degree), Irreps.parse(irreps_out), correlation
        )
        peer = _mace(contraction, channels, n_species, dtype)
        for n in n_nodes:
            generator = torch.Generator().manual_seed(0)
            features = torch.randn(n, contraction.dim_in, channels, generator=generator, dtype=dtype)
            weights = torch.randn(n_species, contraction.n_paths, channels, generator=generator, dtype=dtype)
            species = torch.randint(n_species, (n,), generator=generator)
            case = {"irreps_out": irreps_out, "nodes": n}
            own = _times(lambda a, w, s=species, c=contraction: symmetric_contraction(a, w, s, c), features, [weights])
            name = OPERATION.select("auto", device=features.device, dtype=dtype).name
            rows.append({**case, "program": f"atomsym {name}", **own, **_rates(contraction, n * channels, own, peak)})
            if peer is not None:
                module, names = peer
                one_hot = torch.nn.functional.one_hot(species, n_species).to(dtype)
                times = _times(
                    lambda a, *w, m=module, k=names, y=one_hot: torch.func.functional_call(
                        m, dict(zip(k, w, strict=True)), (a, y)
                    ),
                    features.transpose(1, 2).contiguous(),
                    [dict(module.named_parameters())[k].detach() for k in names],
                )
                ratios = {f"speed-up {key.removesuffix(' ms')}": times[key] / own[key] for key in own}
                rows.append({**case, "program": "mace-torch", **times, **ratios})
    return rows


def _times(function: Callable[..., Tensor], features: Tensor, weights: list[Tensor]) -> dict[str, float]:
    """Milliseconds of the value, and of value and gradients together."""
    a, fixed = features.clone().requires_grad_(), weights
    trained = [w.clone().requires_grad_() for w in weights]

    def value() -> None:
        with torch.no_grad():
            function(features, *fixed)

    def forces() -> None:
        torch.autograd.grad(function(a, *fixed).sum(), a)

    def gradients() -> None:
        torch.autograd.grad(function(a, *trained).sum(), [a, *trained])

    def force_training() -> None:
        (gradient,) = torch.autograd.grad(function(a, *trained).sum(), a, create_graph=True)
        torch.autograd.grad(gradient.square().sum(), [a, *trained])

    steps = {"value": value, "with forces": forces, "with gradients": gradients, "force training": force_training}
    return {f"{name} ms": 1e3 * best_seconds(step) for name, step in steps.items()}


def _rates(contraction: SymmetricContraction, vectors: int, times: dict[str, float], peak: float) -> dict[str, float]:
    polynomial = contraction_polynomial(contraction.key)
    forward = polynomial.forward_operations() * vectors
    both = forward + polynomial.gradient_operations() * vectors
    rate = forward / times["value ms"] * 1e-6
    return {
        "value GFLOP/s": rate,
        "with forces GFLOP/s": both / times["with forces ms"] * 1e-6,
        "value share of peak": rate / peak,
    }


def _mace(
    contraction: SymmetricContraction, channels: int, n_species: int, dtype: torch.dtype
) -> tuple[torch.nn.Module, list[str]] | None:
    """mace-torch's module for the same irreps and the names of its trained weights; None if it is not installed."""
    if importlib.util.find_spec("mace") is None:
        return None
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # its e3nn loads constants by pickle
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from e3nn import o3
        from mace.modules.symmetric_contraction import SymmetricContraction as MaceContraction

        irreps = [
            o3.Irreps("+".join(f"{channels}x{irrep}" for irrep in part))
            for part in (contraction.irreps_in, contraction.irreps_out)
        ]
        module = MaceContraction(*irreps, contraction.correlation, num_elements=n_species).to(dtype)
    return module, [name for name, parameter in module.named_parameters() if parameter.requires_grad]
