"""Common oxidation states and electronegativities of the elements, and which of them are metals."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from atomsym.core.elements import atomic_number_of

_STATES = """
H -1 1
Li 1 | Be 2 | B 3 | C -4 -3 -2 -1 1 2 3 4 | N -3 -2 -1 1 2 3 4 5 | O -2 -1 | F -1
Na 1 | Mg 2 | Al 3 | Si -4 2 4 | P -3 3 4 5 | S -2 -1 2 4 6 | Cl -1 1 3 5 7
K 1 | Ca 2 | Sc 3 | Ti 2 3 4 | V 2 3 4 5 | Cr 2 3 4 5 6 | Mn 2 3 4 5 6 7 | Fe 2 3 4 6 | Co 2 3 4 | Ni 2 3 4
Cu 1 2 3 | Zn 2 | Ga 1 2 3 | Ge -4 2 4 | As -3 3 5 | Se -2 -1 4 6 | Br -1 1 3 5 7
Rb 1 | Sr 2 | Y 3 | Zr 2 3 4 | Nb 2 3 4 5 | Mo 2 3 4 5 6 | Tc 4 6 7 | Ru 2 3 4 5 6 7 8 | Rh 1 2 3 4 | Pd 2 4
Ag 1 2 3 | Cd 2 | In 1 2 3 | Sn -4 2 4 | Sb -3 3 5 | Te -2 -1 4 6 | I -1 1 3 5 7 | Xe 2 4 6 8
Cs 1 | Ba 2 | La 3 | Ce 3 4 | Pr 3 4 | Nd 3 | Pm 3 | Sm 2 3 | Eu 2 3 | Gd 3 | Tb 3 4 | Dy 3 | Ho 3 | Er 3 | Tm 2 3
Yb 2 3 | Lu 3 | Hf 3 4 | Ta 3 4 5 | W 2 3 4 5 6 | Re 3 4 5 6 7 | Os 3 4 5 6 8 | Ir 3 4 5 6 | Pt 2 4 6 | Au -1 1 3
Hg 1 2 | Tl 1 3 | Pb 2 4 | Bi -3 3 5 | Po -2 2 4 | At -1 1
Fr 1 | Ra 2 | Ac 3 | Th 4 | Pa 4 5 | U 3 4 5 6 | Np 3 4 5 6 7 | Pu 3 4 5 6 7 | Am 2 3 4 5 6 | Cm 3 4 | Bk 3 4
Cf 2 3 | Es 3 | Fm 3 | Md 2 3 | No 2 3 | Lr 3
"""

_POLYANIONS = """
B -1 | Si -4 -3 -2 -1 | P -3 -2 -1 | Ge -4 -3 -2 -1 | As -3 -2 -1 | Sn -4 -3 -2 -1 | Sb -3 -2 -1
Pb -4 -3 -2 -1 | Bi -3 -2 -1
"""

_ELECTRONEGATIVITIES = """
H 2.20 | Li 0.98 | Be 1.57 | B 2.04 | C 2.55 | N 3.04 | O 3.44 | F 3.98 | Na 0.93 | Mg 1.31 | Al 1.61 | Si 1.90
P 2.19 | S 2.58 | Cl 3.16 | K 0.82 | Ca 1.00 | Sc 1.36 | Ti 1.54 | V 1.63 | Cr 1.66 | Mn 1.55 | Fe 1.83 | Co 1.88
Ni 1.91 | Cu 1.90 | Zn 1.65 | Ga 1.81 | Ge 2.01 | As 2.18 | Se 2.55 | Br 2.96 | Rb 0.82 | Sr 0.95 | Y 1.22 | Zr 1.33
Nb 1.60 | Mo 2.16 | Tc 1.90 | Ru 2.20 | Rh 2.28 | Pd 2.20 | Ag 1.93 | Cd 1.69 | In 1.78 | Sn 1.96 | Sb 2.05 | Te 2.10
I 2.66 | Xe 2.60 | Cs 0.79 | Ba 0.89 | La 1.10 | Ce 1.12 | Pr 1.13 | Nd 1.14 | Pm 1.13 | Sm 1.17 | Eu 1.20 | Gd 1.20
Tb 1.10 | Dy 1.22 | Ho 1.23 | Er 1.24 | Tm 1.25 | Yb 1.10 | Lu 1.27 | Hf 1.30 | Ta 1.50 | W 2.36 | Re 1.90 | Os 2.20
Ir 2.20 | Pt 2.28 | Au 2.54 | Hg 2.00 | Tl 1.62 | Pb 2.33 | Bi 2.02 | Po 2.00 | At 2.20 | Fr 0.70 | Ra 0.90 | Ac 1.10
Th 1.30 | Pa 1.50 | U 1.38 | Np 1.36 | Pu 1.28 | Am 1.30 | Cm 1.30 | Bk 1.30 | Cf 1.30 | Es 1.30 | Fm 1.30 | Md 1.30
No 1.30 | Lr 1.30
"""

_NOT_METALS = "H He B C N O F Ne Si P S Cl Ar Ge As Se Br Kr Te I Xe At Rn Ts Og"


def _rows(text: str) -> dict[int, tuple[str, ...]]:
    entries = (entry.split() for line in text.strip().splitlines() for entry in line.split("|"))
    return {atomic_number_of(symbol): tuple(values) for symbol, *values in entries}


POLYANIONS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {number: tuple(int(value) for value in values) for number, values in _rows(_POLYANIONS).items()}
)
"""States of elements in anions that are bonded to each other, by atomic number.

In Zintl phases an atom that needs n electrons for an octet has a charge of −n with no bond to its like, −n + 1 with
one, and so on; boron is as in MgB₂. Source: Greenwood and Earnshaw; Schäfer et al., Angew. Chem. Int. Ed. 12, 694
(1973).
"""

OXIDATION_STATES: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        number: tuple(sorted({*(int(value) for value in values), *POLYANIONS.get(number, ())}))
        for number, values in _rows(_STATES).items()
    }
)
"""Common oxidation states other than 0 by atomic number; elements that are left out form no compounds here.

Source: those that Greenwood and Earnshaw, Chemistry of the Elements (2nd edition, 1997) describe as usual, those that
whole classes of crystals have besides (peroxides, disulfides, perovskites of Fe(IV) and Ni(III), …), and
``POLYANIONS``.
"""

ELECTRONEGATIVITIES: Mapping[int, float] = MappingProxyType(
    {number: float(values[0]) for number, values in _rows(_ELECTRONEGATIVITIES).items()}
)
"""Pauling's scale by atomic number.

Source: Allred, J. Inorg. Nucl. Chem. 17, 215 (1961), with the later entries that reference works add; lanthanides and
actinides without a value of their own take that of a neighbor.
"""

METALS: frozenset[int] = frozenset(range(1, 119)) - {atomic_number_of(symbol) for symbol in _NOT_METALS.split()}
"""Sb and Sn are metals here; B, Si, Ge, As and Te are not."""

ALLOYING: frozenset[int] = METALS | {atomic_number_of("Si"), atomic_number_of("Ge")}
"""Elements whose compounds with each other pass as alloys: metals, and the two that make as many intermetallic phases
(Heusler phases, ThCr₂Si₂ and its relatives) as salts."""
