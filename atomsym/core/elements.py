"""Chemical symbols and atomic numbers, so that the core needs no host package."""

from __future__ import annotations

from collections.abc import Iterable

from atomsym.core.errors import InputError

_SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr "
    "Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)
SYMBOLS: tuple[str, ...] = tuple(_SYMBOLS.split())
"""Symbol by atomic number; index 0 is the placeholder ``X``, which no model accepts."""

# fmt: off
COVALENT_RADII: tuple[float, ...] = (
    0.20, 0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58, 1.66, 1.41, 1.21, 1.11, 1.07, 1.05, 1.02,
    1.06, 2.03, 1.76, 1.70, 1.60, 1.53, 1.39, 1.39, 1.32, 1.26, 1.24, 1.32, 1.22, 1.22, 1.20, 1.19, 1.20, 1.20,
    1.16, 2.20, 1.95, 1.90, 1.75, 1.64, 1.54, 1.47, 1.46, 1.42, 1.39, 1.45, 1.44, 1.42, 1.39, 1.39, 1.38, 1.39,
    1.40, 2.44, 2.15, 2.07, 2.04, 2.03, 2.01, 1.99, 1.98, 1.98, 1.96, 1.94, 1.92, 1.92, 1.89, 1.90, 1.87, 1.87,
    1.75, 1.70, 1.62, 1.51, 1.44, 1.41, 1.36, 1.36, 1.32, 1.45, 1.46, 1.48, 1.40, 1.50, 1.50, 2.60, 2.21, 2.15,
    2.06, 2.00, 1.96, 1.90, 1.87, 1.80, 1.69, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00,
    2.00, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00,
)
# fmt: on
"""Covalent radii by atomic number, Å; 2.0 where none is known (Z > 96) and 0.2 for the placeholder.

Carbon is sp³, and Mn, Fe and Co are low-spin. Source: Cordero et al., Dalton Trans. 2008, 2832.
"""

MAX_ATOMIC_NUMBER = len(SYMBOLS) - 1
_NUMBER_OF = {symbol: number for number, symbol in enumerate(SYMBOLS) if number > 0}


def symbol_of(number: int) -> str:
    """Chemical symbol of an atomic number in 1 … 118; ``Z=n`` for anything else, so that messages can name it."""
    return SYMBOLS[number] if 0 < number <= MAX_ATOMIC_NUMBER else f"Z={number}"


def atomic_number_of(symbol: str) -> int:
    """Atomic number of a chemical symbol.

    Raises:
        InputError: if the symbol is not one of the 118 elements (isotope symbols such as D are not elements).

    Example:
        >>> atomic_number_of("Ar")
        18
    """
    try:
        return _NUMBER_OF[symbol]
    except KeyError:
        raise InputError(f"'{symbol}' is not a chemical element; expected a symbol from H to Og") from None


def format_elements(numbers: Iterable[int]) -> str:
    """Sorted, comma-separated symbols for messages and model cards.

    Example:
        >>> format_elements([8, 1, 1])
        'H, O'
    """
    return ", ".join(symbol_of(number) for number in sorted(set(numbers)))
