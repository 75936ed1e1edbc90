"""Published data sets by name: which files, which units, whom to cite, and how the literature divides them.

One small set of our own comes with the package. Files of the others are looked for below the folder in the environment
variable ``ATOMSYM_DATA``, plain or gzipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from atomsym.core import ConfigError, DataError, LabelledStructure
from atomsym.core.elements import atomic_number_of
from atomsym.datasets.dataset import Dataset
from atomsym.datasets.elastic_moduli import Modulus, divided_by_formula, read_elastic_moduli
from atomsym.datasets.labels import AUTO, Group, LabelKeys
from atomsym.datasets.read import read_dataset
from atomsym.datasets.split import split
from atomsym.datasets.units import LabelUnits
from atomsym.training import isolated_energies

FOLDER_VARIABLE = "ATOMSYM_DATA"
SHIPPED = Path(__file__).parent / "shipped"
"""Folder of the sets that come with the package."""

Recipe = Callable[[dict[str, Dataset], int], dict[str, Dataset]]


@dataclass(frozen=True)
class KnownSet:
    """A published set.

    Attributes:
        name: to load it by.
        title: what it is.
        citation: whom to cite.
        licence: of the data; not of this package.
        origin: where to get the files.
        level_of_theory: of the labels.
        folder: below the data folder.
        files: file by part; a part with several files takes the first that is there.
        optional: parts that may be missing.
        recipe: from the parts and a seed to the splits.
        protocol: the recipe in words.
        units: of the files; None: what the format says.
        keys: of the labels in the files; None: known names are looked for.
        group: as in ``read_dataset``.
        isolated: file of isolated atoms, "" for none.
        shipped: whether the files come with the package.
        reader: of files that ``read_dataset`` does not read; None: that.
    """

    name: str
    title: str
    citation: str
    licence: str
    origin: str
    level_of_theory: str
    folder: str
    files: Mapping[str, tuple[str, ...]]
    recipe: Recipe = field(repr=False)
    protocol: str
    optional: frozenset[str] = frozenset()
    units: LabelUnits | None = None
    keys: LabelKeys | None = None
    group: Group = AUTO
    isolated: str = ""
    shipped: bool = False
    reader: Callable[[Path], Dataset] | None = field(default=None, repr=False)


def known_sets() -> dict[str, KnownSet]:
    """All known sets by name.

    Example:
        >>> known_sets()["rmd17-ethanol"].licence
        'CC0 1.0'
    """
    return dict(_SETS)


def load_known(name: str, *, folder: str | os.PathLike[str] | None = None, seed: int = 0) -> dict[str, Dataset]:
    """The splits of a known set: ``train``, ``validation`` and one or more whose names begin with ``test``.

    Args:
        name: one of ``known_sets()``.
        folder: the data folder; default: the environment variable ``ATOMSYM_DATA``.
        seed: of the draw of the validation part, where the literature leaves it open.

    Raises:
        ConfigError: if the name is unknown, or no folder is given.
        DataError: if files are missing or damaged.
    """
    known = _known(name)
    parts: dict[str, Dataset] = {}
    for part, names in known.files.items():
        path = _find(known, names, folder, required=part not in known.optional)
        if path is not None:
            parts[part] = _read(known, path)
    return known.recipe(parts, seed)


def load_isolated_energies(name: str, *, folder: str | os.PathLike[str] | None = None) -> dict[int, float]:
    """Energies of isolated atoms that come with a known set, eV by atomic number.

    Raises:
        ConfigError, DataError: as ``load_known``; also if the set has none.
    """
    known = _known(name)
    if not known.isolated:
        raise DataError(f"{name} comes without energies of isolated atoms; fit them with reference_energies")
    path = _find(known, (known.isolated,), folder, required=True)
    return isolated_energies(read_dataset(path or "", units=known.units))


def _read(known: KnownSet, path: Path) -> Dataset:
    if known.reader is not None:
        return known.reader(path)
    return read_dataset(path, keys=known.keys, units=known.units, group=known.group)


def _known(name: str) -> KnownSet:
    if name not in _SETS:
        raise ConfigError(f"'{name}' is not a known data set; known are {', '.join(_SETS)}")
    return _SETS[name]


def _find(
    known: KnownSet, names: tuple[str, ...], folder: str | os.PathLike[str] | None, required: bool
) -> Path | None:
    own = SHIPPED if known.shipped else os.environ.get(FOLDER_VARIABLE)
    root = folder if folder is not None else own
    if not root:
        raise ConfigError(f"set the environment variable {FOLDER_VARIABLE} to the folder that holds {known.folder}/")
    for file in names:
        for candidate in (file, f"{file}.gz"):
            path = Path(root) / known.folder / candidate
            if path.is_file():
                return path
    if required:
        raise DataError(
            f"{Path(root) / known.folder} has no {' or '.join(names)} (or .gz) of the set '{known.name}'. "
            f"Get it from {known.origin}; licence: {known.licence}"
        )
    return None


def _with_validation(count: float | int) -> Recipe:
    """Train on all but ``count`` (a number or a fraction) of the part ``train``; every other part is a test."""

    def recipe(parts: dict[str, Dataset], seed: int) -> dict[str, Dataset]:
        train = parts["train"]
        rest = len(train) - count if isinstance(count, int) else 1.0 - count
        return {**split(train, {"train": rest, "validation": count}, seed=seed), **_without(parts, "train")}

    return recipe


def _fifth_held_out(parts: dict[str, Dataset], seed: int) -> dict[str, Dataset]:
    return split(parts["all"], {"train": 0.7, "validation": 0.1, "test": 0.2}, seed=seed)


def _as_divided(parts: dict[str, Dataset], seed: int) -> dict[str, Dataset]:
    """The files are the parts."""
    return parts


def _without(parts: dict[str, Dataset], name: str) -> dict[str, Dataset]:
    return {key: part for key, part in parts.items() if key != name}


def _water_blocks(parts: dict[str, Dataset], seed: int) -> dict[str, Dataset]:
    """The last block is the test; the end of the one before it is for validation."""
    frames = parts["frames"]
    blocks = sorted({structure.group for structure in frames})
    test = [i for i, structure in enumerate(frames) if structure.group == blocks[-1]]
    before = [i for i, structure in enumerate(frames) if structure.group == blocks[-2]]
    validation = before[-len(before) // 4 :]
    held = {*test, *validation}
    train = [i for i in range(len(frames)) if i not in held]
    return {name: frames.subset(i) for name, i in (("train", train), ("validation", validation), ("test", test))}


def _adsorption(left_out: str) -> Recipe:
    """A random split, or the structures of one metal as the test."""

    def recipe(parts: dict[str, Dataset], seed: int) -> dict[str, Dataset]:
        every = Dataset([_with_total_energy(structure) for structure in parts["all"]], parts["all"].path)
        if not left_out:
            return _fifth_held_out({"all": every}, seed)
        test = [i for i, structure in enumerate(every) if structure.group == left_out]
        held = set(test)
        others = every.subset(i for i in range(len(every)) if i not in held)
        return {**split(others, {"train": 0.9, "validation": 0.1}, seed=seed), "test": every.subset(test)}

    return recipe


def _with_total_energy(structure: LabelledStructure) -> LabelledStructure:
    """The adsorption energy of all adsorbed atoms together instead of that of one: it grows with the system."""
    if structure.energy is None:
        return structure
    adsorbed = int((structure.numbers != atomic_number_of(structure.group)).sum())
    return replace(structure, energy=adsorbed * structure.energy)


def _block_of(info: Mapping[str, Any]) -> str:
    return str(info.get("source", "")).rsplit("/", 1)[0]


def _rmd17(molecule: str) -> KnownSet:
    return KnownSet(
        name=f"rmd17-{molecule}",
        title=f"revised MD17, {molecule}, split 01",
        citation="Christensen and von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020)",
        licence="CC0 1.0",
        origin="https://doi.org/10.6084/m9.figshare.12672038 or https://github.com/andersx/rmd17-npz",
        level_of_theory="PBE/def2-SVP",
        folder="rmd17",
        files={"train": (f"rmd17_{molecule}_train_01.npz",), "test": (f"rmd17_{molecule}_test_01.npz",)},
        recipe=_with_validation(50),
        protocol="950 + 50 of train_01 for training and validation, test_01 for the test",
        units=LabelUnits(energy="kcal/mol", length="Å"),
    )


def _mlearn(element: str) -> KnownSet:
    return KnownSet(
        name=f"mlearn-{element}",
        title=f"mlearn, {element}: ground state, strains, surfaces, vacancies and molecular dynamics",
        citation="Zuo et al., J. Phys. Chem. A 124, 731 (2020), doi 10.1021/acs.jpca.9b08723",
        licence="BSD-3-Clause",
        origin="https://github.com/materialsvirtuallab/mlearn, as extxyz in eV and eV/Å³",
        level_of_theory="PBE",
        folder="mlearn",
        files={"train": (f"{element}_train.xyz",), "test": (f"{element}_test.xyz",)},
        recipe=_with_validation(0.1),
        protocol="published training and test sets; a tenth of the training set is drawn for validation",
    )


_3BPA = KnownSet(
    name="3bpa",
    title="3-(benzyloxy)pyridin-2-amine at 300, 600 and 1200 K",
    citation="Kovács et al., J. Chem. Theory Comput. 17, 7696 (2021), doi 10.1021/acs.jctc.1c00647",
    licence="MIT",
    origin="https://github.com/davkovacs/BOTNet-datasets, folder dataset_3BPA",
    level_of_theory="ωB97X/6-31G(d)",
    folder="3bpa",
    files={
        "train": ("train_300K.xyz",),
        **{f"test_{t}K": (f"test_{t}K.xyz", f"derived_test_{t}K.xyz") for t in (300, 600, 1200)},
        "test_dihedral": ("test_dih.xyz",),
    },
    recipe=_with_validation(50),
    protocol=(
        "450 + 50 of train_300K for training and validation; the published tests, or where these are missing the "
        "derived ones: frames 0-166, 167-333, 334-499 of train_mixedT without those that are in train_300K"
    ),
    optional=frozenset({"test_dihedral"}),
    isolated="iso_atoms.xyz",
)

_WATER = KnownSet(
    name="water",
    title="liquid water, 64 molecules near 300 K",
    citation="Zhang, Han, Wang, Car, E, Phys. Rev. Lett. 120, 143001 (2018)",
    licence="LGPL-3.0",
    origin="https://github.com/deepmodeling/deepmd-kit, folder examples/water/data, as one extxyz",
    level_of_theory="PBE0+TS",
    folder="water",
    files={"frames": ("water_pbe0ts_deepmd_400.xyz",)},
    recipe=_water_blocks,
    protocol="the last block of frames is the test, the last quarter of the block before it is for validation",
    group=_block_of,
)

_CCSD = KnownSet(
    name="md17-ccsd-aspirin",
    title="MD17 aspirin, coupled cluster",
    citation="Chmiela, Sauceda, Müller, Tkatchenko, Nat. Commun. 9, 3887 (2018)",
    licence="educational, research and not-for-profit use",
    origin="http://www.sgdml.org, as extxyz in eV",
    level_of_theory="CCSD/cc-pVDZ",
    folder="md17_ccsd",
    files={"train": ("aspirin_ccsd_train.xyz",), "test": ("aspirin_ccsd_test.xyz",)},
    recipe=_with_validation(50),
    protocol="950 + 50 of the published training set for training and validation, the published test set",
)

_ETHANOL = KnownSet(
    name="ethanol-extrapolation",
    title="ethanol: train near equilibrium, extrapolate to bond breaking and other molecules",
    citation="Batatia et al., arXiv 2205.06643",
    licence="MIT",
    origin="https://github.com/davkovacs/BOTNet-datasets, folder dataset_ethanol",
    level_of_theory="PBE/def2-SVP",
    folder="ethanol_botnet",
    files={
        "train": ("train.xyz",),
        **{f"test_{name}": (f"test_{name}.xyz",) for name in ("MD", "H_removal", "norm_mode_874", "norm_mode_3005")},
    },
    recipe=_with_validation(50),
    protocol="950 + 50 of train for training and validation; tests other than test_MD have energies only",
    optional=frozenset({"test_H_removal", "test_norm_mode_874", "test_norm_mode_3005"}),
    isolated="isolated_atoms.xyz",
)

_ALLOY = KnownSet(
    name="monbtaw",
    title="Nb-Mo-Ta-W alloys: elements and binaries for training, ternaries and quaternaries for the test",
    citation="Li, Chen, Zheng, Zuo, Ong, npj Comput. Mater. 6, 70 (2020)",
    licence="BSD-3-Clause",
    origin="https://github.com/materialsvirtuallab/maml, as extxyz in eV and eV/Å³",
    level_of_theory="PBE",
    folder="monbtaw",
    files={"train": ("monbtaw_train.xyz",), "test": ("monbtaw_test.xyz",)},
    recipe=_with_validation(0.05),
    protocol="a twentieth of the training set is drawn for validation",
    group="file",
)

_HORM = KnownSet(
    name="horm-sample",
    title="100 molecules of H, C, N, O far from their minima, with Hessians",
    citation="Cui et al., arXiv 2505.12447",
    licence="CC BY-NC-SA 4.0",
    origin="https://github.com/deepprinciple/HORM, data/sample_100.lmdb, as npz in eV and Å",
    level_of_theory="ωB97X/6-31G(d)",
    folder="hessians",
    files={"all": ("horm_sample_100.npz",)},
    recipe=_fifth_held_out,
    protocol="70 for training, 10 for validation, 20 for the test, drawn by the seed",
    units=LabelUnits(),
    group=None,
)

_ORGANIC = KnownSet(
    name="organic-xtb",
    title="small organic molecules of H, C, N, O, F near and far from their minima, with Hessians",
    citation="this package, docs/labelling.md",
    licence="CC0 1.0",
    origin="the command: atomsym organic-xtb --out organic-xtb",
    level_of_theory="GFN2-xTB",
    folder="organic-xtb",
    files={part: (f"{part}.lmdb",) for part in ("train", "validation", "test")},
    recipe=_as_divided,
    protocol="divided by molecule, by the hash of its SMILES",
    isolated="isolated_atoms.extxyz",
)

_ORGANIC_SMALL = replace(
    _ORGANIC,
    name="organic-xtb-small",
    origin=(
        "this package; made by: atomsym organic-xtb --molecules 240 --frames-per-molecule 12 --hessians-per-molecule 1 "
        "--max-heavy 6 --seed 1 --compact"
    ),
    folder="organic-xtb-small",
    files={part: (f"{part}.extxyz.gz",) for part in ("train", "validation", "test")},
    shipped=True,
)

_METALS = ("Ag", "Au", "Cu", "Ir", "Pd", "Pt", "Rh")


def _fcc111(left_out: str = "") -> KnownSet:
    name = f"fcc111-adsorption-without-{left_out}" if left_out else "fcc111-adsorption"
    division = (
        f"all structures of {left_out} for the test, a tenth of the others for validation"
        if left_out
        else "70 % for training, 10 % for validation, 20 % for the test, drawn by the seed"
    )
    return KnownSet(
        name=name,
        title="atoms of C, F, H, Cl, O, N, S, Br on the (111) surfaces of seven fcc metals, four sites and coverages",
        citation=(
            "Xu and Kitchin, J. Phys. Chem. C 118, 25597 (2014); Mehta, Salvador, Kitchin, ACS Appl. Mater. Interfaces "
            "6, 3630 (2014)"
        ),
        licence="MIT",
        origin="https://github.com/FAIR-Chem/fairchem, docs/tutorials (structures.json, energies.json), as extxyz",
        level_of_theory="PBE",
        folder="adsorption",
        files={"all": ("fcc111_atomic_adsorption.xyz",)},
        recipe=_adsorption(left_out),
        protocol=f"{division}; energies are those of all adsorbed atoms of the cell together, relative to the clean "
        "slab and the free atoms",
        keys=LabelKeys(energy="adsorption_energy"),
        group="metal",
    )


def _elastic(modulus: Modulus, name: str) -> KnownSet:
    words = name.replace("-", " ")
    return KnownSet(
        name=f"mp-binary-{name}",
        title=f"log10 of the {words} in GPa (Voigt-Reuss-Hill) of binary crystals",
        citation="de Jong et al., Sci. Data 2, 150009 (2015); Materials Project; chosen by MatCalc",
        licence="CC BY 4.0",
        origin="https://github.com/materialsvirtuallab/matcalc, folder benchmark_data",
        level_of_theory="PBE",
        folder="matcalc_benchmarks",
        files={"all": ("mp-binary-pbe-elasticity-2025.1.json",)},
        recipe=lambda parts, seed: divided_by_formula(parts["all"]),
        protocol=(
            "cells of at most 12 atoms, both moduli at least 1 GPa, Poisson ratio from 0 to 0.45; about 70 % for "
            "training, 10 % for validation, 20 % for the test by the hash of the reduced formula, so that no formula "
            f"is in two parts, whatever the seed; the label is the target log10({words} / GPa)"
        ),
        reader=lambda path: read_elastic_moduli(path, modulus),
    )


_MOLECULES = (
    "aspirin", "azobenzene", "benzene", "ethanol", "malonaldehyde", "naphthalene", "paracetamol", "salicylic",
    "toluene", "uracil",
)  # fmt: skip
_SETS: dict[str, KnownSet] = {
    known.name: known
    for known in (
        _3BPA,
        *(_rmd17(molecule) for molecule in _MOLECULES),
        *(_mlearn(element) for element in ("Cu", "Ge", "Li", "Mo", "Ni", "Si")),
        _WATER,
        _CCSD,
        _ETHANOL,
        _ALLOY,
        _HORM,
        _ORGANIC,
        _ORGANIC_SMALL,
        _fcc111(),
        *(_fcc111(metal) for metal in _METALS),
        _elastic("bulk_modulus_vrh", "bulk-modulus"),
        _elastic("shear_modulus_vrh", "shear-modulus"),
    )
}
