"""Layer 5: labelled structures from files, checks of their labels, splits, reference energies and known sets."""

from atomsym.core import require_labels
from atomsym.datasets.check import DatasetReport, Finding, check_dataset
from atomsym.datasets.dataset import Dataset
from atomsym.datasets.duplicates import find_duplicates, overlap
from atomsym.datasets.extxyz import write_extxyz
from atomsym.datasets.known import KnownSet, known_sets, load_isolated_energies, load_known
from atomsym.datasets.labels import LabelKeys, ReadReport
from atomsym.datasets.lmdb_files import open_lmdb, write_lmdb
from atomsym.datasets.read import read_dataset, read_datasets
from atomsym.datasets.sources import read_sources
from atomsym.datasets.split import split
from atomsym.datasets.units import LabelUnits
from atomsym.training import ReferenceEnergies, isolated_energies, reference_energies

__all__ = [
    "Dataset",
    "DatasetReport",
    "Finding",
    "KnownSet",
    "LabelKeys",
    "LabelUnits",
    "ReadReport",
    "ReferenceEnergies",
    "check_dataset",
    "find_duplicates",
    "isolated_energies",
    "known_sets",
    "load_isolated_energies",
    "load_known",
    "open_lmdb",
    "overlap",
    "read_dataset",
    "read_datasets",
    "read_sources",
    "reference_energies",
    "require_labels",
    "split",
    "write_extxyz",
    "write_lmdb",
]
