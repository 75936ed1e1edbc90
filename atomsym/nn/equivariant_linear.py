"""Linear maps between features that commute with rotations and inversion: they mix channels and equal irreps only."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.kernels.irreps_linear import IrrepsLinear, irreps_linear
from atomsym.symmetry import Irreps


class EquivariantLinear(torch.nn.Module):
    """y[n, s, m, d] = Σ_{t: irrep(t) = irrep(s)} Σ_c x[n, t, m, c] W_s[t, c, d] / sqrt(fan-in of s).

    Weights are drawn with unit variance and the factor is applied in ``forward``, so that one learning rate suits all
    sizes.

    Args:
        irreps_in: slots of the input; may repeat.
        irreps_out: slots of the output; may repeat, each with weights of its own. A slot without a matching input is
            zero.
        channels_in, channels_out: sizes of the channel axes.

    Attributes:
        weights: one per output slot whose irrep the input has, in the order of the output, shape (number of input
            slots of this irrep · channels_in, channels_out), input slots in their order.

    Source: linear layers of e3nn (Geiger and Smidt 2022), without biases.

    Example:
        >>> layer = EquivariantLinear(Irreps.parse("0e+0e+1o"), Irreps.parse("0e+1o"), 4, 8)
        >>> layer(torch.zeros(5, 5, 4)).shape, [tuple(weight.shape) for weight in layer.weights]
        (torch.Size([5, 4, 8]), [(8, 8), (4, 8)])
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = irreps_in, irreps_out
        self.channels_in, self.channels_out = channels_in, channels_out
        self._linear = IrrepsLinear(irreps_in, irreps_out)
        slots = [sum(irrep == wanted for irrep in irreps_in) for wanted in irreps_out]
        self.weights = torch.nn.ParameterList(torch.randn(n * channels_in, channels_out) for n in slots if n)

    def forward(self, features: Tensor) -> Tensor:
        """Apply it.

        Args:
            features: shape (n, irreps_in.dim, channels_in).

        Returns:
            Shape (n, irreps_out.dim, channels_out).
        """
        if not len(self.weights):
            return features.new_zeros(features.shape[0], self.irreps_out.dim, self.channels_out)
        scaled = [weight * weight.shape[0] ** -0.5 for weight in self.weights]
        together = scaled[0] if len(scaled) == 1 else torch.cat(scaled)
        return irreps_linear(features, together.unflatten(0, (-1, self.channels_in)), self._linear)

    def extra_repr(self) -> str:
        return f"{self.irreps_in} -> {self.irreps_out}, channels {self.channels_in} -> {self.channels_out}"
