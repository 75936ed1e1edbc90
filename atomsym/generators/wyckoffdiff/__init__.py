"""WyckoffDiff (Kelvinius et al. 2025): crystals by discrete diffusion over the occupations of Wyckoff positions."""

from atomsym.generators.wyckoffdiff.config import WyckoffDiffConfig
from atomsym.generators.wyckoffdiff.limits import Limits
from atomsym.generators.wyckoffdiff.loss import divergences, divergences_from_zero, entropies
from atomsym.generators.wyckoffdiff.model import WyckoffDiff
from atomsym.generators.wyckoffdiff.network import Logits, WyckoffNetwork
from atomsym.generators.wyckoffdiff.noise import (
    draw,
    draw_growth,
    kept_fractions,
    leaving_rate,
    step_back,
    transition_matrix,
    with_noise,
)
from atomsym.generators.wyckoffdiff.occupations import (
    Layout,
    Occupations,
    layout_of,
    occupations_of,
    orbits_of,
    protostructures_of,
)

__all__ = [
    "Layout",
    "Limits",
    "Logits",
    "Occupations",
    "WyckoffDiff",
    "WyckoffDiffConfig",
    "WyckoffNetwork",
    "divergences",
    "divergences_from_zero",
    "draw",
    "draw_growth",
    "entropies",
    "kept_fractions",
    "layout_of",
    "leaving_rate",
    "occupations_of",
    "orbits_of",
    "protostructures_of",
    "step_back",
    "transition_matrix",
    "with_noise",
]
