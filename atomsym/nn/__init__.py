"""Layer 2: layers shared by several architectures."""

from atomsym.nn.bessel import bessel_basis
from atomsym.nn.edge_lengths import edge_lengths
from atomsym.nn.envelope import polynomial_envelope
from atomsym.nn.equivariant_linear import EquivariantLinear
from atomsym.nn.gate import Gate
from atomsym.nn.gaussian import gaussian_basis
from atomsym.nn.grid_gate import GridGate
from atomsym.nn.held_distance import held_distance
from atomsym.nn.merged_layer_norm import MergedLayerNorm
from atomsym.nn.perceptron import ACTIVATIONS, Perceptron, activation
from atomsym.nn.polynomial_cutoff import polynomial_cutoff
from atomsym.nn.residual_block import ResidualBlock
from atomsym.nn.so2_linear import SO2Linear
from atomsym.nn.species_linear import SpeciesLinear
from atomsym.nn.switch import cutoff_switch

__all__ = [
    "ACTIVATIONS",
    "EquivariantLinear",
    "Gate",
    "GridGate",
    "MergedLayerNorm",
    "Perceptron",
    "ResidualBlock",
    "SO2Linear",
    "SpeciesLinear",
    "activation",
    "bessel_basis",
    "cutoff_switch",
    "edge_lengths",
    "gaussian_basis",
    "held_distance",
    "polynomial_cutoff",
    "polynomial_envelope",
]
