"""pymatgen's transformations: plain data there and back, the same result for the same seed, ranked results."""

from __future__ import annotations

import json
from typing import Any

import moyopy
import numpy as np
import pytest
from monty.json import MontyDecoder
from pymatgen.alchemy.materials import TransformedStructure
from pymatgen.core import Lattice, Structure

from atomsym.calculators.pymatgen.prototypes import aflow_library, aflow_prototypes
from atomsym.calculators.pymatgen.transformations import (
    PotentialRelaxTransformation,
    RealizeProtostructureTransformation,
    SymmetricRelaxTransformation,
)
from atomsym.core import ConfigError, InputError
from atomsym.generators.realisation import closest_contact
from atomsym.symmetry.wyckoff import Protostructure, analyse, canonical

EMT = "ase.calculators.emt:EMT"
CU3AU = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.9), ["Au", "Cu"], [[0, 0, 0], [0, 0.5, 0.5]])
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
ALL: list[Any] = [
    RealizeProtostructureTransformation(count=3, geometries="random", model=EMT, seed=4),
    RealizeProtostructureTransformation(protostructure=[136, [["Sn", "a"], ["O", "f"]]]),
    SymmetricRelaxTransformation(EMT, fmax=0.01, max_steps=77),
    PotentialRelaxTransformation(EMT, cell=False, rattle=0.03, seed=5),
]


def group_of(structure: Structure) -> int:
    """By moyopy alone."""
    numbers = [site.specie.Z for site in structure]
    cell = moyopy.Cell(structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
    return int(moyopy.MoyoDataset(cell, symprec=1e-3).number)


@pytest.mark.parametrize("transformation", ALL, ids=lambda each: type(each).__name__)
def test_they_survive_json(transformation: Any) -> None:
    text = json.dumps(transformation.as_dict())
    again = MontyDecoder().process_decoded(json.loads(text))
    assert type(again) is type(transformation)
    assert again.as_dict() == transformation.as_dict()
    assert again.inverse is None
    assert again.is_one_to_many == isinstance(transformation, RealizeProtostructureTransformation)


def test_protostructures_are_realised_ranked_by_energy_and_the_same_for_a_seed() -> None:
    make = RealizeProtostructureTransformation(count=4, geometries="random", model=EMT, seed=1)
    ordered = Structure.from_spacegroup("P4/mmm", Lattice.tetragonal(2.8, 3.7), ["Cu", "Au"], [[0, 0, 0], [0.5] * 3])
    ranked = make.apply_transformation(ordered, return_ranked_list=True)
    energies = [each["energy_per_atom"] for each in ranked]
    assert energies == sorted(energies)
    assert len(set(energies)) == 4
    again = make.apply_transformation(ordered, return_ranked_list=2)
    assert [each["energy_per_atom"] for each in again] == energies[:2]
    assert make.apply_transformation(ordered) == ranked[0]["structure"]
    other = RealizeProtostructureTransformation(count=4, geometries="random", model=EMT, seed=2)
    assert other.apply_transformation(ordered) != ranked[0]["structure"]
    for each in ranked:
        assert group_of(each["structure"]) == 123
        assert each["source"] == "random"


def test_known_prototypes_come_first() -> None:
    make = RealizeProtostructureTransformation(protostructure=[136, [["Sn", "a"], ["O", "f"]]])
    first, second = make.apply_transformation(CU3AU, return_ranked_list=True)
    assert "136" in first["source"]
    assert second["source"] == "random"
    assert first["energy_per_atom"] is None
    assert group_of(first["structure"]) == 136
    assert first["structure"].composition.reduced_formula == "SnO2"
    assert first["contact"] > 0.65


def test_the_library_holds_what_it_says() -> None:
    """Names of AFLOW carry the space group: the analysis finds it in nearly all."""
    known = aflow_prototypes()
    assert len(known) > 250
    same = [int(name.split("_")[2]) == crystal.protostructure.space_group for name, crystal in known]
    assert np.mean(same) > 0.97
    (salt, *_) = aflow_library().matches(Protostructure(225, ((12, "b"), (8, "a"))))
    assert canonical(salt.crystal.protostructure) == canonical(Protostructure(225, ((12, "a"), (8, "b"))))
    assert salt.contact == pytest.approx(closest_contact(salt.crystal))


def test_relaxation_with_symmetry_comes_to_the_lattice_constant_of_the_potential() -> None:
    """3.71 Å is Cu₃Au's of the effective-medium potential; the primitive and conventional cells are the same here."""
    perturbed = CU3AU.copy()
    perturbed.perturb(1e-4)
    make = SymmetricRelaxTransformation(EMT, smax=0.01)
    (found,) = make.apply_transformation(perturbed, return_ranked_list=True)
    assert found["converged"]
    assert found["reason"] == ""
    assert found["space_group"] == 221
    relaxed = found["structure"]
    assert relaxed.lattice.a == pytest.approx(3.71, abs=0.01)
    crystal = analyse(relaxed.lattice.matrix, relaxed.frac_coords, [site.specie.Z for site in relaxed], symprec=1e-6)
    assert crystal.protostructure.space_group == 221
    few = SymmetricRelaxTransformation(EMT, max_steps=2).apply_transformation(CU3AU, return_ranked_list=True)[0]
    assert not few["converged"]
    assert few["reason"]


def test_free_relaxation_goes_to_the_same_minimum() -> None:
    make = PotentialRelaxTransformation(EMT, fmax=0.005, smax=0.01, rattle=0.05, seed=3)
    (found,) = make.apply_transformation(CU3AU, return_ranked_list=True)
    assert found["converged"]
    assert found["structure"].volume ** (1 / 3) == pytest.approx(3.71, abs=0.01)
    symmetric = SymmetricRelaxTransformation(EMT, smax=0.01).apply_transformation(CU3AU, return_ranked_list=True)[0]
    assert found["energy_per_atom"] == pytest.approx(symmetric["energy_per_atom"], abs=1e-4)
    held = PotentialRelaxTransformation(EMT, cell=False).apply_transformation(CU3AU)
    assert held.lattice == CU3AU.lattice
    few = PotentialRelaxTransformation(EMT, max_steps=1).apply_transformation(CU3AU, return_ranked_list=True)[0]
    assert (few["steps"], few["converged"]) == (1, False)


def test_the_history_of_pymatgen_records_them() -> None:
    made = TransformedStructure(CU3AU, [SymmetricRelaxTransformation(EMT)])
    assert made.history[-1]["@class"] == "SymmetricRelaxTransformation"
    assert made.history[-1]["model"] == EMT


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RealizeProtostructureTransformation(geometries="best"), "one of random, aflow"),
        (lambda: RealizeProtostructureTransformation(count=-1), "must not be negative"),
        (lambda: RealizeProtostructureTransformation(protostructure=[136, ["Ti a"]]), "is written like"),
        (lambda: RealizeProtostructureTransformation(protostructure=[136, [["Xx", "a"]]]), "not a chemical element"),
        (lambda: SymmetricRelaxTransformation(EMT, fmax=0), "fmax must be positive"),
        (lambda: PotentialRelaxTransformation(EMT, rattle=-1), "must not be negative"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_disordered_structures_and_unknown_models_are_refused() -> None:
    mixed = Structure(Lattice.cubic(3.9), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(InputError, match="disordered"):
        SymmetricRelaxTransformation(EMT).apply_transformation(mixed)
    with pytest.raises(InputError, match="disordered"):
        RealizeProtostructureTransformation().apply_transformation(mixed)
    with pytest.raises(ConfigError, match="cannot be imported"):
        SymmetricRelaxTransformation("no.such.module:Thing").apply_transformation(CU3AU)
