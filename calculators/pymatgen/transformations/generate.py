"""New crystals under hard conditions: drawn by a generator, realised, relaxed and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import units
from ase.calculators.calculator import BaseCalculator
from pymatgen.core import Composition, Structure

from atomsym.artifacts.generators import load_generator
from atomsym.calculators.ase.load import load_calculator
from atomsym.calculators.best_geometry import best_geometry, energy_per_atom
from atomsym.calculators.pymatgen.transformations.base import (
    AFLOW,
    RankedTransformation,
    library_of,
    require_geometries,
    require_positive,
    structure_of,
)
from atomsym.calculators.pymatgen.transformations.conditions import kept_of, wish_of
from atomsym.calculators.symmetric_relaxation import relax_symmetric
from atomsym.core import CalculationError, ConfigError, InputError
from atomsym.core.elements import atomic_number_of, symbol_of
from atomsym.generators import GeneratedProtostructure, draw_different
from atomsym.generators.realisation import PrototypeLibrary, simple_crystals
from atomsym.symmetry.wyckoff import SymmetricCrystal, analyse

Result = dict[str, Any]


class WyckoffGenerationTransformation(RankedTransformation):
    """Different crystals that meet hard conditions: polymorphs of a structure's composition if nothing else is said.

    A generator draws space groups and occupied Wyckoff positions; of several geometries of each the best is taken and,
    with a model, relaxed in what its space group leaves free. Results, conventional standard cells, have

    - ``space_group``, and ``protostructure`` as ``RealizeProtostructureTransformation`` takes it; ``found_space_group``
      that the analysis finds in the final geometry, which may have gained symmetry, None if it fails;
    - ``source``, the known prototype that the geometry began from, or ``random``, and ``contact``, the smallest
      distance of two atoms in units of the sum of their covalent radii as it began;
    - ``log_likelihood`` of the draw, in nats;
    - with a model, else None: ``energy_per_atom``; ``formation_energy_per_atom`` from the best of a few simple crystals
      of each element, relaxed with the same model; ``e_above_hull`` of those and of the results, eV/atom, which says
      nothing about phases that are in neither; ``converged``, ``steps`` and ``reason``, why not.

    The best comes first: by ``e_above_hull``, without a model by ``log_likelihood``. Where there are fewer crystals
    than were asked for, all of them come.

    Args:
        n: different crystals.
        keep: what of the structure the crystals share: one or several of ``composition``, ``chemical_system`` (all of
            its elements and no others) and ``space_group``; an empty list: nothing, the structure is not looked at.
            None: the composition, or nothing if ``elements``, ``require`` or ``formula`` is given.
        elements: symbols that may occur, a list or such as ``Ti-O``; None: all.
        require: symbols that must occur.
        exclude: symbols that may not.
        formula: exact composition, such as ``TiO2``.
        space_groups: numbers to choose from; None: as in the generator's training data.
        n_atoms: exactly so many in the conventional cell; 0: any number.
        max_atoms: at most so many.
        generator: name or file of a trained generator.
        temperature: of the draws; below 1 more of the likely, above 1 more of the unlikely.
        realisations: geometries tried for each crystal.
        geometries: ``aflow``: those of AFLOW prototypes with the same Wyckoff positions first; ``random``: none.
        model: by name or as ``module:factory`` of an ASE calculator; None: geometries stay as drawn.
        relax: whether the model relaxes the crystals; else it only gives energies.
        fmax: at rest when no atom has a larger force, eV/Å, …
        smax: … and no component of the stress is larger, GPa.
        max_steps: evaluations at most, of a crystal.
        time_limit: s of wall time, of a crystal.
        seed: of everything random.
        symprec: Å, within which atoms count as related by symmetry, in the results and in a structure whose space group
            is kept.

    Raises:
        ConfigError: if an argument is out of range or conditions contradict each other; when it is applied, also if
            they contradict what is kept or no crystal meets them.

    Example:
        >>> from pymatgen.core import Lattice, Structure
        >>> rutile = Structure.from_spacegroup(
        ...     "P4_2/mnm", Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
        ... )
        >>> polymorphs = WyckoffGenerationTransformation(3, max_atoms=12)
        >>> made = polymorphs.apply_transformation(rutile, return_ranked_list=True)
        >>> [each["structure"].composition.reduced_formula for each in made]
        ['TiO2', 'TiO2', 'TiO2']
    """

    def __init__(
        self,
        n: int = 10,
        keep: Sequence[str] | str | None = None,
        elements: Sequence[str] | str | None = None,
        require: Sequence[str] | str | None = None,
        exclude: Sequence[str] | str | None = None,
        formula: str | None = None,
        space_groups: Sequence[int] | None = None,
        n_atoms: int = 0,
        max_atoms: int = 60,
        generator: str = "wyformer",
        temperature: float = 1.0,
        realisations: int = 4,
        geometries: str = AFLOW,
        model: str | None = None,
        relax: bool = True,
        fmax: float = 0.05,
        smax: float = 0.5,
        max_steps: int = 200,
        time_limit: float = 120.0,
        seed: int = 0,
        symprec: float = 0.01,
    ) -> None:
        require_geometries(geometries)
        require_positive(
            n=n, temperature=temperature, realisations=realisations, fmax=fmax, smax=smax, max_steps=max_steps,
            time_limit=time_limit, symprec=symprec,
        )  # fmt: skip
        if seed < 0:
            raise ConfigError(f"seed must not be negative; found {seed}")
        self.n, self.keep, self.elements, self.require, self.exclude = n, keep, elements, require, exclude
        self.formula, self.space_groups, self.n_atoms, self.max_atoms = formula, space_groups, n_atoms, max_atoms
        self.generator, self.temperature, self.realisations = generator, temperature, realisations
        self.geometries, self.model, self.relax = geometries, model, relax
        self.fmax, self.smax, self.max_steps, self.time_limit = fmax, smax, max_steps, time_limit
        self.seed, self.symprec = seed, symprec
        self._kept = kept_of(keep, chemistry=any(each is not None for each in (elements, require, formula)))
        self._wish = wish_of(elements, require, exclude, formula, space_groups, n_atoms, max_atoms)

    @property
    def is_one_to_many(self) -> bool:
        """True."""
        return True

    def _ranked(self, structure: Structure) -> list[Result]:
        wish = self._wish.keeping(self._kept, structure, self.symprec)
        generator = load_generator(self.generator)
        generator.group_probabilities(wish.conditions, wish.space_groups)  # is there any such crystal?
        calculator = None if self.model is None else load_calculator(self.model)
        library = library_of(self.geometries)
        drawn = draw_different(
            generator, self.n, conditions=wish.conditions, space_groups=wish.space_groups,
            temperature=self.temperature, seed=self.seed,
        )  # fmt: skip
        if not drawn.found:
            raise CalculationError(
                f"none of {drawn.n_drawn} draws gave a crystal that exists under these conditions; loosen them"
            )
        made = [self._made(index, each, library, calculator) for index, each in enumerate(drawn.found)]
        if calculator is not None:
            if all(each["energy_per_atom"] is None for each in made):
                raise CalculationError(f"no energy of any of {len(made)} crystals; of the first: {made[0]['reason']}")
            self._add_hull(made, calculator)
        return sorted(made, key=_place)

    def _made(
        self,
        index: int,
        drawn: GeneratedProtostructure,
        library: PrototypeLibrary | None,
        calculator: BaseCalculator | None,
    ) -> Result:
        """A result, still without its place among the others."""
        began = best_geometry(
            drawn.protostructure, generator=np.random.default_rng([self.seed, index]), prototypes=library,
            count=self.realisations, calculator=calculator,
        )  # fmt: skip
        crystal, relaxed = (began.crystal, {}) if calculator is None else self._relaxed(began.crystal, calculator)
        own = crystal.protostructure
        return {
            "structure": structure_of(crystal),
            "space_group": own.space_group,
            "found_space_group": _found_group(crystal, self.symprec),
            "protostructure": [own.space_group, [[symbol_of(z), letter] for z, letter in own.orbits]],
            "source": began.source,
            "contact": began.contact,
            "log_likelihood": drawn.log_likelihood,
            **dict.fromkeys(_WITH_MODEL),
            **relaxed,
        }

    def _relaxed(self, crystal: SymmetricCrystal, calculator: BaseCalculator) -> tuple[SymmetricCrystal, Result]:
        """The crystal after the model's work, and what came of it; no energy if the model failed."""
        if not self.relax:
            energy = energy_per_atom(crystal, calculator)
            known = np.isfinite(energy)
            return crystal, {
                "energy_per_atom": energy if known else None,
                "converged": False,
                "reason": "not relaxed" if known else "the calculator failed",
                "steps": 0,
            }
        found = relax_symmetric(
            crystal, calculator, fmax=self.fmax, smax=self.smax * units.GPa, max_steps=self.max_steps,
            time_limit=self.time_limit,
        )  # fmt: skip
        return found.crystal, {
            "energy_per_atom": found.energy / found.crystal.n_atoms if np.isfinite(found.energy) else None,
            "converged": found.converged,
            "reason": found.reason,
            "steps": found.steps,
        }

    def _add_hull(self, made: list[Result], calculator: BaseCalculator) -> None:
        """Formation energies and energies above the hull, where the energies of all elements are known."""
        from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram  # takes a while to import

        known = [each for each in made if each["energy_per_atom"] is not None]
        phases = [
            PDEntry(each["structure"].composition, each["energy_per_atom"] * len(each["structure"])) for each in known
        ]
        elements = sorted({str(element) for each in known for element in each["structure"].composition})
        references = [self._element(symbol, calculator) for symbol in elements]
        if any(energy is None for energy in references):
            return
        simple = [PDEntry(Composition(symbol), energy) for symbol, energy in zip(elements, references, strict=True)]
        diagram = PhaseDiagram([*phases, *simple])
        for each, phase in zip(known, phases, strict=True):
            each["formation_energy_per_atom"] = float(diagram.get_form_energy_per_atom(phase))
            each["e_above_hull"] = max(0.0, float(diagram.get_e_above_hull(phase, allow_negative=True)))

    def _element(self, symbol: str, calculator: BaseCalculator) -> float | None:
        """The least energy of its simple crystals, eV/atom; None if the model knows none of them."""
        energies = []
        for simple in simple_crystals(atomic_number_of(symbol), seed=self.seed):
            found = relax_symmetric(
                simple.crystal, calculator, fmax=self.fmax, smax=self.smax * units.GPa, max_steps=self.max_steps,
                time_limit=self.time_limit,
            )  # fmt: skip
            energies.append(found.energy / found.crystal.n_atoms)
        finite = [energy for energy in energies if np.isfinite(energy)]
        return min(finite, default=None)


_WITH_MODEL = ("energy_per_atom", "formation_energy_per_atom", "e_above_hull", "converged", "steps", "reason")


def _found_group(crystal: SymmetricCrystal, symprec: float) -> int | None:
    try:
        found = analyse(crystal.cell, crystal.fractional_positions, crystal.numbers, symprec=symprec)
    except InputError:
        return None
    return found.protostructure.space_group


def _place(result: Result) -> tuple[bool, bool, float, float]:
    """What the results are sorted by: failures last."""
    failed = result["converged"] is not None and result["energy_per_atom"] is None
    hull = result["e_above_hull"]
    return failed, hull is None, hull or 0.0, -result["log_likelihood"]
