"""Minima by rational function optimization and by Newton's method in a trust region."""

from __future__ import annotations

from atomsym.workflows.optimizers.hessian_updates import bfgs_update
from atomsym.workflows.optimizers.second_order import FloatArray, LocalModel, SecondOrderOptimizer
from atomsym.workflows.optimizers.trust_region import newton_shift, rational_shift, restricted_step


class _Minimizer(SecondOrderOptimizer):
    def quality(self, ratio: float) -> float:
        """More downhill than predicted is welcome."""
        return ratio

    def accepts(self, quality: float) -> bool:
        """Downhill steps only."""
        return quality > 0

    def updated(self, hessian: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
        return bfgs_update(hessian, step, change)


class RFO(_Minimizer):
    """Rational function optimization: the shift is the lowest eigenvalue of the augmented Hessian.

    It is below every curvature, so steps go downhill also where some are negative, and it vanishes with the gradient,
    so convergence is quadratic with exact Hessians. Arguments: see ``SecondOrderOptimizer``.

    Source: Banerjee, Adams, Simons and Shepard, J. Phys. Chem. 89, 52 (1985); longer steps than the trust radius are
    replaced by the level-shifted step on it, to which restricted-step RFO (Besalú and Bofill 1998) comes down too.

    Example:
        >>> from ase.build import molecule
        >>> from ase.calculators.emt import EMT
        >>> water = molecule("H2O", calculator=EMT())
        >>> bool(RFO(water).run(fmax=0.01, steps=20))
        True
    """

    def choose_step(self, model: LocalModel, radius: float) -> FloatArray:
        shift = rational_shift(model.curvatures, model.gradient)
        return restricted_step(model.curvatures, model.gradient, shift, radius)


class Newton(_Minimizer):
    """Newton's method in a trust region: the full step where every curvature is positive, else a step to the radius.

    Arguments: see ``SecondOrderOptimizer``.

    Source: Moré and Sorensen, SIAM J. Sci. Stat. Comput. 4, 553 (1983).

    Example:
        >>> from ase.build import molecule
        >>> from ase.calculators.emt import EMT
        >>> nitrogen = molecule("N2", calculator=EMT())
        >>> bool(Newton(nitrogen, hessian_every=0).run(fmax=0.01, steps=20))
        True
    """

    def choose_step(self, model: LocalModel, radius: float) -> FloatArray:
        return restricted_step(model.curvatures, model.gradient, newton_shift(model.curvatures), radius)
