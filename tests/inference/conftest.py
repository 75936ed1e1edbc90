"""Small MACE models of every kind and structures for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from atomsym.core import AtomGraph
from atomsym.heads import HessianHeadConfig, HessianPotential
from atomsym.kernels.neighbors import connect
from atomsym.models import MACE, MACEConfig

CUTOFF = 3.0
ELEMENTS = (1, 8, 14)

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "agnesi": {"distance_transform": "agnesi"},
    "soft": {"distance_transform": "soft"},
    "gaussian": {"radial_basis": "gaussian"},
    "cutoff on weights": {"cutoff_on_weights": True, "distance_transform": "agnesi"},
    "plain first": {"first_interaction": "plain"},
    "plain": {"first_interaction": "plain", "interaction": "plain"},
    "density": {"density": True},
    "density, plain": {"density": True, "first_interaction": "plain", "cutoff_on_weights": True},
    "repulsion": {"repulsion": "smooth"},
    "universal repulsion": {"repulsion": "universal", "scale": 0.6},
    "short repulsion": {"repulsion": "universal", "repulsion_end": 0.8},
    "held": {"repulsion": "universal", "repulsion_end": 0.8, "hold_below": 1.0},
    "published repulsion": {"repulsion": "published"},
    "scalars": {"hidden": "0e"},
    "degree 2": {"hidden": "0e+1o+2e"},
    "parity": {"hidden": "0e+0o+1e+1o", "max_degree": 2},
    "one layer": {"n_layers": 1},
    "three layers": {"n_layers": 3, "max_degree": 2},
    "shared products": {"species_product": False},
    "last readout": {"last_readout_only": True, "readout_activation": "tanh"},
    "correlation 2": {"correlation": 2, "channels": 17},
    "scaled": {"scale": 0.37, "shift": -1.5, "repulsion": "smooth"},
}


def model(variant: str = "default", dtype: torch.dtype = torch.float64, **changes: Any) -> MACE:
    """A random model whose weights depend on the variant alone."""
    config: dict[str, Any] = {
        "elements": ELEMENTS,
        "channels": 8,
        "n_radial": 5,
        "radial_hidden": (12, 12),
        "average_neighbors": 6.0,
        "readout_hidden": 6,
        **VARIANTS[variant],
        **changes,
    }
    config["atomic_energies"] = tuple(-10.0 * z for z in config["elements"])
    with torch.random.fork_rng():
        torch.manual_seed(17)
        return MACE(MACEConfig(cutoff=CUTOFF, **config)).to(dtype)


def headed(variant: str = "default", **head: Any) -> HessianPotential:
    """A random model with a Hessian head, in double precision."""
    backbone = model(variant)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        config = HessianHeadConfig(**{"cutoff": 4.0, "channels": 6, "n_radial": 5, "hidden": 7, **head})
        potential = HessianPotential.of("mace", backbone.config, config).double()
    potential.backbone.load_state_dict(backbone.state_dict())
    return potential.eval()


def crystal(dtype: torch.dtype = torch.float64, reach: float = CUTOFF + 0.4) -> AtomGraph:
    """Six atoms in a skewed periodic cell, several images of each within the cutoff, some edges beyond it."""
    cell = [[3.6, 0.2, 0.0], [-0.4, 3.3, 0.5], [0.3, 0.1, 4.1]]
    positions = [[0.1, 0.0, 0.2], [1.7, 1.5, 0.1], [1.6, 0.1, 1.9], [0.0, 1.8, 2.2], [2.9, 2.4, 3.1], [1.1, 1.0, 3.0]]
    return connect(AtomGraph.from_arrays(positions, [14, 8, 8, 14, 8, 1], cell, True, dtype=dtype), reach)


def cluster(dtype: torch.dtype = torch.float64) -> AtomGraph:
    """Four atoms in free space and one that sees nobody."""
    positions = [[0.0, 0.0, 0.0], [1.5, 0.3, -0.2], [-0.4, 1.6, 0.5], [0.9, 1.1, 1.8], [30.0, 0.0, 0.0]]
    return connect(AtomGraph.from_arrays(positions, [14, 8, 1, 14, 8], dtype=dtype), CUTOFF)


GRAPHS: dict[str, Callable[..., AtomGraph]] = {"crystal": crystal, "cluster": cluster}


@pytest.fixture(params=list(VARIANTS))
def variant(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
