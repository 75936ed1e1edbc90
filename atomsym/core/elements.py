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
