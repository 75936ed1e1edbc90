"""F-1 translation, F-2 rotation and reflection, F-3 permutation: the energy knows no place, direction or order."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

from atomsym.testing import tolerances
from atomsym.testing.outcome import Finding, Measurement, NotApplicableError
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import BASIC, Array, Evaluator, Structure


def check_translation(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-1: energy per atom after random shifts of all atoms."""
    rng = settings.generator(1)
    measurements, errors = [], {}
    for name, structure in require_some(samples):
        reference = evaluator.evaluate(structure).energy / structure.n_atoms
        shifts = rng.uniform(-10.0, 10.0, (5, 3))
        moved = [evaluator.evaluate(structure.moved(structure.positions + shift)).energy for shift in shifts]
        errors[name] = [abs(energy / structure.n_atoms - reference) for energy in moved]
        bound = settings.bound(tolerances.TRANSLATION)
        measurements.append(Measurement(f"energy change of the shifted {name}", max(errors[name]), bound, "eV/atom"))
    good = "Moving all atoms together leaves the energy unchanged."
    return Finding(measurements, good, data={"errors": errors})


def check_rotation(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-2: energy, forces, stress and Hessian under random rotations, the 24 of the cube, and reflections."""
    rng = settings.generator(2)
    matrices = {
        "random": [random_rotation(rng) for _ in range(20)],
        "cube": cube_rotations(),
        "reflection": [-random_rotation(rng) for _ in range(5)] + [np.diag([-1.0, 1.0, 1.0])],
    }
    wanted = set(evaluator.properties) & {"energy", "forces", "stress"}
    measurements: list[Measurement] = []
    series: dict[str, dict[str, list[float]]] = {}
    for name, structure in require_some(samples)[:2]:
        reference = evaluator.evaluate(structure, wanted)
        worst: dict[str, float] = {}
        series[name] = {}
        for kind, group in matrices.items():
            for matrix in group:
                turned = evaluator.evaluate(structure.transformed(matrix), wanted)
                errors = {"energy": abs(turned.energy - reference.energy) / structure.n_atoms}
                errors["forces"] = largest(turned.forces - reference.forces @ matrix.T)
                if reference.stress is not None and turned.stress is not None:
                    errors["stress"] = largest(turned.stress - matrix @ reference.stress @ matrix.T)
                for key, value in errors.items():
                    worst[key] = max(worst.get(key, 0.0), value)
                series[name].setdefault(kind, []).append(errors["forces"])
        measurements += _rotation_measurements(name, worst, settings)
    measurements += _hessian_rotation(evaluator, samples, settings, matrices["random"][0])
    good = "Energy is unchanged, and forces turn with the atoms, under rotations and reflections."
    bound = settings.bound(tolerances.ROTATION_FORCES)
    return Finding(measurements, good, data={"force_errors": series, "bound": bound})


def _rotation_measurements(name: str, worst: dict[str, float], settings: Settings) -> list[Measurement]:
    table = {
        "energy": (tolerances.ROTATION_ENERGY, "eV/atom"),
        "forces": (tolerances.ROTATION_FORCES, "eV/Å"),
        "stress": (tolerances.STRESS, "eV/Å³"),
    }
    return [
        Measurement(f"{key} deviation of the turned {name}", value, settings.bound(table[key][0]), table[key][1])
        for key, value in worst.items()
    ]


def _hessian_rotation(evaluator: Evaluator, samples: Samples, settings: Settings, matrix: Array) -> list[Measurement]:
    if "hessian" not in evaluator.properties or samples.cluster is None:
        return []
    asked = (*BASIC, "hessian")
    before = evaluator.evaluate(samples.cluster, asked).hessian
    after = evaluator.evaluate(samples.cluster.transformed(matrix), asked).hessian
    if before is None or after is None:
        return []
    turn = np.kron(np.eye(samples.cluster.n_atoms), matrix)
    error = largest(after - turn @ before @ turn.T) / largest(before)
    bound = settings.bound(tolerances.EQUIVARIANCE)
    return [Measurement("relative Hessian deviation of the turned cluster", error, bound, "")]


def check_permutation(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-3: energy and forces after renumbering the atoms."""
    rng = settings.generator(3)
    measurements = []
    for name, structure in require_some(samples)[:2]:
        reference = evaluator.evaluate(structure)
        energy_error = force_error = 0.0
        orders = [np.arange(structure.n_atoms)[::-1], *(rng.permutation(structure.n_atoms) for _ in range(5))]
        for order in orders:
            shuffled = evaluator.evaluate(structure.permuted(order))
            energy_error = max(energy_error, abs(shuffled.energy - reference.energy) / structure.n_atoms)
            force_error = max(force_error, largest(shuffled.forces - reference.forces[order]))
        energy_bound, force_bound = settings.bound(tolerances.PERMUTATION), settings.bound(tolerances.ROTATION_FORCES)
        measurements += [
            Measurement(f"energy change of the renumbered {name}", energy_error, energy_bound, "eV/atom"),
            Measurement(f"force change of the renumbered {name}", force_error, force_bound, "eV/Å"),
        ]
    return Finding(measurements, "Renumbering the atoms changes neither energy nor forces.")


def require_some(samples: Samples) -> list[tuple[str, Structure]]:
    """The rattled samples.

    Raises:
        NotApplicableError: if there are none.
    """
    small = samples.small()
    if not small:
        raise NotApplicableError("no test structure could be made for this calculator; give one with --structure")
    return small


def largest(values: Array) -> float:
    """Largest absolute value; zero for an empty array."""
    return float(np.abs(values).max(initial=0.0))


def random_rotation(rng: np.random.Generator) -> Array:
    """A proper rotation, uniform over all of them."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return np.asarray(q * np.sign(np.linalg.det(q)))


def cube_rotations() -> list[Array]:
    """The 24 proper rotations that map a cube onto itself."""
    found = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        matrix = np.eye(3)[list(order)] * np.array(signs)[:, None]
        if np.linalg.det(matrix) > 0:
            found.append(matrix)
    return found
