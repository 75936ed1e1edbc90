"""Small eSEN potentials with random weights for the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from learned_examples import COMMON, Example

from atomsym.models import ESEN, ESENConfig, LearnedPotential

SMALL: dict[str, Any] = COMMON | {
    "edge_channels": 4,
    "feed_forward_channels": 6,
    "species_channels": 2,
    "readout_hidden": 5,
}


def esen(**changes: Any) -> Callable[[], LearnedPotential]:
    return lambda: ESEN(ESENConfig(**(SMALL | changes)))


MAIN = {
    "esen": Example(esen()),
    "esen-all": Example(esen(max_order=1, attention_heads=2, feed_forward="grid")),
}
"""The costly tests run on these; by default on the one with most parts."""

EXAMPLES = {
    "esen": MAIN["esen"],
    "esen-attention": Example(esen(attention_heads=2, attention_channels=5)),
    "esen-grid": Example(esen(edge_activation="grid", max_order=1)),
    "esen-feed-forward-grid": Example(esen(feed_forward="grid", n_layers=1)),
    "esen-without-parity": Example(esen(parity=False), mirror=False),
    "esen-degree-0": Example(esen(max_degree=0, n_layers=1)),
    "esen-degree-4-order-1": Example(esen(max_degree=4, max_order=1)),
    "esen-repulsion": Example(esen(repulsion="universal", hold_below=0.8, n_layers=1), by_radii=True),
    "esen-rough": Example(esen(envelope_order=3), smooth=2),
}
