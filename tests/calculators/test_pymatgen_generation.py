"""Crystals generated as a transformation of pymatgen: conditions that hold, the same result for a seed, plain data."""

from __future__ import annotations

import json
from typing import Any

import moyopy
import pytest
from monty.json import MontyDecoder
from pymatgen.alchemy.materials import TransformedStructure
from pymatgen.core import Element, Lattice, Structure

from atomsym.calculators.pymatgen.transformations import (
    RealizeProtostructureTransformation,
    SymmetricRelaxTransformation,
    WyckoffGenerationTransformation,
    generate,
)
from atomsym.core import AtomsymError, CalculationError, ConfigError, InputError
from atomsym.generators.realisation import DISTANCE_FLOOR
from atomsym.symmetry.wyckoff import Protostructure, canonical

EMT = "ase.calculators.emt:EMT"
CU3AU = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.9), ["Au", "Cu"], [[0, 0, 0], [0, 0.5, 0.5]])
MIXED = Structure(Lattice.cubic(3.9), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])


def made_by(transformation: WyckoffGenerationTransformation, start: Structure = CU3AU) -> list[dict[str, Any]]:
    found = transformation.apply_transformation(start, return_ranked_list=True)
    assert isinstance(found, list)
    return found


def group_of(structure: Structure) -> int:
    """By moyopy alone."""
    numbers = [site.specie.Z for site in structure]
    cell = moyopy.Cell(structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
    return int(moyopy.MoyoDataset(cell, symprec=1e-3).number)


def keys_of(made: list[dict[str, Any]]) -> list[Protostructure]:
    return [
        canonical(Protostructure(group, tuple((Element(symbol).Z, letter) for symbol, letter in orbits)))
        for group, orbits in (each["protostructure"] for each in made)
    ]


def test_without_a_word_they_are_polymorphs_of_the_structure() -> None:
    made = made_by(WyckoffGenerationTransformation(5, max_atoms=16))
    assert len(set(keys_of(made))) == len(made) == 5
    likelihoods = [each["log_likelihood"] for each in made]
    assert likelihoods == sorted(likelihoods, reverse=True)
    for each in made:
        structure = each["structure"]
        assert structure.composition.reduced_formula == "Cu3Au"
        assert len(structure) <= 16
        assert group_of(structure) == each["space_group"] == each["protostructure"][0]
        assert each["found_space_group"] == each["space_group"]
        assert each["contact"] > DISTANCE_FLOOR
        assert each["energy_per_atom"] is each["e_above_hull"] is each["converged"] is None


def test_what_is_kept_and_what_is_asked_for_hold_together() -> None:
    wanted = {"keep": ["chemical_system", "space_group"], "exclude": ["Ag"], "n_atoms": 8, "symprec": 0.05}
    perturbed = CU3AU.copy()
    perturbed.perturb(0.002)
    for each in made_by(WyckoffGenerationTransformation(3, **wanted), perturbed):
        assert each["structure"].chemical_system == "Au-Cu"
        assert len(each["structure"]) == 8
        assert group_of(each["structure"]) == 221
    free = WyckoffGenerationTransformation(4, elements="Ni-Al-O", require=["Al"], space_groups=(62, 225), max_atoms=20)
    for each in made_by(free, MIXED):  # conditions on the chemistry: the structure is not even looked at
        assert {"Al"} <= {element.symbol for element in each["structure"].composition} <= {"Ni", "Al", "O"}
        assert group_of(each["structure"]) in (62, 225)


def test_the_known_prototype_comes_first_and_fewer_crystals_are_no_error() -> None:
    """Eight atoms of CuAu in Fm-3m can only be rock salt."""
    only = {"formula": "AuCu", "space_groups": [225], "n_atoms": 8}
    (salt,) = made_by(WyckoffGenerationTransformation(4, **only))
    assert "_225_" in salt["source"]
    (random,) = made_by(WyckoffGenerationTransformation(4, geometries="random", **only))
    assert random["source"] == "random"
    again = RealizeProtostructureTransformation(protostructure=salt["protostructure"]).apply_transformation(CU3AU)
    assert again == salt["structure"]


def test_a_model_relaxes_and_ranks_and_the_seed_decides() -> None:
    wanted: dict[str, Any] = {"n": 3, "space_groups": [123, 221, 225], "max_atoms": 8, "model": EMT, "realisations": 2}
    made = made_by(WyckoffGenerationTransformation(**wanted, seed=1, smax=0.01))
    heights = [each["e_above_hull"] for each in made]
    assert heights == sorted(heights)
    for each in made:
        assert each["converged"]
        assert each["reason"] == ""
        assert each["steps"] > 0
    energies = [each["energy_per_atom"] for each in made]
    assert [height - heights[0] for height in heights] == pytest.approx([e - energies[0] for e in energies], abs=1e-9)
    relaxing = SymmetricRelaxTransformation(EMT, smax=0.01)
    copper, gold = (
        relaxing.apply_transformation(Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [name], [[0, 0, 0]]), True)[
            0
        ]
        for name, a in (("Cu", 3.6), ("Au", 4.1))
    )
    mixed = 0.75 * copper["energy_per_atom"] + 0.25 * gold["energy_per_atom"]
    formation = [each["formation_energy_per_atom"] for each in made]
    assert formation == pytest.approx([energy - mixed for energy in energies], abs=1e-3)
    assert heights[0] == pytest.approx(max(0.0, formation[0]), abs=1e-9)
    again, other = (made_by(WyckoffGenerationTransformation(**wanted, seed=seed, smax=0.01)) for seed in (1, 2))
    assert [each.pop("structure") for each in again] == [each.pop("structure") for each in made]
    assert again == made
    assert [each["log_likelihood"] for each in other] != [each["log_likelihood"] for each in made]


def test_energies_without_relaxation_and_with_several_compositions() -> None:
    wanted: dict[str, Any] = {"keep": "chemical_system", "space_groups": [123, 225], "max_atoms": 6, "relax": False}
    made = made_by(WyckoffGenerationTransformation(4, model=EMT, **wanted))
    assert len({each["structure"].composition.reduced_formula for each in made}) > 1
    heights = [each["e_above_hull"] for each in made]
    assert heights == sorted(heights)
    for each in made:
        assert (each["converged"], each["reason"], each["steps"]) == (False, "not relaxed", 0)
        assert 0 <= each["e_above_hull"] == pytest.approx(max(0.0, each["formation_energy_per_atom"]), abs=1.0)


def test_it_survives_json_and_works_in_the_history_of_pymatgen() -> None:
    make = WyckoffGenerationTransformation(
        2, ["composition"], space_groups=(221, 225), max_atoms=8, model=EMT, relax=False, seed=3
    )
    again = MontyDecoder().process_decoded(json.loads(json.dumps(make.as_dict())))
    assert type(again) is WyckoffGenerationTransformation
    assert again.as_dict() == make.as_dict()
    assert again.is_one_to_many
    assert again.inverse is None
    first, second = made_by(make)
    assert made_by(again)[1]["structure"] == second["structure"]
    assert make.apply_transformation(CU3AU) == first["structure"]
    assert len(make.apply_transformation(CU3AU, return_ranked_list=1)) == 1
    history = TransformedStructure(CU3AU)
    (alternative,) = history.append_transformation(make, return_alternatives=True)
    assert history.final_structure == first["structure"]
    assert alternative.final_structure == second["structure"]
    kept = json.loads(json.dumps(alternative.as_dict()))
    assert TransformedStructure.from_dict(kept).history[-1]["output_parameters"]["source"] == second["source"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be positive"),
        ({"seed": -1}, "seed must not be negative"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"realisations": 0}, "realisations must be positive"),
        ({"geometries": "best"}, "one of random, aflow"),
        ({"keep": "formula"}, "keep takes some of composition, chemical_system, space_group"),
        ({"elements": ["Xx"]}, "elements: .*not a chemical element"),
        ({"elements": "Ti-O", "require": ["Fe"]}, "Fe must occur and may not occur"),
        ({"formula": "TiO2", "exclude": ["O"]}, "may not occur"),
        ({"formula": "Ti0.5O"}, "not a chemical formula"),
        ({"formula": "Ti!"}, "not a chemical formula"),
        ({"formula": "Xx2O"}, "not a chemical formula"),
        ({"formula": ""}, "not a chemical formula"),
        ({"space_groups": [231]}, "no space group 231"),
        ({"space_groups": ["Pnma"]}, "no space group 'Pnma'"),
        ({"n_atoms": 500}, "n_atoms must be at most 120"),
        ({"max_atoms": 0}, "max_atoms must be at least 1"),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WyckoffGenerationTransformation(**arguments)


@pytest.mark.parametrize(
    ("arguments", "structure", "message"),
    [
        ({}, MIXED, "disordered"),
        ({"max_atoms": 3}, CU3AU, "composition of Cu3Au is to be kept: a formula unit has 4 atoms"),
        ({"keep": "composition", "formula": "CuAu"}, CU3AU, "the formula is another one"),
        ({"keep": "chemical_system", "formula": "TiO2"}, CU3AU, "the formula is of other elements"),
        ({"keep": "chemical_system", "elements": ["Cu"]}, CU3AU, "Au must occur and may not occur"),
        ({"keep": "space_group", "space_groups": [225]}, CU3AU, "group of the structure, 221, is to be kept"),
        ({"n_atoms": 4, "space_groups": [227]}, CU3AU, "no crystal of the space groups 227"),
        ({"generator": "nobody"}, CU3AU, "nobody"),
        ({"model": "nobody"}, CU3AU, "nobody"),
    ],
)
def test_contradictions_with_the_structure_are_told_before_the_work(
    arguments: dict[str, Any], structure: Structure, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "draw_different", lambda *_, **__: pytest.fail("drew"))
    with pytest.raises(AtomsymError, match=message) as error:
        WyckoffGenerationTransformation(**arguments).apply_transformation(structure)
    assert isinstance(error.value, ConfigError | InputError)


def test_a_model_that_knows_none_of_the_crystals_is_an_error() -> None:
    make = WyckoffGenerationTransformation(1, formula="TiO2", space_groups=[136], n_atoms=6, model=EMT)
    with pytest.raises(CalculationError, match="no energy of any of 1 crystals"):
        make.apply_transformation(CU3AU)
