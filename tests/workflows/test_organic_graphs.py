"""Molecules are enumerated completely and within the rules, and chosen and divided by the settings alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("rdkit")

from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from atomsym.core import ConfigError, InputError
from atomsym.workflows.organic_xtb import OrganicSettings
from atomsym.workflows.organic_xtb.graphs import VALENCE, all_graphs, random_graph, ring_graphs
from atomsym.workflows.organic_xtb.rdkit_molecules import embed, molecule_of, skeleton_of
from atomsym.workflows.organic_xtb.rules import RULES, objection
from atomsym.workflows.organic_xtb.selection import COMPANIONS, PARTS, choose_molecules, make_quotas, part_of, seed_of

ISOMERS = {
    "C2H6O": 2, "C3H8": 1, "C3H8O": 3, "C3H6": 2, "C3H6O": 9, "C3H9N": 4, "C4H10": 2, "C4H8": 5, "C4H6": 9,
    "C4H10O": 7,
}  # fmt: skip
"""Constitutional isomers, counted by hand or found in textbooks; C4H6 holds 1,3-butadiene and eight others."""
HYDROCARBONS = {"C5H12": 3, "C5H10": 10, "C6H14": 5, "C6H12": 25, "C6H6": 217}
"""217 is the published number of valence isomers of benzene."""


def formula(smiles: str) -> str:
    return str(CalcMolFormula(molecule_of(smiles)))


def test_isomers_are_counted_right() -> None:
    small = Counter(formula(graph.smiles()) for size in (3, 4) for graph in all_graphs(size, ("C", "N", "O")))
    small["C4H10O"] = sum(formula(graph.smiles()) == "C4H10O" for graph in all_graphs(5, ("C", "O")))
    small["C2H6O"] = small.pop("C2H6O")
    assert {name: small[name] for name in ISOMERS} == ISOMERS
    carbon = Counter(formula(graph.smiles()) for size in (5, 6) for graph in all_graphs(size, ("C",)))
    assert {name: carbon[name] for name in HYDROCARBONS} == HYDROCARBONS


def test_graphs_keep_the_valences_and_are_all_different() -> None:
    graphs = all_graphs(4, ("C", "N", "O", "F"))
    smiles = [graph.smiles() for graph in graphs]
    assert smiles == sorted(set(smiles))
    for graph in graphs:
        assert min(graph.free_valence()) >= 0
        skeleton = skeleton_of(graph.smiles())
        assert skeleton.n_heavy == 4
        assert (skeleton.numbers == 1).sum() == sum(graph.free_valence())
        assert skeleton.numbers.sum() % 2 == 0  # closed shells


def test_sulfur_and_chlorine_come_when_asked_for() -> None:
    found = {graph.smiles() for graph in all_graphs(2, ("C", "S", "Cl"))}
    assert found == {"C#C", "C=C", "CC", "C=S", "CS", "CCl", "S=S", "SS", "SCl", "ClCl"}


def test_rings_are_enumerated_with_their_aromatic_forms() -> None:
    six = {graph.smiles() for graph in ring_graphs(6, ("C", "N", "O"))}
    assert {"c1ccccc1", "c1ccncc1", "c1cncnc1", "C1CCCCC1", "C1COCCO1", "C1=CCCCC1"} <= six
    assert {"c1ccoc1", "c1cc[nH]c1", "c1cocn1"} <= {graph.smiles() for graph in ring_graphs(5, ("C", "N", "O"))}


@pytest.mark.parametrize(("size", "elements"), [(0, ("C",)), (10, ("C",)), (3, ("C", "Xx")), (3, ())])
def test_other_sizes_and_elements_are_refused(size: int, elements: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        all_graphs(size, elements)


LEFT_OUT = {
    "halogen on an atom other than carbon": "CNF",
    "dioxygen, which is a triplet": "O=O",
    "chain of three single-bonded N, O, S": "COOO",
    "chain of five N, O, S": "n1nn[nH]n1",
    "aromatic O–O": "c1coo1",
    "two neighbouring N, O, S in a ring of three": "C1OO1",
    "ring of three: hetero atom opposite to a double bond": "C1=CO1",
    "two double bonds in a ring of four": "C1=CC=C1",
    "triple bond in a ring": "C1#CCCC1",
    "cumulated double bonds in a ring": "C1=C=CCC1",
    "three cumulated double bonds": "C=C=C=C",
    "double bond at a bridgehead": "C1CC2=CC1C2",
    "two rings of three that share a bond": "C1C2CC12",
}


def test_every_rule_leaves_out_what_it_says() -> None:
    assert sorted(LEFT_OUT) == sorted(RULES)
    assert {name: objection(smiles) for name, smiles in LEFT_OUT.items()} == {name: name for name in LEFT_OUT}
    assert objection("C12C3C1C23") != ""
    assert objection("C12CC13CC23") != ""


@pytest.mark.parametrize(
    "smiles", ["c1ccccc1", "c1cnn[nH]1", "COC", "CC#N", "C=C=O", "NN", "COOC", "CON=O", "C1CO1", "C1CC1=C", "OC(F)F"]
)
def test_ordinary_molecules_break_no_rule(smiles: str) -> None:
    assert objection(smiles) == ""


def test_growth_is_random_but_repeatable_and_within_the_valences() -> None:
    starts = all_graphs(3, ("C", "N", "O", "F"))
    draws = [
        [random_graph(7, tuple(VALENCE), starts, np.random.default_rng([seed, n])) for n in range(60)]
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    grown = [graph for graph in draws[0] if graph is not None]
    assert len(grown) > 50
    assert all(len(graph.elements) == 7 and min(graph.free_valence()) >= 0 for graph in grown)
    assert len({graph.smiles() for graph in grown}) > 45
    assert random_graph(3, ("C", "F"), all_graphs(2, ("F",)), np.random.default_rng(0)) is None  # F2 cannot grow


def test_molecules_are_chosen_by_the_settings_alone() -> None:
    settings = OrganicSettings(molecules=120, max_heavy=6)
    chosen = choose_molecules(settings)
    assert chosen == choose_molecules(settings)
    assert chosen != choose_molecules(OrganicSettings(molecules=120, max_heavy=6, seed=1))
    assert len({item.smiles for item in chosen}) == 120
    assert all(objection(item.smiles) == "" and item.part == part_of(item.smiles) for item in chosen)
    sizes = Counter(item.n_heavy for item in chosen)
    assert set(sizes) == {2, 3, 4, 5, 6} | ({1} if sizes[1] else set())
    assert all(skeleton_of(item.smiles).n_heavy == item.n_heavy for item in chosen if item.n_heavy > 1)


def test_the_parts_are_a_function_of_the_molecule() -> None:
    smiles = [graph.smiles() for graph in all_graphs(4, ("C", "N", "O", "F"))]
    shares = Counter(part_of(one) for one in smiles)
    assert set(shares) == set(PARTS)
    assert 0.06 < shares["test"] / len(smiles) < 0.14
    assert 0.02 < shares["validation"] / len(smiles) < 0.09
    assert {part_of(one) for one in COMPANIONS} == {"train"}
    assert seed_of("CCO", 0) == seed_of("CCO", 0) != seed_of("CCO", 1)


def test_shares_of_sizes_add_up() -> None:
    available = {1: 5, 2: 12, 3: 57, 4: 334, 5: 2000}
    for total in (0, 1, 7, 100, 2700):
        quotas = make_quotas(total, list(range(1, 10)), available)
        assert sum(quotas.values()) == total
        assert all(quotas[size] <= available.get(size, total) for size in quotas)
    assert make_quotas(10, [1, 2], {1: 5, 2: 12}) == {1: 2, 2: 8}
    assert sum(make_quotas(100, [1, 2], {1: 5, 2: 12}).values()) == 17


def test_more_molecules_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigError, match="20 of H, C"):
        choose_molecules(OrganicSettings(molecules=100, max_heavy=2))


def test_starting_geometries_are_repeatable() -> None:
    one, other = (embed("CC(O)C=O", 2, seed=5) for _ in range(2))
    assert len(one) == 2
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert one[0].shape == (len(skeleton_of("CC(O)C=O").numbers), 3)
    with pytest.raises(InputError, match="not a SMILES"):
        embed("C(C", 1, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"molecules": 0}, "molecules must be at least 1"),
        ({"frames_per_molecule": 0}, "frames_per_molecule must be at least 1"),
        ({"hessians_per_molecule": 41}, "hessians_per_molecule must be 0 to"),
        ({"elements": ("H", "N")}, "elements are H, C and any of"),
        ({"elements": ("H", "C", "Si")}, "elements are H, C and any of"),
        ({"max_heavy": 10}, "max_heavy must be 1 to 9"),
        ({"timestep": float("nan")}, "timestep must be positive"),
        ({"lowest_temperature": 3000.0}, "must not be above"),
        ({"min_distance": 0.1}, "min_distance must be"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OrganicSettings(**change)  # type: ignore[arg-type]
