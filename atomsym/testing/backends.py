"""F-14 derivatives by automatic differentiation and F-15 backend parity, for evaluators of our own models."""

from __future__ import annotations

from atomsym.testing import tolerances
from atomsym.testing.outcome import Finding, Measurement, NotApplicableError
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import BackendEvaluator, DifferentiableEvaluator, Evaluator
from atomsym.testing.symmetry import largest, require_some


def check_gradients(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-14: the model's own test of first, second, … derivatives."""
    inner = getattr(evaluator, "inner", evaluator)
    if not isinstance(inner, DifferentiableEvaluator):
        raise NotApplicableError("only for models whose energy can be differentiated automatically from here")
    errors = inner.gradient_errors(require_some(samples)[0][1])
    bound = settings.bound(tolerances.HESSIAN_FINITE_DIFFERENCE)
    measurements = [Measurement(f"relative error of {name}", value, bound, "") for name, value in errors.items()]
    return Finding(measurements, "Automatic derivatives agree with numerical ones.")


def check_backends(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-15: every kernel backend gives the results of the reference."""
    inner = getattr(evaluator, "inner", evaluator)
    if not isinstance(inner, BackendEvaluator):
        raise NotApplicableError("only for models that run on several kernel backends")
    names = inner.backend_names()
    if len(names) < 2:
        raise NotApplicableError(f"only one backend is usable here: {', '.join(names) or 'none'}")
    asked = evaluator.properties & {"energy", "forces", "stress", "hessian"}
    bound = settings.bound(tolerances.BACKEND_PARITY)
    measurements = []
    for label, structure in require_some(samples):
        reference = inner.with_backend(names[0]).evaluate(structure, asked)
        for name in names[1:]:
            other = inner.with_backend(name).evaluate(structure, asked)
            error = abs(other.energy - reference.energy) / max(abs(reference.energy), 1e-300)
            for key in ("forces", "stress", "hessian"):
                expected, found = getattr(reference, key), getattr(other, key)
                if expected is not None and found is not None:
                    error = max(error, largest(found - expected) / max(largest(expected), 1e-300))
            measurements.append(Measurement(f"{label}: backend {name} against {names[0]}, relative", error, bound, ""))
    return Finding(measurements, f"The backends {', '.join(names)} give the same results.")
