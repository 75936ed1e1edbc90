"""F-16: energy conservation in dynamics at constant energy, from a hot start, with an own velocity Verlet.

The energy H of velocity Verlet fluctuates by O(dt²) even for perfect forces and hides small drifts. What the
integrator conserves is, to O(dt⁴), H + dt² (v·∇∇V·v / 12 − F·F/m / 24); with ∇∇V·v = −dF/dt it needs no Hessian. Its
slope is the drift, with an uncertainty far below that of H, so that a few ps can tell. Source: modified equations of
symplectic integrators (Hairer, Lubich, Wanner, Geometric Numerical Integration, ch. IX).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from atomsym.core.units import ACCELERATION, AMU_ANGSTROM2_PER_FS2, BOLTZMANN
from atomsym.testing import tolerances
from atomsym.testing.masses import MASSES
from atomsym.testing.outcome import Finding, Measurement, NotApplicableError
from atomsym.testing.precision import energy_noise
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import Array, Evaluator, Structure

TIMESTEP, TIMESTEP_WITH_HYDROGEN = 1.0, 0.25
"""fs. What is left of the fluctuation in the corrected energy goes as dt⁴ and, at 0.5 fs, passes for a drift of 1
meV/atom/ns while bonds to hydrogen warm up; a run over the same number of steps tells more at 0.25 fs."""

SKIPPED = 0.2  # of the run, before the slope is fitted
BLOCKS = 12
SHORTEST = 100  # steps
ORDER_BOUND = 1.5  # rms ∝ dt^order; 2 for smooth forces, about 0 with energy jumps
ORDER_DURATION = 0.2  # ps of the runs with two time steps
SHARE_OF_ORDER = 0.35  # of the time budget


@dataclass(frozen=True)
class Trajectory:
    """Energies along a run, all of shape (n_steps,): eV; times in fs."""

    times: Array
    total: Array
    shadow: Array
    kinetic: Array


def check_dynamics(evaluator: Evaluator, samples: Samples, settings: Settings) -> Finding:
    """F-16: slope of the energy, drift against the kinetic-energy fluctuation, and rms ∝ dt²."""
    structure = samples.dynamics
    if structure is None:
        raise NotApplicableError("there is no structure for dynamics")
    dt = settings.timestep or (TIMESTEP_WITH_HYDROGEN if (structure.numbers == 1).any() else TIMESTEP)
    steps, order_steps = _lengths(evaluator, structure, dt, settings)
    velocities = hot_velocities(structure, settings.temperature, settings.generator(16))
    run = simulate(evaluator, structure, velocities, dt, steps)
    n = structure.n_atoms
    keep = slice(int(SKIPPED * steps), None)
    slope, error = slope_with_error(run.times[keep], run.shadow[keep])
    to_report = 1e3 / n * 1e6  # eV/fs → meV/atom/ns
    rms = detrended_rms(run.times[keep], run.total[keep]) * 1e3 / n
    bound = settings.slope_bound or settings.bound(tolerances.NVE_SLOPE)
    slope_measurement = Measurement(
        "energy drift", abs(slope) * to_report, bound, "meV/atom/ns", uncertainty=error * to_report
    )
    drift = abs(slope) * float(np.ptp(run.times)) / float(run.kinetic[keep].std())
    drift_error = error * float(np.ptp(run.times)) / float(run.kinetic[keep].std())
    measurements = [
        slope_measurement,
        Measurement(
            "drift over the run / std of the kinetic energy", drift, tolerances.NVE_DRIFT_OF_KINETIC_STD, "",
            uncertainty=drift_error,
        ),
    ]  # fmt: skip
    if settings.rms_bound is not None:
        measurements.append(Measurement("rms energy fluctuation", rms, settings.rms_bound, "meV/atom"))
    order, note = _order(evaluator, structure, velocities, dt, order_steps, settings)
    if order is not None:
        name = "order in dt of the energy fluctuation"
        measurements.append(Measurement(name, order, ORDER_BOUND, "", at_least=True))
    warning = note
    if slope_measurement.passed and 2 * slope_measurement.uncertainty > bound:
        warning = f"The run is too short for the bound on the drift ({bound:g} meV/atom/ns). {note}".strip()
    duration = steps * dt * 1e-3
    good = (
        f"Energy is conserved over {duration:.3g} ps at {dt:g} fs: drift {slope * to_report:+.2g} ± "
        f"{error * to_report:.1g} meV/atom/ns, rms {rms:.2g} meV/atom."
    )
    bad = (
        f"Energy is not conserved over {duration:.3g} ps at {dt:g} fs: drift {slope * to_report:+.2g} ± "
        f"{error * to_report:.1g} meV/atom/ns, rms {rms:.2g} meV/atom"
        + ("." if order is None or order >= ORDER_BOUND else f", which goes as dt^{order:.1f} where dt^2 is right.")
    )
    return Finding(measurements, good, bad, _plot_data(run, n, slope), warning)


def _lengths(evaluator: Evaluator, structure: Structure, dt: float, settings: Settings) -> tuple[int, int]:
    """Steps of the main run, and of the run with dt for the order; limited by the time budget."""
    wanted = round((settings.duration or (20.0 if settings.thorough else 2.0)) * 1000 / dt)
    order_wanted = round(ORDER_DURATION * 1000 / dt)
    evaluator.evaluate(structure)
    start = time.perf_counter()
    for shift in (0.01, 0.02, 0.03):
        evaluator.evaluate(structure.moved(structure.positions + shift))
    each = (time.perf_counter() - start) / 3
    if settings.thorough or settings.duration is not None:
        return max(wanted, SHORTEST), max(order_wanted, SHORTEST)
    affordable = settings.time_budget / max(each, 1e-9)
    steps = int(min(wanted, max(SHORTEST, (1 - SHARE_OF_ORDER) * affordable)))
    return steps, int(min(order_wanted, max(SHORTEST // 2, SHARE_OF_ORDER * affordable / 3)))


def hot_velocities(structure: Structure, temperature: float, rng: np.random.Generator) -> Array:
    """Maxwell velocities without total momentum, scaled to the exact temperature; shape (n_atoms, 3), Å/fs."""
    masses = np.array([MASSES[z] for z in structure.numbers])
    velocities = (
        rng.normal(size=(structure.n_atoms, 3)) * np.sqrt(BOLTZMANN * temperature * ACCELERATION / masses)[:, None]
    )
    velocities -= (masses[:, None] * velocities).sum(axis=0) / masses.sum()
    kinetic = kinetic_energy(masses, velocities)
    target = 1.5 * max(structure.n_atoms - 1, 1) * BOLTZMANN * temperature
    return np.asarray(velocities * math.sqrt(target / max(kinetic, 1e-300)))


def kinetic_energy(masses: Array, velocities: Array) -> float:
    """½ Σ m v², eV."""
    return 0.5 * AMU_ANGSTROM2_PER_FS2 * float((masses[:, None] * velocities**2).sum())


def simulate(evaluator: Evaluator, structure: Structure, velocities: Array, dt: float, steps: int) -> Trajectory:
    """Velocity Verlet with double-precision positions."""
    masses = np.array([MASSES[z] for z in structure.numbers])
    inverse = ACCELERATION / masses[:, None]
    x, v = structure.positions.copy(), velocities.copy()
    before, force = np.zeros_like(x), evaluator.evaluate(structure).forces.copy()
    rows: list[tuple[float, float, float]] = []  # total and kinetic energy, F·F/m
    powers: list[float] = []  # v·dF/dt, known one step later
    for step in range(steps + 1):
        half = v + 0.5 * dt * inverse * force
        x = x + dt * half
        result = evaluator.evaluate(structure.moved(x))
        after = result.forces.copy()
        if step > 0:
            powers.append(float((v * (after - before)).sum()) / (2 * dt))
        before, force = force, after
        v = half + 0.5 * dt * inverse * force
        kinetic = kinetic_energy(masses, v)
        rows.append((result.energy + kinetic, kinetic, float((force**2 * inverse).sum())))
    total, kinetic_energies, squares = np.array(rows[:steps]).T
    shadow = total - dt**2 * (np.array(powers) / 12.0 + squares / 24.0)
    return Trajectory(dt * np.arange(1.0, steps + 1), total, shadow, kinetic_energies)


def slope_with_error(times: Array, values: Array) -> tuple[float, float]:
    """Slope of a straight line and its standard error, from block means (neighboring values are correlated)."""
    blocks = min(BLOCKS, len(times))
    edges = np.linspace(0, len(times), blocks + 1).astype(int)
    t = np.array([times[a:b].mean() for a, b in pairwise(edges)])
    y = np.array([values[a:b].mean() for a, b in pairwise(edges)])
    centred = t - t.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    residual = y - y.mean() - slope * centred
    return slope, math.sqrt(float(residual @ residual) / (blocks - 2) / float(centred @ centred))


def detrended_rms(times: Array, values: Array) -> float:
    """Root mean square deviation from a straight line."""
    centred = times - times.mean()
    residual = values - values.mean()
    residual = residual - centred * float(centred @ residual) / float(centred @ centred)
    return math.sqrt(float((residual**2).mean()))


def _order(
    evaluator: Evaluator, structure: Structure, velocities: Array, dt: float, steps: int, settings: Settings
) -> tuple[float | None, str]:
    """log2 of rms(dt) / rms(dt/2) over the same time; None with a note where rounding hides it."""
    coarse = simulate(evaluator, structure, velocities, dt, steps)
    fine = simulate(evaluator, structure, velocities, dt / 2, 2 * steps)
    rms = [float(np.std(run.total)) for run in (coarse, fine)]
    if rms[1] < 20 * energy_noise(evaluator, structure):
        return None, "Rounding of the energy hides how its fluctuation depends on the time step."
    return math.log2(rms[0] / rms[1]), ""


def _plot_data(run: Trajectory, n_atoms: int, slope: float) -> dict[str, object]:
    """At most 600 points, meV/atom against ps."""
    every = max(1, len(run.times) // 600)
    scale = 1e3 / n_atoms
    start = run.shadow[0]
    return {
        "times": (run.times[::every] * 1e-3).tolist(),
        "total": ((run.total[::every] - start) * scale).tolist(),
        "shadow": ((run.shadow[::every] - start) * scale).tolist(),
        "slope": slope * scale * 1e3,
    }
