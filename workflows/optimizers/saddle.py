"""First-order saddle points: uphill along one mode, downhill along all others."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from atomsym.core import ConfigError, InputError
from atomsym.workflows.optimizers.hessian_updates import bofill_update
from atomsym.workflows.optimizers.second_order import FloatArray, LocalModel, SecondOrderOptimizer
from atomsym.workflows.optimizers.trust_region import rational_shift, restricted_step

NO_SLOPE = 1e-8  # eV/Å: below it uphill is either way, and the direction that was asked for decides
TRUST_RADIUS, LARGEST_RADIUS = 0.05, 0.1  # Å, half of a minimizer's: downhill forgives, a saddle point is lost for good


class PRFO(SecondOrderOptimizer):
    """Partitioned rational function optimization: a maximum along the followed mode, a minimum along the rest.

    The mode is the ``mode``-th lowest at the start, or the one most like ``direction``, and from then on the one that
    overlaps most with the mode of the step before. A step that is too long is replaced by one to the trust radius on
    the image function, in which curvature and gradient along the followed mode change their sign.

    Args:
        atoms: near the saddle point, with a calculator.
        mode: which mode to follow at the start, 0 for the lowest.
        direction: which direction to follow at the start instead, shape (n, 3) or (3n,), any length; from a minimum,
            that is where the first step goes.
        trust_radius, largest_radius: root mean square over the free atoms, Å.
        **options: see ``SecondOrderOptimizer``; the Hessian is updated after Bofill.

    Raises:
        ConfigError: if there is no such mode.
        InputError: if the direction has another shape or vanishes.

    Source: Banerjee et al., J. Phys. Chem. 89, 52 (1985); Baker, J. Comput. Chem. 7, 385 (1986), for mode following;
    Besalú and Bofill, Theor. Chem. Acc. 100, 265 (1998), for the restricted step on the image function.
    """

    def __init__(
        self,
        atoms: Atoms,
        *,
        mode: int = 0,
        direction: FloatArray | None = None,
        trust_radius: float = TRUST_RADIUS,
        largest_radius: float = LARGEST_RADIUS,
        **options: Any,
    ) -> None:
        self._first_mode, self._mode = mode, np.zeros(0)
        self._curvature: float | None = None
        if isinstance(mode, bool) or mode < 0:
            raise ConfigError(f"the mode to follow must be 0 for the lowest, 1, 2, …; found {mode}")
        super().__init__(atoms, trust_radius=trust_radius, largest_radius=largest_radius, **options)
        if direction is not None and not self._mode.size:
            self._mode = self._checked(np.asarray(direction, dtype=float))

    @property
    def followed_mode(self) -> FloatArray:
        """The mode of the last step, shape (n, 3), of unit norm, zero on held atoms; all zero before the first."""
        whole = np.zeros((len(self._held), 3))
        if self._mode.size:
            whole[~self._held] = self._mode.reshape(-1, 3)
        return whole

    @property
    def followed_curvature(self) -> float | None:
        """Curvature along the followed mode at the last step, eV/Å²; None before the first."""
        return self._curvature

    def choose_step(self, model: LocalModel, radius: float) -> FloatArray:
        """Up to the maximum along the followed mode and down along the rest, each with a shift of its own; a step that
        is too long is taken on the image function instead. Remembers the mode with the sign of the step before."""
        followed = self._find(model)
        forward = 1.0 if not self._mode.size or model.modes[:, followed] @ self._mode >= 0 else -1.0
        self._mode = forward * model.modes[:, followed]
        self._curvature = float(model.curvatures[followed])
        rest = np.arange(len(model.curvatures)) != followed
        step = np.zeros_like(model.gradient)
        step[followed] = _uphill(float(model.curvatures[followed]), float(model.gradient[followed]))
        h, g = model.curvatures[rest], model.gradient[rest]
        if h.size:
            step[rest] = restricted_step(h, g, rational_shift(h, g), radius)
        if np.linalg.norm(step) > radius:
            step = self._on_boundary(model, followed, radius)
        if abs(model.gradient[followed]) < NO_SLOPE:
            step[followed] = forward * abs(step[followed])
        return step

    def quality(self, ratio: float) -> float:
        """Too much change is as bad as too little: 1 / ratio above 1."""
        return min(ratio, 1.0 / ratio) if ratio > 0 else ratio

    def accepts(self, quality: float) -> bool:
        """Every step: neither up nor down is wrong on the way to a saddle point. The radius alone answers."""
        return True

    def updated(self, hessian: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
        return bofill_update(hessian, step, change)

    def _on_boundary(self, model: LocalModel, followed: int, radius: float) -> FloatArray:
        """The step of length ``radius`` on the image function."""
        sign = np.ones_like(model.curvatures)
        sign[followed] = -1.0
        image, slope = sign * model.curvatures, sign * model.gradient
        order = np.argsort(image)
        step = np.zeros_like(slope)
        step[order] = restricted_step(image[order], slope[order], rational_shift(image, slope), radius)
        return step

    def _find(self, model: LocalModel) -> int:
        if self._mode.size:
            return int(np.abs(model.modes.T @ self._mode).argmax())
        if self._first_mode >= len(model.curvatures):
            raise ConfigError(f"there are {len(model.curvatures)} modes; mode {self._first_mode} does not exist")
        return self._first_mode

    def _checked(self, direction: FloatArray) -> FloatArray:
        if direction.size != 3 * len(self._held):
            raise InputError(
                f"the direction to follow has the shape {direction.shape} for {len(self._held)} atoms; (n, 3) is needed"
            )
        free = direction.reshape(-1, 3)[~self._held].ravel()
        length = float(np.linalg.norm(free))
        if not np.isfinite(length) or length == 0:
            raise InputError("the direction to follow is zero or not finite on the atoms that move")
        return free / length

    def state(self) -> dict[str, NDArray[Any]]:
        return {**super().state(), "mode": self._mode}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        super().set_state(state)
        self._mode = np.asarray(state["mode"], dtype=float)


def _uphill(curvature: float, slope: float) -> float:
    """The maximum of the rational model of one mode: −g / (h − λ) with λ the higher root of λ² − hλ = g²."""
    higher = 0.5 * (curvature + np.hypot(curvature, 2 * slope))
    gap = higher - curvature
    if gap > 1e-14:
        return slope / gap
    # no slope: stay on the ridge, or leave the floor of a valley as far as the radius lets it
    return 0.0 if curvature < 0 else float("inf")
