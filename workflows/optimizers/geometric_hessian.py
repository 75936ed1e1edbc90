"""geomeTRIC's optimizer with our Hessians: translation-rotation internal coordinates, as an ASE optimizer."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
from ase import Atoms
from ase.optimize.optimize import Optimizer
from numpy.typing import NDArray

from atomsym.core import AtomsymError, CalculationError, ConfigError, InputError, MissingDependencyError
from atomsym.core.units import BOHR, HARTREE
from atomsym.workflows.hessian_source import forces_of, hessian_of
from atomsym.workflows.optimizers.second_order import HessianFunction
from atomsym.workflows.structures import held_atoms

FloatArray = NDArray[np.float64]

NEVER = 10**9  # steps: ASE counts them, and decides what is converged
TRIES = 4  # a step that only redefines the coordinates moves nothing; the next one is made in the new ones


def require_geometric() -> None:
    """Check that geomeTRIC is there.

    Raises:
        MissingDependencyError: if not.
    """
    if importlib.util.find_spec("geometric") is None:
        raise MissingDependencyError.for_package("geomeTRIC", "geometric", "this optimizer")


class GeomeTRIC(Optimizer):
    """An ASE optimizer whose steps geomeTRIC makes, in its internal coordinates, from a Hessian of ours.

    The Hessian is computed by ``hessian_of`` at the start, and again where geomeTRIC redefines its coordinates; between
    it is geomeTRIC's own update. Convergence is ASE's: the largest force. The optimizer keeps no restart file.

    Args:
        atoms: a molecule with a calculator; no atoms held, not periodic.
        order: 0 for a minimum, 1 for a saddle point, to which the lowest mode is followed.
        hessian_every: the Hessian is computed at every so many steps too; 0: not.
        hessian: computes it instead of ``hessian_of``: from ``atoms`` to (3n, 3n), eV/Å².
        trust_radius: at the start, Å; default: geomeTRIC's own, 0.1 for minima and 0.01 for saddle points.
        **options: of ASE's ``Optimizer``: ``logfile``, ``trajectory``, …

    Raises:
        MissingDependencyError: if geomeTRIC is not installed.
        ConfigError: if a setting is out of range.
        InputError: if the structure is periodic, one atom, or has constraints.

    Attributes:
        hessian_calls: how often the Hessian was computed.

    Source: Wang and Song, J. Chem. Phys. 144, 214108 (2016).
    """

    def __init__(
        self,
        atoms: Atoms,
        *,
        order: int = 0,
        hessian_every: int = 0,
        hessian: HessianFunction | None = None,
        trust_radius: float | None = None,
        **options: Any,
    ) -> None:
        if order not in (0, 1) or hessian_every < 0:
            raise ConfigError(f"order must be 0 or 1 and hessian_every 0 or more; found {order} and {hessian_every}")
        if trust_radius is not None and not 0 < trust_radius < np.inf:
            raise ConfigError(f"the trust radius must be positive and finite (Å); found {trust_radius}")
        require_geometric()
        _require_free_molecule(atoms)
        self.order, self.hessian_every, self.hessian_calls = order, hessian_every, 0
        self._hessian_function, self._trust_radius = hessian, trust_radius
        self._machine: Any = None
        super().__init__(atoms, **options)

    def step(self, gradient: FloatArray | None = None) -> None:
        """Move once, or back where the last step was wrong."""
        try:
            if self._machine is None:
                self._machine = self._started()
            self._step(self._machine)
        except AtomsymError:
            raise
        except Exception as error:  # geomeTRIC raises whatever it likes
            raise CalculationError(
                f"geomeTRIC failed at step {self.nsteps}: {type(error).__name__}: {error}"
            ) from error

    def _step(self, machine: Any) -> None:
        states = importlib.import_module("geometric.optimize").OPT_STATE
        for _ in range(TRIES):
            machine.step()
            if machine.state == states.NEEDS_EVALUATION:
                break
        else:
            raise CalculationError(f"geomeTRIC finds no coordinates for step {self.nsteps}")
        machine.calcEnergyForce()
        computed = self.hessian_every and (self.nsteps + 1) % self.hessian_every == 0
        if computed:
            machine.Hx = self._hessian()
        machine.evaluateStep()  # takes Hx if it is there, else its own update
        if computed:
            del machine.Hx
        self.atoms.positions = machine.X.reshape(-1, 3) * BOHR  # where it goes on from: not moved if it was rejected

    def _started(self) -> Any:
        """geomeTRIC's optimizer at the present positions, with the Hessian there."""
        optimize, internal, molecules = (
            importlib.import_module(f"geometric.{name}") for name in ("optimize", "internal", "molecule")
        )
        molecule = molecules.Molecule()
        molecule.elem, molecule.xyzs = list(self.atoms.symbols), [self.atoms.positions.copy()]
        molecule.build_topology()
        coordinates = internal.DelocalizedInternalCoordinates(molecule, build=True, connect=False, addcart=False)
        chosen = {} if self._trust_radius is None else {"trust": self._trust_radius}
        params = optimize.OptParams(
            transition=bool(self.order), maxiter=NEVER, convergence_gmax=0.0, frequency=False, hessian="never", **chosen
        )
        params.hess_data = self._hessian()
        start = self.atoms.positions.ravel() / BOHR
        machine = optimize.Optimizer(start, molecule, coordinates, _Engine(self.atoms), ".", params, print_info=False)
        machine.rebuild_hessian = lambda: self._rebuild(machine)  # its own would fall back to a guess
        machine.calcEnergyForce()
        machine.prepareFirstStep()
        return machine

    def _rebuild(self, machine: Any) -> None:
        machine.H0 = machine.IC.calcHess(machine.X, machine.gradx, self._hessian(machine.X))
        machine.H = machine.H0.copy()

    def _hessian(self, coordinates: FloatArray | None = None) -> FloatArray:
        """The Hessian at coordinates in bohr, or at the present ones; hartree/bohr²."""
        if coordinates is not None:
            self.atoms.positions = coordinates.reshape(-1, 3) * BOHR
        self.hessian_calls += 1
        if self._hessian_function is None:
            found = hessian_of(self.atoms).hessian
        else:
            found = np.asarray(self._hessian_function(self.atoms), dtype=np.float64)
        if not np.isfinite(found).all():
            raise CalculationError("the Hessian is not finite")
        return found * (BOHR**2 / HARTREE)


class _Engine:
    """What geomeTRIC asks of a program: energy in hartree and gradient in hartree/bohr at coordinates in bohr."""

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms

    def calc(self, coordinates: FloatArray, folder: str, **_: Any) -> dict[str, Any]:
        self.atoms.positions = coordinates.reshape(-1, 3) * BOHR
        forces = forces_of(self.atoms)
        energy = float(self.atoms.get_potential_energy())
        return {"energy": energy / HARTREE, "gradient": -forces.ravel() * (BOHR / HARTREE)}

    def clearCalcs(self) -> None:  # noqa: N802 - geomeTRIC's name
        """Nothing is kept."""

    def save_guess_files(self, folder: str) -> None:
        """There are none."""

    def load_guess_files(self, folder: str) -> None:
        """There are none."""


def _require_free_molecule(atoms: Atoms) -> None:
    if not isinstance(atoms, Atoms) or atoms.pbc.any():
        raise InputError("geomeTRIC optimizes molecules here; take another optimizer for periodic structures and cells")
    if held_atoms(atoms).any():
        raise InputError("the structure holds atoms fixed; rfo, newton and prfo can do that, geomeTRIC not here")
    if len(atoms) < 2:
        raise InputError("one atom has nothing to optimize")
