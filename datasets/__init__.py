"""Layer 5: labelled structures from files, checks of their labels, splits, reference energies and known sets."""

from atomsym.datasets.dataset import Dataset, require_labels
from atomsym.datasets.extxyz import write_extxyz
from atomsym.datasets.labels import LabelKeys, ReadReport
from atomsym.datasets.lmdb_files import open_lmdb, write_lmdb
from atomsym.datasets.read import read_dataset, read_datasets
from atomsym.datasets.units import LabelUnits

__all__ = [
    "Dataset",
    "LabelKeys",
    "LabelUnits",
    "ReadReport",
    "open_lmdb",
    "read_dataset",
    "read_datasets",
    "require_labels",
    "write_extxyz",
    "write_lmdb",
]
