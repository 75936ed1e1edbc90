"""The ASE calculator of every atomsym potential."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, fields, replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

import atomsym
import atomsym.calculators  # the shipped models become known by name
from atomsym.artifacts import (
    ModelDescription,
    config_to_dict,
    did_you_mean,
    find_model,
    load_with_description,
    usable_device,
)
from atomsym.calculators.ase.errors import (
    AseArtifactError,
    AseConfigError,
    AseInputError,
    AsePropertyNotAvailableError,
    as_ase_errors,
)
from atomsym.calculators.ase.settings import Settings
from atomsym.calculators.evaluator import Evaluator
from atomsym.core import AtomGraph
from atomsym.core.elements import format_elements
from atomsym.derivatives import HessianMethod
from atomsym.heads import HessianPotential
from atomsym.models import Potential

Model = str | os.PathLike[str] | Potential
_WATCHED = ("numbers", "positions", "cell", "pbc")
_SETTINGS = tuple(field.name for field in fields(Settings))


class AtomsymCalculator(Calculator):
    """Energies, forces, stress and Hessians of a potential, for ASE.

    Results are in ASE's units (eV, Å), as numpy arrays in double precision that no later call changes: ``energy`` and
    ``free_energy`` (the same), ``energies`` per atom, ``forces``, ``stress`` (Voigt order xx yy zz yz xz xy, positive
    under tension) of systems that are periodic in three directions, and ``hessian``. A model of a property other than
    the energy gives that property alone, a number under its name and in its unit, such as
    ``get_property("log10 of the bulk modulus", atoms)``; ``implemented_properties`` names it.

    Only what is asked for is computed, together with what was asked for of the structure before: a dynamics that needs
    forces and stress of every step evaluates the model once a step, a Monte Carlo run pays for energies alone. Any
    change of positions, numbers, cell or pbc since the last calculation, however small and however made, is noticed,
    and so is a change of those entries of ``atoms.info`` that the model declares in ``info_keys``.

    A calculator made from a file pickles as a reference to it: the receiver loads the file when it first needs it and
    refuses another content. One made from a ``Potential`` takes the weights along. Deep copies share the weights.
    One calculator may serve several ``Atoms`` in turn, but not several threads at once.

    Args:
        model: name of a model (list them with ``atomsym models``), path of a model file, or a ``Potential``, which
            is used as it is now and never changed.
        device: "cpu", "cuda", …, or "auto" for the GPU if there is one.
        dtype: "float64", "float32", or "auto" for the precision in which the model is stored. Hessians are always
            computed in float64.
        skin: Å. With 0 the neighbor list is made anew for each structure, which is the fastest on a CPU even for a
            pair potential; above 0 it reaches farther by this much and is kept until an atom has moved half of it.
            Both give the same results.
        backend: of the neighbor list.
        allow_overlap: accept atoms closer than 0.1 Å, which are an error otherwise.
        content_hash: refuse a model file of another content.
        engine: "auto" computes first derivatives with the architecture's inference engine where there is one (MACE on
            the CPU): several times faster, equal within 1e-6 of the largest force. "autograd" never does. Hessians do
            not use it, unless by the method "finite-difference".
        hessian: method of Hessians that are asked for without one: "auto" differentiates the energy,
            "finite-difference" is faster where there is an engine (double precision; equal within 1e-6 of the largest
            entry), "predicted" asks the model's Hessian head.
        forces: "gradient" for derivatives of the energy; "direct" for forces that the model predicts beside it, which
            costs less and conserves no energy (see ``conservative``). Stress and Hessians are derivatives always.
        **kwargs: ``atoms``, ``label`` and ``directory``, as for every ASE calculator.

    Raises:
        InputError, ConfigError: if there is no such model or device, or a setting is unknown.
        ArtifactError: if the model file is damaged. Every error is also one of ASE's, such as
            ``ase.calculators.calculator.InputError``, ``CalculationFailed`` and ``PropertyNotImplementedError``.

    Example:
        >>> from ase.build import bulk
        >>> atoms = bulk("Cu", cubic=True)
        >>> atoms.calc = AtomsymCalculator("copper-morse")
        >>> atoms.get_forces().shape, atoms.get_stress().shape, atoms.calc.get_hessian(atoms).shape
        ((4, 3), (6,), (12, 12))
    """

    name = "atomsym"
    implemented_properties: ClassVar[list[str]] = [
        "energy", "free_energy", "energies", "forces", "stress", "hessian",
    ]  # fmt: skip
    ignored_changes: ClassVar[AbstractSet[str]] = {"initial_charges", "initial_magmoms"}

    def __init__(
        self,
        model: Model,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype = "float64",
        *,
        skin: float = 0.0,
        backend: str = "auto",
        allow_overlap: bool = False,
        content_hash: str | None = None,
        engine: str = "auto",
        hessian: str = "auto",
        forces: str = "gradient",
        **kwargs: Any,
    ) -> None:
        _refuse_unknown(kwargs, ("atoms", "label", "directory"))
        with as_ase_errors():
            settings = Settings(
                str(device), str(dtype), skin, backend, allow_overlap, content_hash, engine, hessian, forces
            )
            self._adopt(model, settings)
        super().__init__(**kwargs)

    def _adopt(self, model: Model, settings: Settings) -> None:
        """Load the model now, so that what is wrong with it shows at once."""
        self._given = model if isinstance(model, Potential) else None
        self._reference = None if isinstance(model, Potential) else _reference(model)
        self._settings = settings
        self._evaluator: Evaluator | None = None
        self._description: ModelDescription | None = None
        self._hessian: NDArray[np.float64] | None = None
        self._asked: set[str] = set()  # of the present structure
        self._habit: set[str] = set()  # of the structure before
        self.atoms: Atoms | None = None
        self.results: dict[str, Any] = {}
        self._load()

    def _load(self) -> Evaluator:
        settings = self._settings
        device = usable_device(settings.device)
        if self._given is not None:
            potential = self._given
            stored = next((p.dtype for p in potential.parameters() if p.dtype.is_floating_point), torch.float64)
        else:
            potential, description = load_with_description(self._reference or "", device)
            stored = torch.float32 if description.dtype == "float32" else torch.float64
            if settings.content_hash not in (None, description.content_hash):
                raise AseArtifactError(
                    f"the model file '{self._reference}' has the content hash {description.content_hash}; "
                    f"{settings.content_hash} was asked for. The file was replaced, or this machine has another version"
                )
            self._description = description
        if settings.forces == "direct" and "forces" not in potential.direct_outputs:
            raise AseConfigError(
                f"forces is 'direct', but this {potential.architecture} potential predicts none beside the energy; "
                "take forces='gradient'"
            )
        self._info_keys: tuple[str, ...] = tuple(getattr(potential, "info_keys", ()))
        if potential.quantity != "energy":
            self.implemented_properties = [potential.quantity]  # type: ignore[misc]
        self._evaluator = Evaluator(
            potential,
            device=device,
            dtype=settings.precision(stored),
            skin=settings.skin,
            backend=settings.backend,
            allow_overlap=settings.allow_overlap,
            engine=settings.engine,
        )
        return self._evaluator

    @property
    def potential(self) -> Potential:
        """The potential as it is evaluated, in evaluation mode; loaded if it is not yet."""
        return self._ready().potential

    @property
    def provenance(self) -> dict[str, Any]:
        """Where results come from: model, its content hash (None for a ``Potential``), program, precision, device."""
        evaluator = self._ready()
        return {
            "model": self._reference or evaluator.potential.architecture,
            "architecture": evaluator.potential.architecture,
            "content_hash": None if self._description is None else self._description.content_hash,
            "program": f"atomsym {atomsym.__version__}",
            "dtype": str(evaluator.dtype).removeprefix("torch."),
            "device": str(evaluator.device),
        }

    def _ready(self) -> Evaluator:
        if self._evaluator is None:
            with as_ase_errors():
                return self._load()
        return self._evaluator

    # ASE's protocol ---------------------------------------------------------------------------------------------------

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """One property; a copy, as ASE does. None if it would have to be computed and that is not allowed.

        Raises:
            PropertyNotAvailableError: if the model does not compute it, or there is no stress for lack of periodicity.
            InputError, CalculationError, OutOfMemoryError: see ``calculate``.
        """
        self._require_implemented({name})
        if atoms is not None and self.check_state(atoms):
            self.reset()
        self._asked.add(name)
        if self._stored(name) is None:
            if not allow_calculation:
                return None
            self.calculate(atoms, [name])
        value = self._stored(name)
        return value.copy() if isinstance(value, np.ndarray) else value

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | tuple[str, ...] | None = None,
        system_changes: list[str] | None = None,
    ) -> None:
        """Compute properties and put them into ``results``; what is known of the same structure is kept.

        Args:
            atoms: the structure; default: that of the last calculation.
            properties: names from ``implemented_properties``; default: the first.
            system_changes: not needed, the calculator looks itself.

        Raises:
            PropertyNotAvailableError: if a property is not computed for such a structure.
            InputError: if the structure cannot be used.
            CalculationError: if the model's answer is not finite.
            OutOfMemoryError: if it would not fit into memory.
        """
        atoms = self._atoms_or_last(atoms)
        wanted = set(properties or self.implemented_properties[:1])
        self._require_available(wanted, atoms)
        if self.check_state(atoms):
            self.reset()
        with as_ase_errors():
            if wanted - {"hessian"}:
                (found,) = self._first_derivatives([atoms], wanted | self._habit)
                self.results = {**self.results, **found}
            if "hessian" in wanted:
                self._hessian = self._second_derivatives(atoms, "auto", None)
        self._asked |= wanted
        super().calculate(atoms, list(wanted), system_changes or all_changes)

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """What of a structure differs from the last calculation. Compared exactly: any change of a bit counts.

        Args:
            atoms: the structure.
            tol: for ASE's interface; not used.
        """
        last = self.atoms
        if last is None:
            return list(all_changes)
        changes = [name for name in _WATCHED if not np.array_equal(_array(last, name), _array(atoms, name))]
        if any(not _same(last.info.get(key), atoms.info.get(key)) for key in self._info_keys):
            changes.append("info")
        return changes

    def reset(self) -> None:
        """Forget results; the next calculation starts from nothing."""
        if self.atoms is not None:
            self._habit, self._asked = self._asked - {"hessian"}, set()
        self.atoms = None
        self.results = {}
        self._hessian = None

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change settings; results are forgotten if any differs.

        Raises:
            ConfigError: if a setting is unknown or has a value that is not allowed.
        """
        _refuse_unknown(kwargs, _SETTINGS)
        changed = {key: value for key, value in kwargs.items() if value != getattr(self._settings, key)}
        with as_ase_errors():
            self._settings = replace(self._settings, **changed)
        if changed:
            self._evaluator = None
            self.reset()
        self.parameters = self._parameters()
        return changed

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Plain data for databases and trajectories: model, settings and the content hash of the model."""
        defaults = asdict(Settings())
        data = self._parameters()
        return {key: v for key, v in data.items() if not (skip_default and key in defaults and v == defaults[key])}

    def get_spin_polarized(self) -> bool:
        """Potentials know no spin."""
        return False

    @property
    def conservative(self) -> bool:
        """Whether forces are derivatives of the energy; False for direct forces."""
        return self._settings.forces == "gradient"

    # Hessians ---------------------------------------------------------------------------------------------------------

    @property
    def predicts_hessians(self) -> bool:
        """Whether the model has a Hessian head; loads the model."""
        with as_ase_errors():
            return isinstance(self._ready().potential, HessianPotential)

    def get_hessian(
        self, atoms: Atoms | None = None, method: HessianMethod = "auto", indices: list[int] | None = None
    ) -> NDArray[np.float64]:
        """Second derivatives of the energy by the positions, in float64 whatever the calculator's dtype.

        Constraints do not enter: for frozen atoms pass the others as ``indices``, which also saves time, or cut the
        matrix afterwards, as ``atomsym.calculators.ase.as_vibrations_data`` does.

        Args:
            atoms: the structure; default: that of the last calculation.
            method: "auto", "vmap" (fast), "rows" (little memory), "finite-difference", or "predicted" for the answer of
                a model's Hessian head; see ``atomsym.derivatives.hessian``. "auto" is the calculator's ``hessian``.
            indices: atoms whose rows and columns are wanted, in that order; negative ones count from the end.
                Default: all.

        Returns:
            Shape (3n, 3n) for n atoms, ordered x1 y1 z1 x2 …, eV/Å², symmetric.

        Raises:
            InputError: if the structure, the method or an index cannot be used.
            OutOfMemoryError: if it would not fit; estimated before it starts.
        """
        if indices is None and method == "auto":
            return np.asarray(self.get_property("hessian", atoms))
        with as_ase_errors():
            return self._second_derivatives(self._atoms_or_last(atoms), method, indices)

    # Pickles and copies -----------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        settings = self._settings
        if self._description is not None:
            settings = replace(settings, content_hash=self._description.content_hash)
        return {
            "reference": self._reference,
            "potential": self._given,
            "settings": settings,
            "info_keys": self._info_keys,
            "properties": self.implemented_properties,
            "atoms": self.atoms,
            "results": self.results,
            "hessian": self._hessian,
            "habit": (self._asked, self._habit),
            "place": (self._directory, self.prefix),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._reference, self._given = state["reference"], state["potential"]
        self._settings, self._info_keys = state["settings"], state["info_keys"]
        self.implemented_properties = state["properties"]  # type: ignore[misc]
        self.atoms, self.results, self._hessian = state["atoms"], dict(state["results"]), state["hessian"]
        self._asked, self._habit = (set(names) for names in state["habit"])
        self._directory, self.prefix = state["place"]
        self._evaluator = self._description = None
        self.use_cache = False
        self.parameters = self._parameters()

    def __deepcopy__(self, memo: dict[int, Any]) -> AtomsymCalculator:
        state = self.__getstate__()
        evaluator, given = self._evaluator, state.pop("potential")
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.__setstate__({**copy.deepcopy(state, memo), "potential": given})
        twin._description = self._description
        if evaluator is not None:
            twin._evaluator = evaluator.fresh()
        twin._settings = self._settings
        twin.parameters = twin._parameters()
        return twin

    # Inside -----------------------------------------------------------------------------------------------------------

    def _parameters(self) -> dict[str, Any]:
        model: Any = self._reference
        if self._given is not None:
            model = {"architecture": self._given.architecture, "config": config_to_dict(self._given.config)}
        described = {} if self._description is None else {"content_hash": self._description.content_hash}
        return {"model": model, **asdict(self._settings), **described}

    def _atoms_or_last(self, atoms: Atoms | None) -> Atoms:
        found = self.atoms if atoms is None else atoms
        if found is None:
            raise AseInputError("no structure: pass atoms, or calculate something first")
        return found

    def _require_implemented(self, wanted: AbstractSet[str]) -> None:
        unknown = ", ".join(sorted(wanted - set(self.implemented_properties)))
        if unknown:
            raise AsePropertyNotAvailableError(
                f"the model does not compute {unknown}; it computes {', '.join(self.implemented_properties)}"
            )

    def _require_available(self, wanted: AbstractSet[str], atoms: Atoms) -> None:
        self._require_implemented(wanted)
        if "stress" in wanted and not atoms.pbc.all():
            raise AsePropertyNotAvailableError(
                f"stress needs a volume, but the system is periodic only in {int(atoms.pbc.sum())} directions "
                f"(pbc = {atoms.pbc.tolist()})"
            )

    def _stored(self, name: str) -> Any:
        return self._hessian if name == "hessian" else self.results.get(name)

    def calculate_many(
        self, structures: Sequence[Atoms], properties: Sequence[str] = ("energy", "forces", "stress")
    ) -> list[dict[str, Any]]:
        """The same properties of several structures from one pass of the model; ``results`` stays as it is.

        Args:
            structures: any of ASE.
            properties: names from ``implemented_properties`` other than the Hessian.

        Returns:
            For each structure what ``results`` would hold.

        Raises:
            InputError, CalculationError, …: as ``calculate``, if one of the structures cannot be computed.
        """
        for atoms in structures:
            self._require_available(set(properties), atoms)
        with as_ase_errors():
            return self._first_derivatives(structures, set(properties)) if structures else []

    def _first_derivatives(self, structures: Sequence[Atoms], wanted: AbstractSet[str]) -> list[dict[str, Any]]:
        evaluator = self._ready()
        graphs = [evaluator.graph(*_arrays(atoms)) for atoms in structures]
        graph = graphs[0] if len(graphs) == 1 else AtomGraph.batch(graphs)
        if evaluator.potential.quantity != "energy":
            return [{evaluator.potential.quantity: value} for value in evaluator.properties(graph)]
        stress = "stress" in wanted and all(bool(atoms.pbc.all()) for atoms in structures)
        direct = self._settings.forces == "direct"
        derived = (("forces", "forces" in wanted and not direct), ("stress", stress))
        asked = [name for name, is_asked in derived if is_asked]
        result = evaluator.evaluate(graph, tuple(asked) or ("energy",))
        by_atom = {"energies": result.energies, "forces": result.outputs["forces"] if direct else result.forces}
        sizes = [len(atoms) for atoms in structures]
        ends = np.cumsum(sizes)[:-1]
        parts = {name: np.split(_numpy(value), ends) for name, value in by_atom.items() if value is not None}
        found: list[dict[str, Any]] = []
        for place, energy in enumerate(result.energy.tolist()):
            found.append(
                {"energy": energy, "free_energy": energy, **{name: part[place] for name, part in parts.items()}}
            )
            if result.stress is not None:
                found[-1]["stress"] = full_3x3_to_voigt_6_stress(_numpy(result.stress[place]))
        return found

    def _second_derivatives(
        self, atoms: Atoms, method: HessianMethod, indices: list[int] | None
    ) -> NDArray[np.float64]:
        if indices is not None:
            indices = _counted(indices, len(atoms))
        chosen = cast(HessianMethod, self._settings.hessian) if method == "auto" else method
        return self._ready().hessian(*_arrays(atoms), method=chosen, indices=indices)

    def __repr__(self) -> str:
        potential = self._ready().potential
        return (
            f"AtomsymCalculator({self._reference or potential.architecture!r}: {potential.architecture} for "
            f"{format_elements(potential.elements)}, cutoff {potential.cutoff:g} Å, {self._settings.dtype}, "
            f"{self._settings.device})"
        )


def _refuse_unknown(given: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            hint = did_you_mean(key, [*known, *_SETTINGS])
            raise AseConfigError(
                f"unknown setting '{key}'{hint} Known: {', '.join(dict.fromkeys([*_SETTINGS, *known]))}"
            )


def _reference(model: str | os.PathLike[str]) -> str:
    """A name stays a name, so that another machine finds its own file; a path becomes absolute."""
    found = find_model(model)
    text = os.fspath(model)
    return text if found.name != text and found.stem == text else str(found.absolute())


def _arrays(atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    return atoms.positions, atoms.numbers, atoms.cell.array, atoms.pbc


def _array(atoms: Atoms, name: str) -> NDArray[Any]:
    if name == "cell":
        return atoms.cell.array
    return atoms.pbc if name == "pbc" else atoms.arrays[name]


def _same(first: Any, second: Any) -> bool:
    """Equality of values of ``atoms.info``, arrays among them; what cannot be compared is different."""
    try:
        return bool(np.array_equal(np.asarray(first), np.asarray(second)))
    except (TypeError, ValueError):
        return False


def _counted(indices: list[int], n_atoms: int) -> list[int]:
    """Negative indices count from the end; the rest is checked below."""
    return [int(index) + n_atoms if -n_atoms <= index < 0 else int(index) for index in indices]


def _numpy(tensor: torch.Tensor) -> NDArray[np.float64]:
    """A new array in double precision that shares no memory with the tensor."""
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float64)
