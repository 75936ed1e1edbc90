"""Small eSCN-MD potentials with random weights, biases included, for the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from learned_examples import ATOMIC_ENERGIES, CUTOFF, ELEMENTS, Example

from atomsym.models import ESCNMD, ESCNMDConfig, LearnedPotential

SMALL: dict[str, Any] = {
    "elements": ELEMENTS,
    "cutoff": CUTOFF,
    "atomic_energies": ATOMIC_ENERGIES,
    "average_neighbors": 4.0,
    "scale": 0.7,
    "shift": -0.3,
    "channels": 4,
    "hidden_channels": 5,
    "edge_channels": 6,
    "max_degree": 2,
    "n_layers": 2,
    "n_radial": 8,
}


def escnmd(**changes: Any) -> Callable[[], LearnedPotential]:
    """Biases start at zero; here they do not, so that every one of them is seen."""

    def make() -> LearnedPotential:
        potential = ESCNMD(ESCNMDConfig(**(SMALL | changes)))
        with torch.no_grad():
            for name, weight in potential.named_parameters():
                if "bias" in name:
                    weight.normal_(std=0.3)
        return potential

    return make


EXAMPLES = {
    "escnmd": Example(escnmd(), smooth=2, mirror=False),
    "escnmd-order-1": Example(escnmd(max_degree=3, max_order=1, n_layers=1), smooth=2, mirror=False),
    "escnmd-degree-0": Example(escnmd(max_degree=0, n_layers=1), smooth=2),
}
