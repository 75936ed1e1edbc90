"""Backbones with random weights and a Hessian head, and structures that they know."""

from __future__ import annotations

from typing import Any

import torch

from atomsym.core import AtomGraph
from atomsym.heads import HessianHeadConfig, HessianPotential
from atomsym.kernels.neighbors import connect
from atomsym.models import MACEConfig, NequIPConfig

CUTOFF, PAIR_CUTOFF = 3.0, 4.5  # Å
COMMON: dict[str, Any] = {
    "elements": (8, 14, 22),
    "cutoff": CUTOFF,
    "atomic_energies": (-0.2, 0.1, -0.4),
    "average_neighbors": 3.0,
    "channels": 4,
    "max_degree": 2,
    "hidden": "0e+1o+2e",
    "n_radial": 5,
    "radial_hidden": (8,),
}
HEAD = HessianHeadConfig(cutoff=PAIR_CUTOFF, channels=5, n_radial=6, hidden=7)
BACKBONES: dict[str, Any] = {
    "mace": MACEConfig(**COMMON),
    "nequip": NequIPConfig(**COMMON),
    "mace-parities": MACEConfig(**(COMMON | {"hidden": "0e+0o+1o+1e+2e"})),
    "mace-one-layer": MACEConfig(**(COMMON | {"n_layers": 1})),
}


def build(name: str = "mace", dtype: torch.dtype = torch.float64, head: HessianHeadConfig = HEAD) -> HessianPotential:
    """A potential whose random weights depend on the name alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return HessianPotential.of(name.partition("-")[0], BACKBONES[name], head).to(dtype).eval()


def molecule(dtype: torch.dtype = torch.float64) -> AtomGraph:
    """Five atoms in free space without symmetry, all pairs but one within the head's cutoff."""
    positions = [[0.0, 0.0, 0.0], [1.5, 0.3, -0.2], [-0.4, 1.6, 0.5], [0.9, 1.1, 1.8], [-2.3, -2.2, 1.9]]
    return connect(AtomGraph.from_arrays(positions, [14, 8, 22, 14, 8], dtype=dtype), CUTOFF)


def crystal() -> AtomGraph:
    """Two atoms in a skewed cell that is smaller than the head's cutoff."""
    cell = [[3.6, 0.2, 0.0], [-0.4, 3.3, 0.5], [0.3, 0.1, 4.1]]
    return connect(AtomGraph.from_arrays([[0.1, 0.0, 0.2], [1.7, 1.5, 1.1]], [14, 8], cell, True), CUTOFF)
