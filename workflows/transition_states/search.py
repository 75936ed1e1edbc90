"""From a guess to the saddle point; every step is saved, and P-RFO goes on from it exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.optimize.optimize import Optimizer
from numpy.typing import NDArray

from atomsym.core import CalculationError, ConfigError, InputError
from atomsym.workflows.hessian_source import HessianResult
from atomsym.workflows.optimizers import PRFO
from atomsym.workflows.optimizers.geometric_hessian import GeomeTRIC
from atomsym.workflows.run_files import RestartState, RunFiles
from atomsym.workflows.transition_states.molecules import Work, explained, largest_force, snapshot
from atomsym.workflows.vibrations.modes import normal_modes

FloatArray = NDArray[np.float64]

LOG_COLUMNS = ("step", "energy_eV", "max_force_eV_A", "followed_curvature_eV_A2")
AT_REST = 0.1
"""eV/Å: a guess with smaller forces and no imaginary mode is a minimum."""
LOST = 10.0
"""eV: a search so far above its guess, twice a strong bond, follows a mode that leads over no saddle point."""


class SaddleSearch:
    """One search in a run's folder.

    Args:
        work: settings and calculator.
        folder: of the run.
        atoms: the guess, with its calculator; or None to go on from the folder's restart file.
        direction: to follow at the start, shape (n, 3); None: the mode of the settings.

    Attributes:
        atoms: where the search stands.
        optimizer: which moves them.
        steps: made, over all resumptions.
    """

    def __init__(self, work: Work, folder: Path, atoms: Atoms | None, direction: FloatArray | None) -> None:
        self.work, self.folder = work, folder
        self.files = RunFiles(folder, LOG_COLUMNS, with_momenta=False)
        saved = None
        if atoms is None:
            saved = self.files.load()
            atoms = saved.atoms
        self.atoms: Atoms = atoms
        self.atoms.calc = work.calculator
        self.steps = 0 if saved is None else saved.step
        self._first: HessianResult | None = None
        kept = {} if saved is None else saved.generator
        self._energy_of_guess = kept["energy_of_guess"] if "energy_of_guess" in kept else self._energy()
        self.optimizer = self._make_optimizer(direction)
        if saved is not None:
            if isinstance(self.optimizer, PRFO):
                self.optimizer.set_state(saved.integrator)
            work.hessians = kept.get("hessians", 0)

    def _make_optimizer(self, direction: FloatArray | None) -> Optimizer:
        settings = self.work.settings
        if settings.optimizer == "geometric":
            return GeomeTRIC(self.atoms, order=1, hessian_every=settings.hessian_every, hessian=self._hessian)
        return PRFO(
            self.atoms,
            mode=settings.mode or 0,
            direction=direction,
            hessian_every=settings.hessian_every,
            hessian=self._hessian,
        )

    def check(self) -> None:
        """Compute the Hessian of the guess, and see whether there is a mode to follow.

        Raises:
            InputError: if the guess is a minimum and no mode was asked for.
            ConfigError: if there is no such mode.
        """
        settings, force = self.work.settings, largest_force(self.atoms)
        with explained("the Hessian of the guess"):
            self._first = self.work.hessian(self.atoms)
        wavenumbers = normal_modes(self.atoms, self._first).wavenumbers
        if settings.mode is not None and settings.mode >= len(wavenumbers):
            raise ConfigError(f"the guess has {len(wavenumbers)} modes; mode {settings.mode} does not exist")
        lowest = float(wavenumbers.min())
        if settings.mode is None and force < AT_REST and lowest > -settings.imaginary:
            raise InputError(
                f"the guess is a minimum: its largest force is {force:.3g} eV/Å and its lowest mode has "
                f"{lowest:.0f} 1/cm. Displace it towards the transition state, or name the --mode to follow uphill"
            )

    def start(self) -> None:
        """Open the files."""
        self.files.start()
        self._record()

    def run(self) -> bool:
        """Steps until convergence or the last allowed one; whether it has converged.

        Raises:
            CalculationError: if the calculator fails, or the search is lost.
        """
        settings = self.work.settings
        while not (done := largest_force(self.atoms) <= settings.fmax) and self.steps < settings.max_steps:
            with explained(f"step {self.steps + 1} of the search"):
                self.optimizer.step()
                self.steps += 1
                self._record()
            self._require_near()
            self.work.report("search", self.steps, self.atoms)
        return done

    def _require_near(self) -> None:
        climbed = self._energy() - self._energy_of_guess
        if climbed > LOST:
            raise CalculationError(
                f"the search is lost: after {self.steps} steps it lies {climbed:.1f} eV above its guess, and the mode "
                "that it follows leads over no saddle point. Follow another one (--mode 1), start nearer, or give the "
                "two ends (--reactant, --product)"
            )

    def _energy(self) -> float:
        return float(self.atoms.get_potential_energy())

    def _hessian(self, atoms: Atoms) -> FloatArray:
        first, self._first = self._first, None
        return (first or self.work.hessian(atoms)).hessian

    def _record(self) -> None:
        energy, force = self._energy(), largest_force(self.atoms)
        followed = self.optimizer if isinstance(self.optimizer, PRFO) else None
        self.files.add_row((self.steps, energy, force, followed and followed.followed_curvature))
        self.files.add_frame(snapshot(self.atoms, step=self.steps))
        self.files.save(
            RestartState(
                step=self.steps,
                atoms=self.atoms,
                generator={"hessians": self.work.hessians, "energy_of_guess": self._energy_of_guess},
                integrator=followed.state() if followed is not None else {},
            )
        )
