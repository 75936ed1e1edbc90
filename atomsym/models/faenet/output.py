"""What is read from the atoms' states: energies, and forces that are no derivative of them."""

from __future__ import annotations

from torch import Tensor, nn

from atomsym.kernels.silu import silu
from atomsym.models.faenet.config import FAENetConfig
from atomsym.models.faenet.linear import LayerNorm, Linear


class EnergyHead(nn.Module):
    """e_i = α_i (f(h_i W₁ + b₁) W₂ + b₂), with f the SiLU and α_i = 1 or a linear function of a state of the atom.

    Attributes:
        first, second: the linear maps.
        weight: from the last state to α; None unless ``energy_head`` is ``weighted_final``.
    """

    def __init__(self, config: FAENetConfig) -> None:
        super().__init__()
        half = config.channels // 2
        self.first, self.second = Linear(config.channels, half), Linear(half, 1)
        self.weight = Linear(config.channels, 1) if config.energy_head == "weighted_final" else None

    def forward(self, states: Tensor, weights: Tensor | None) -> Tensor:
        """Energies of the atoms in units of the model's scale.

        Args:
            states: shape (n_atoms, channels).
            weights: α from elsewhere, shape (n_atoms, 1); None for 1.

        Returns:
            Shape (n_atoms, 1).
        """
        energies: Tensor = self.second(silu(self.first(states)))
        if self.weight is not None:
            return energies * self.weight(states)
        return energies if weights is None else energies * weights


class ForceHead(nn.Module):
    """Three numbers an atom, from its state.

    With steps s(x) = f(Norm(x W + b)): ``mlp`` is W₃ s(h); ``res`` is W₃ s(s(s(h)) + h) with inner steps as wide as the
    states; ``res_updown`` is W₃ s(s(s(s(h))) + h) with inner steps of ``force_channels``.

    Attributes:
        inner: steps beside the skip connection; none for ``mlp``.
        last: the step before the output.
        out: linear map to the three components.

    Source: Duval et al., ICML 2023 (arXiv 2305.05577). The authors normalize over the batch (BatchNorm); here a layer
    norm or none keeps the systems of a batch apart.
    """

    def __init__(self, config: FAENetConfig) -> None:
        super().__init__()
        wide, narrow = config.channels, config.force_channels
        widths = {"mlp": (wide,), "res": (wide, wide, wide), "res_updown": (wide, narrow, narrow, wide)}
        inner = widths[config.force_head]
        self.inner = nn.ModuleList(_Step(inner[k], inner[k + 1], config) for k in range(len(inner) - 1))
        self.last = _Step(wide, narrow, config)
        self.out = Linear(narrow, 3)

    def forward(self, states: Tensor) -> Tensor:
        """Forces in units of the model's scale: (n_atoms, channels) → (n_atoms, 3)."""
        x = states
        for step in self.inner:
            x = step(x)
        if len(self.inner):
            x = x + states
        forces: Tensor = self.out(self.last(x))
        return forces


class _Step(nn.Module):
    def __init__(self, n_in: int, n_out: int, config: FAENetConfig) -> None:
        super().__init__()
        self.linear = Linear(n_in, n_out)
        self.norm = LayerNorm(n_out) if config.force_norm == "layer" else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return silu(x if self.norm is None else self.norm(x))
