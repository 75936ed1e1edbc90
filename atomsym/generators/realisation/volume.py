"""What volume a crystal of a composition will have: the sum of the volumes of its atoms."""

from __future__ import annotations

from collections.abc import Mapping

from atomsym.core.elements import MAX_ATOMIC_NUMBER
from atomsym.core.errors import InputError

# fmt: off
ATOMIC_VOLUMES: tuple[float, ...] = (
    0.0, 5.1, 33.0, 12.8, 7.8, 6.1, 6.9, 7.3, 8.8, 12.2, 22.0, 21.9, 22.3, 16.1, 15.2, 16.1, 22.8, 29.9, 37.0, 39.4,
    30.3, 20.6, 15.0, 14.1, 11.5, 12.2, 10.8, 10.0, 9.6, 11.8, 16.0, 17.5, 17.7, 19.9, 28.1, 37.4, 45.0, 47.5, 34.7,
    28.2, 21.0, 17.7, 17.1, 15.2, 12.7, 12.8, 14.5, 19.3, 23.9, 25.7, 26.4, 27.9, 36.4, 51.0, 58.0, 56.0, 43.6,
    33.4, 29.4, 33.1, 32.0, 32.5, 30.4, 34.2, 28.3, 28.4, 27.2, 27.5, 26.6, 26.4, 28.6, 25.0, 20.1, 17.6, 20.8,
    16.1, 14.0, 13.8, 15.2, 18.8, 26.7, 30.8, 33.1, 30.9, 36.4, 51.0, 70.0, 56.0, 43.6, 44.1, 31.9, 26.0, 23.0,
    26.7, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5,
    25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5, 25.5,
)
# fmt: on
"""Volume of an atom in inorganic crystals by atomic number, Å³; 0 for the placeholder.

Fitted to the logarithms of the volumes of 9,713 crystals (PBE) of MP-20: all binary and ternary ones of its validation
split and a sample of its training split. On the binary and ternary ones of its test split the logarithm of the volume
is off by 0.002 in the mean, with a standard deviation of 0.11; the volumes of spheres of 1.45 covalent radii are off by
0.65 ± 0.39. Noble gases: of the solid. Po, At, Fr and Ra: of the element above; from Am on: of Pu.

Source of the data: Materials Project (Jain et al., APL Mater. 1, 011002 (2013)), CC BY 4.0; fit by
``python -m atomsym.workflows.atomic_volumes``.
"""


def expected_volume(composition: Mapping[int, int]) -> float:
    """Volume of a cell with so many atoms of each element, Å³.

    Args:
        composition: atoms by atomic number.

    Raises:
        InputError: if there is no atom or no such element.

    Example:
        >>> expected_volume({11: 4, 17: 4})
        207.2
    """
    if not composition or not all(1 <= number <= MAX_ATOMIC_NUMBER for number in composition):
        raise InputError(f"a composition counts atoms of elements 1 to {MAX_ATOMIC_NUMBER}; found {dict(composition)}")
    return sum(count * ATOMIC_VOLUMES[number] for number, count in composition.items())
