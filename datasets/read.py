"""``read_dataset``: one door for all formats."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from atomsym.core import ConfigError, DataError
from atomsym.datasets.dataset import Dataset
from atomsym.datasets.extxyz import read_extxyz
from atomsym.datasets.frame import Frame
from atomsym.datasets.labels import AUTO, Group, LabelKeys, labelled
from atomsym.datasets.units import LabelUnits

_XYZ = (".xyz", ".extxyz", ".xyz.gz", ".extxyz.gz")


def read_dataset(
    path: str | os.PathLike[str],
    *,
    keys: LabelKeys | None = None,
    units: LabelUnits | None = None,
    index: str | int | slice = ":",
    group: Group = AUTO,
) -> Dataset:
    """Read labelled structures from a file.

    ===============================  =====================================================================
    ``.xyz .extxyz`` (``.gz``)       extended XYZ
    ``.npz``                         rMD17, sGDML or arrays of these names
    ``.db``                          ASE database (sqlite)
    ``.lmdb``                        written by ``write_lmdb``; structures are read when asked for
    anything else                    what ``ase.io`` reads, labels from its stored results
    ===============================  =====================================================================

    Args:
        path: the file.
        keys: under which names the labels stand; default: known names are looked for.
        units: of the file; default: eV and Å, or what the format states.
        index: which structures, as ASE's: ``":"``, ``"::10"``, ``"-100:"`` or a number.
        group: key whose value names the group of a structure, or a function of all its keys; "auto" takes
            ``config_type`` or ``group`` if there is one; None: no groups.

    Returns:
        The structures; ``report`` says which keys, units and labels were found. Values that are not finite are kept:
        see ``check_dataset`` and ``require_labels``.

    Raises:
        DataError: if the file is damaged, naming frame and line where they are known; if a requested key is nowhere,
            or labels under several keys differ.
        ConfigError: if a unit, an index or the group's key cannot be used.
        MissingDependencyError: for LMDB without the package lmdb.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "h2.xyz"
        >>> _ = file.write_text("2\\nenergy=-31.7 pbc=F\\nH 0 0 0\\nH 0 0 0.74\\n")
        >>> read_dataset(file)[0].energy
        -31.7
    """
    file = Path(path)
    chosen, part = keys or LabelKeys(), slice_of(index)
    _require_file(file)
    name = file.name.lower()
    if name.endswith(".lmdb"):
        return _from_lmdb(file, keys, units, part, group)
    if name.endswith(_XYZ):
        frames, kind = _taken(read_extxyz(file, chosen.columns()), part), "extxyz"
    elif name.endswith(".npz"):
        frames, kind, units = _from_npz(file, units, part)
    elif name.endswith(".db"):
        frames, kind = _from_db(file, part), "ASE database"
    else:
        frames, kind = _from_ase(file, part), "ASE"
    structures, report = labelled(frames, chosen, units or LabelUnits(), group, str(file), kind)
    return Dataset(structures, str(file), report)


def _from_npz(file: Path, units: LabelUnits | None, part: slice) -> tuple[list[Frame], str, LabelUnits]:
    from atomsym.datasets.npz import read_npz

    frames, stated = read_npz(file)
    if units is None and stated is None:
        raise DataError(f"{file}: npz files do not say their units; pass units=LabelUnits(energy='kcal/mol', ...)")
    return frames[part], "npz", units or stated or LabelUnits()


def _from_db(file: Path, part: slice) -> list[Frame]:
    from atomsym.datasets.ase_files import read_ase_db

    return _taken(read_ase_db(file), part)


def _from_ase(file: Path, part: slice) -> list[Frame]:
    from atomsym.datasets.ase_files import read_with_ase

    return _taken(read_with_ase(file), part)


def _from_lmdb(file: Path, keys: Any, units: Any, part: slice, group: Group) -> Dataset:
    from atomsym.datasets.lmdb_files import open_lmdb

    if keys is not None or units is not None or group != AUTO:
        raise ConfigError(
            f"{file}: an atomsym LMDB has its labels in eV and Å under fixed names; leave out keys, units"
        )
    dataset = open_lmdb(file)
    return dataset if part == slice(None) else dataset[part]


def _taken(frames: Iterator[Frame], part: slice) -> list[Frame]:
    """The frames of a slice; reading stops where the slice does."""
    limits = (part.start, part.stop, part.step)
    if all(limit is None or limit >= 0 for limit in limits):
        return list(islice(frames, *limits))
    return list(frames)[part]


def slice_of(index: str | int | slice) -> slice:
    """The slice that ``"::10"``, ``"-100:"``, a number or a slice means.

    Raises:
        ConfigError: if it is none of these.
    """
    if isinstance(index, slice):
        return index
    try:
        parts = [int(word) if word.strip() else None for word in str(index).split(":")]
        if len(parts) > 3 or (len(parts) == 3 and parts[2] == 0) or parts == [None]:
            raise ValueError
    except ValueError:
        raise ConfigError(f"index '{index}' is not a number or a slice such as '::10' or '-100:'") from None
    if len(parts) == 1 and parts[0] is not None:
        return slice(parts[0], parts[0] + 1 or None)
    return slice(*parts)


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path} is a folder; give a file (a folder of data.mdb is another program's LMDB: not read)")
    if not path.is_file():
        raise DataError(f"{path} does not exist")


def read_datasets(paths: Iterable[str | os.PathLike[str]], **options: Any) -> Dataset:
    """Several files as one data set; options as for ``read_dataset``."""
    return Dataset.concatenate([read_dataset(path, **options) for path in paths])
