"""F-6: a result depends on the structure alone — not on what was asked before, with what, or who holds old results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from atomsym.testing import tolerances
from atomsym.testing.outcome import Finding, Measurement
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import BASIC, Array, BatchEvaluator, Evaluator, Result, StoredArrays, Structure
from atomsym.testing.symmetry import largest, require_some


def check_state(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-6: order of calls, inputs, old results, and batches where the calculator takes them."""
    structures = [structure for _, structure in require_some(samples)]
    subject = structures[0]
    single_atom = Structure.of(np.zeros((1, 3)), subject.numbers[:1])
    others = [*_with_look_alikes(structures), single_atom]
    energy_bound = settings.bound(tolerances.BATCHING)
    force_bound = settings.bound(tolerances.ROTATION_FORCES)
    measurements = []

    energy_error, force_error = _order_dependence(evaluator, [subject, *others])
    measurements.append(Measurement("energy change with the order of calls", energy_error, energy_bound, "eV/atom"))
    measurements.append(Measurement("force change with the order of calls", force_error, force_bound, "eV/Å"))
    energy_error, force_error = _changed_in_place(evaluator, subject, settings)
    measurements.append(Measurement("energy error after a change in place", energy_error, energy_bound, "eV/atom"))
    measurements.append(Measurement("force error after a change in place", force_error, force_bound, "eV/Å"))
    measurements.append(Measurement("change of the inputs", _input_change(evaluator, structures), 0.0, "Å"))
    returned, stored = _aliasing(evaluator, subject, settings)
    measurements.append(Measurement("change of earlier returned results", returned, 0.0, "eV/Å"))
    measurements.append(Measurement("change of earlier stored results", stored, 0.0, "eV/Å", advisory=True))
    inner = getattr(evaluator, "inner", evaluator)
    if isinstance(inner, BatchEvaluator):
        errors = _batching(evaluator, inner, [subject, single_atom, *structures[1:]])
        measurements.append(Measurement("energy change in a batch", errors[0], energy_bound, "eV/atom"))
        measurements.append(Measurement("force change in a batch", errors[1], force_bound, "eV/Å"))
    good = "Results do not depend on earlier calls, inputs stay untouched, and earlier results stay as they were."
    bad = ""
    if stored > 0 and all(m.passed for m in measurements if not m.advisory):
        bad = (
            "The calculator rewrites the arrays of its stored results in the next call: "
            "code that keeps a reference to them (not a copy) sees them change."
        )
    return Finding(measurements, good, bad)


def _with_look_alikes(structures: Sequence[Structure]) -> list[Structure]:
    """Each sample followed by structures that differ in one field only, which a careless cache takes for the same."""
    close = []
    for structure in structures:
        close.append(structure)
        if structure.periodic:
            close.append(replace(structure.copy(), cell=structure.cell * 1.02))
        if len(set(structure.numbers.tolist())) > 1:
            close.append(replace(structure.copy(), numbers=np.roll(structure.numbers, 1)))
        close.append(structure.permuted(np.arange(structure.n_atoms)[::-1]))
    return close


def _order_dependence(evaluator: Evaluator, structures: list[Structure]) -> tuple[float, float]:
    first = [evaluator.evaluate(structure) for structure in structures]
    backward = [evaluator.evaluate(structure) for structure in reversed(structures)][::-1]
    interleaved = []
    for structure in structures:
        evaluator.evaluate(structures[0])
        interleaved.append(evaluator.evaluate(structure))
    pairs = [*zip(first, backward, strict=True), *zip(first, interleaved, strict=True)]
    return _differences(pairs)


def _differences(pairs: Sequence[tuple[Result, Result]]) -> tuple[float, float]:
    energy = max(abs(a.energy - b.energy) / len(a.forces) for a, b in pairs)
    return energy, max(largest(a.forces - b.forces) for a, b in pairs)


def _changed_in_place(evaluator: Evaluator, structure: Structure, settings: Settings) -> tuple[float, float]:
    """Evaluate, overwrite the coordinates of the same object, evaluate again."""
    working = structure.copy()
    evaluator.evaluate(working)
    working.positions[...] += settings.generator(6).normal(scale=0.02, size=working.positions.shape)
    again = evaluator.evaluate(working)
    evaluator.evaluate(structure)
    return _differences([(again, evaluator.evaluate(working.copy()))])


def _input_change(evaluator: Evaluator, structures: Sequence[Structure]) -> float:
    change = 0.0
    for structure in structures:
        given = structure.copy()
        evaluator.evaluate(given, evaluator.properties & {"energy", "forces", "stress"})
        change = max(change, largest(given.positions - structure.positions), largest(given.cell - structure.cell))
        change = max(change, largest((given.numbers - structure.numbers).astype(np.float64)))
    return change


def _aliasing(evaluator: Evaluator, structure: Structure, settings: Settings) -> tuple[float, float]:
    """Largest change of what a first call returned, and of what it stored, caused by a second call."""
    inner = getattr(evaluator, "inner", evaluator)
    first = evaluator.evaluate(structure, evaluator.properties & {"energy", "forces", "stress", "energies"})
    stored = inner.stored_arrays() if isinstance(inner, StoredArrays) else {}
    held = {name: array for name in ("forces", "stress", "energies") if (array := getattr(first, name)) is not None}
    returned_copies, stored_copies = _copies(held), _copies(stored)
    rattle = settings.generator(7).normal(scale=0.05, size=structure.positions.shape)
    evaluator.evaluate(structure.moved(structure.positions + rattle), BASIC)
    return _largest_change(held, returned_copies), _largest_change(stored, stored_copies)


def _copies(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: np.array(array) for name, array in arrays.items()}


def _largest_change(arrays: dict[str, Array], copies: dict[str, Array]) -> float:
    return max((largest(arrays[name] - copies[name]) for name in copies), default=0.0)


def _batching(evaluator: Evaluator, batcher: BatchEvaluator, structures: list[Structure]) -> tuple[float, float]:
    alone = [evaluator.evaluate(structure) for structure in structures]
    together = batcher.evaluate_batch(structures)
    return _differences(list(zip(alone, together, strict=True)))
