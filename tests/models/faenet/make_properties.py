"""Makes the table of elements, ``atomsym/models/faenet/elements.csv``: ``python make_properties.py FILE``.

Needs pandas and mendeleev; written with mendeleev 0.14.0. The same version writes the same bytes.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROPERTIES = (
    "atomic_radius", "atomic_volume", "density", "dipole_polarizability", "electron_affinity", "en_allen", "vdw_radius",
    "metallic_radius", "metallic_radius_c12", "covalent_radius_pyykko_double", "covalent_radius_pyykko_triple",
    "covalent_radius_pyykko",
)  # fmt: skip
LAST, NO_GROUP = 100, 19


def rows() -> list[str]:
    from mendeleev.fetch import fetch_ionization_energies, fetch_table

    table = fetch_table("elements").set_index("atomic_number")
    ionization = fetch_ionization_energies(degree=[1, 2])
    found = []
    for number in range(1, LAST + 1):
        element, energies = table.loc[number], ionization.loc[number]
        group = NO_GROUP if _text(element.group_id) == "" else int(element.group_id)
        values = [*(element[name] for name in PROPERTIES), energies.IE1, energies.IE2]
        found.append(",".join([str(number), str(int(element.period)), str(group), *map(_text, values)]))
    return found


def _text(value: Any) -> str:
    return "" if value is None or value != value else f"{float(value):.10g}"


def main(file: str) -> None:
    lines = [
        "# Periods, groups and physical properties of the elements, from mendeleev "
        f"{version('mendeleev')} (MIT licence; L. Mentel and contributors).",
        "# Radii pm, volume cm3/mol, density g/cm3, polarizability a.u., affinity, energies and electronegativity eV; "
        f"group {NO_GROUP}: none; empty: unknown.",
        ",".join(["number", "period", "group", *PROPERTIES, "IE1", "IE2"]),
        *rows(),
    ]
    Path(file).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
