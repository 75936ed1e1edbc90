"""pymatgen structures become graphs and come back, and what a graph cannot hold is an error that names the site."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from pymatgen.core import DummySpecies, Element, Lattice, Molecule, Species, Structure

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.calculators.pymatgen import from_graph, to_graph
from atomsym.core import InputError, MissingDependencyError, UnsupportedElementError
from atomsym.kernels.neighbors import connect

LATTICE = Lattice.from_parameters(5.1, 6.2, 7.3, 80, 95, 110)
SPECIES = ["Na", "Cl", "O"]
FRACTIONAL = [[0.1, 0.2, 0.3], [1.6, -0.7, 0.8], [0.4, 0.9, 0.1]]  # one outside of the cell


def test_a_structure_comes_back_unchanged() -> None:
    structure = Structure(LATTICE, SPECIES, FRACTIONAL)
    again = from_graph(to_graph(structure))
    assert isinstance(again, Structure)
    assert again.species == structure.species
    assert np.allclose(again.cart_coords, structure.cart_coords, atol=1e-12)
    assert np.array_equal(again.lattice.matrix, structure.lattice.matrix)
    assert again.lattice.pbc == (True, True, True)


def test_a_molecule_comes_back_unchanged() -> None:
    molecule = Molecule(["O", "H", "H"], [[0, 0, 0.1], [0.76, 0, 0.6], [-0.76, 0, 0.6]])
    graph = to_graph(molecule, dtype=torch.float32)
    assert graph.dtype == torch.float32
    assert not graph.pbc.any()
    again = from_graph(graph)
    assert isinstance(again, Molecule)
    assert again.species == molecule.species
    assert np.allclose(again.cart_coords, molecule.cart_coords, atol=1e-7)


def test_a_batch_comes_back_as_a_list() -> None:
    slab = Structure(Lattice(LATTICE.matrix, pbc=(True, True, False)), SPECIES, FRACTIONAL)
    molecule = Molecule(["He"], [[1, 2, 3]])
    graph = to_graph([slab, molecule])
    assert graph.pbc.tolist() == [[True, True, False], [False, False, False]]
    again = from_graph(graph)
    assert [type(one) for one in again] == [Structure, Molecule]
    assert again[0].lattice.pbc == (True, True, False)
    assert np.allclose(again[1].cart_coords, [[1, 2, 3]])


def test_oxidation_states_do_not_matter() -> None:
    ions = [Species("Na", 1), Species("Cl", -1), Species("O", -2)]
    assert to_graph(Structure(LATTICE, ions, FRACTIONAL)).numbers.tolist() == [11, 17, 8]


@pytest.mark.parametrize(
    ("species", "error", "message"),
    [
        ("D", UnsupportedElementError, r"sites\[1\] is the isotope D"),
        (Element("T"), UnsupportedElementError, r"sites\[1\] is the isotope T"),
        (Species("D", 1), UnsupportedElementError, r"sites\[1\] is the isotope D"),
        (DummySpecies("X"), UnsupportedElementError, r"sites\[1\] is the dummy species X"),
        (DummySpecies("Xv"), UnsupportedElementError, r"sites\[1\] is the dummy species Xv"),
        ({"Na": 0.5, "K": 0.5}, InputError, r"sites\[1\] is disordered \(K:0.5, Na:0.5\)"),
        ({"Na": 0.5}, InputError, r"sites\[1\] is disordered \(Na:0.5\)"),
    ],
)
def test_i3_what_is_not_one_element_is_refused(species: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        to_graph(Structure(LATTICE, ["Cl", species, "O"], FRACTIONAL))


def test_i1_i2_bad_coordinates_are_refused() -> None:
    with pytest.raises(InputError, match=r"atoms\[1\].*y = nan"):
        to_graph(Molecule(["H", "H"], [[0, 0, 0], [0, np.nan, 0]]))
    with pytest.raises(InputError, match=r"atoms\[0\] and atoms\[1\]"):
        to_graph(Structure(LATTICE, ["Na", "Na"], [[0, 0, 0], [0.001, 0, 0]]))


@pytest.mark.parametrize("wrong", [3, "NaCl", None, [3], ["Na"], object()])
def test_other_objects_are_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="expected a Structure or Molecule"):
        to_graph(wrong)


def test_a_missing_lattice_vector_is_refused() -> None:
    graph = to_graph(Structure(Lattice(np.diag([4.0, 5.0, 6.0]), pbc=(True, True, False)), ["Ar"], [[0, 0, 0]]))
    cell = graph.cell.clone()
    cell[0, 2] = 0
    bare = graph.without_edges(graph.positions, graph.numbers, cell[0], graph.pbc[0])
    with pytest.raises(InputError, match="no lattice vector on axis 2"):
        from_graph(bare)


def test_the_energy_is_that_of_the_same_ase_structure() -> None:
    structure = Structure(Lattice.cubic(5.3), ["Ar"] * 4, [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0.02]])
    energy = AtomsymCalculator("argon").get_potential_energy(structure.to_ase_atoms())
    potential = AtomsymCalculator("argon").potential
    graph = connect(to_graph(structure), potential.cutoff)
    assert float(potential(graph)["energies"].detach().sum()) == pytest.approx(energy, abs=1e-12)


def test_pymatgen_missing_gives_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = to_graph(Molecule(["He"], [[1, 2, 3]]))
    monkeypatch.setitem(sys.modules, "pymatgen.core", None)
    for call in (lambda: to_graph(None), lambda: from_graph(graph)):
        with pytest.raises(MissingDependencyError, match=r"pip install 'atomsym\[pymatgen\]'"):
            call()
