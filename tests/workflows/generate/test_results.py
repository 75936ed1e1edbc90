"""What is told of finished runs: duplicates, the hull of a binary system, and the table."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ase.build import bulk

from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal
from atomsym.workflows.generate.duplicates import same_as
from atomsym.workflows.generate.entry import Entry
from atomsym.workflows.generate.plots import Phase, hull_plot
from atomsym.workflows.generate.ranking import Ranked
from atomsym.workflows.generate.results import cif_of, title_of
from atomsym.workflows.generate.settings import GenerateSettings
from atomsym.workflows.generate.table import columns_of, formula_of, values_of


def crystal_of(space_group: int, orbits: tuple[tuple[int, str], ...], cell: np.ndarray, *parameters: float) -> Entry:
    structure = Protostructure(space_group, orbits)
    places = np.zeros((len(orbits), 3))
    places[-1, : len(parameters)] = parameters
    return Entry(structure, -1.0, crystal=SymmetricCrystal(structure, cell, places), converged=True)


def ranked(entry: Entry, energy: float | None) -> Ranked:
    return Ranked(entry.with_(energy=energy), 0, energy, energy)


CUBIC = crystal_of(221, ((29, "c"), (79, "a")), 3.7 * np.eye(3))
LAYERS = crystal_of(123, ((29, "a"), (79, "d")), np.diag([2.7, 2.7, 3.9]))


def test_crystals_that_relaxed_into_one_are_the_same() -> None:
    nearly = crystal_of(123, ((29, "c"), (29, "e"), (79, "a")), np.diag([3.7, 3.7, 3.72]))
    rows = [ranked(CUBIC, -0.5), ranked(LAYERS, -0.5), ranked(nearly, -0.499), ranked(nearly, 0.2)]
    assert same_as(rows) == [None, None, 0, None], "the last is too far in energy"
    assert same_as([ranked(CUBIC, None), ranked(CUBIC, None)]) == [None, None]
    assert same_as([ranked(CUBIC, -0.5), ranked(CUBIC, -0.5), ranked(LAYERS, 0.1), ranked(CUBIC, -0.49)]) == [
        None, 0, None, 0,
    ]  # fmt: skip


def test_the_hull_of_a_binary_system_goes_through_its_phases() -> None:
    phases = [Phase("TiO2", 2 / 3, -3.5, 0.0), Phase("TiO", 0.5, -1.0, 1.6), Phase("O", 1.0, 0.4, 0.4)]
    picture = hull_plot(phases, "O")
    assert picture.startswith("<svg")
    assert "TiO₂" in picture
    assert "atomic fraction of O" in picture
    assert not re.search(r">TiO<", picture), "only what is on the hull is named"


def test_rows_and_titles() -> None:
    names = [column.name for column in columns_of(with_energies=True)]
    row = values_of(3, ranked(LAYERS.with_(found_group=123, loose_group=221), -0.1), 1)
    assert set(names) <= set(row)
    assert (row["rank"], row["same_as"], row["space_group"], row["nearly"]) == (3, 1, "123 P4/mmm", "221 Pm-3m")
    assert (row["found"], row["wyckoff"], row["geometry"]) == ("123", "Cu:a Au:d", "random")
    assert not {"energy", "same_as"} & {column.name for column in columns_of(with_energies=False)}
    assert formula_of({8: 6, 22: 4}) == "Ti2O3"
    assert title_of(GenerateSettings(elements=("Ti", "O"), space_groups=(136, 62))).endswith("in space groups 136, 62")
    assert row["volume"] == pytest.approx(2.7**2 * 3.9 / 2)


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")  # of spglib within pymatgen
def test_noble_gases_are_written_without_a_remark() -> None:
    """They have no electronegativity, which pymatgen warns of; a warning fails this test."""
    pytest.importorskip("pymatgen")
    assert "_symmetry_Int_Tables_number   225" in cif_of(bulk("Ar", "fcc", a=5.3))
