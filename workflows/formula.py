"""Chemical formulas that a user writes or a table holds."""

from __future__ import annotations

from ase.formula import Formula

from atomsym.core import InputError
from atomsym.core.elements import atomic_number_of


def parse_formula(text: str) -> dict[int, int]:
    """Counts by atomic number of a formula, such as ``Fe2O3``, ``Na1 Cl1`` or ``Ca3(PO4)2``.

    Raises:
        InputError: if it is none.

    Example:
        >>> parse_formula("Ca3(PO4)2")
        {8: 8, 15: 2, 20: 3}
    """
    try:
        counts = Formula(text.replace(" ", ""), strict=True).count()
        numbers = {atomic_number_of(symbol): count for symbol, count in counts.items()}
    except (ValueError, InputError) as error:
        raise InputError(f"'{text}' is not a chemical formula such as TiO2 or Ca3(PO4)2") from error
    if not numbers or min(numbers.values()) < 1:
        raise InputError(f"'{text}' is not a chemical formula such as TiO2 or Ca3(PO4)2")
    return dict(sorted(numbers.items()))
