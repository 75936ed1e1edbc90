"""Which molecules are left out: motifs that do not live, or that the rules of valence allow only on paper."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from atomsym.workflows.organic_xtb.rdkit_molecules import molecule_of, rdkit_chem

_HETERO = "[#7,#8,#16]"
RULES = {
    "halogen on an atom other than carbon": "[F,Cl]~[!#6;!#1]",
    "dioxygen, which is a triplet": "O=O",
    "chain of three single-bonded N, O, S": "[#7,#8,#16;!a]-[#7,#8,#16;!a]-[#7,#8,#16;!a]",
    "chain of five N, O, S": "~".join([_HETERO] * 5),
    "aromatic O–O": "o~o",
    "two neighbouring N, O, S in a ring of three": f"{_HETERO}1{_HETERO}*1",
    "ring of three: hetero atom opposite to a double bond": f"{_HETERO}1*=*1",
    "two double bonds in a ring of four": "*1=**=*1",
    "triple bond in a ring": "[R]#[R]",
    "cumulated double bonds in a ring": "*=@*=@*",
    "three cumulated double bonds": "*=*=*=*",
    "double bond at a bridgehead": "[x3;!a]=@[*;!a]",
    "two rings of three that share a bond": "*1~*2~*~1~*~2",
}
"""Rules in words, as SMARTS patterns of what is left out. In addition no atom is in three rings of up to four atoms."""

_SMALL_RING, _MOST_SMALL_RINGS = 4, 2


@lru_cache(maxsize=1)
def _patterns() -> dict[str, Any]:
    return {name: rdkit_chem().MolFromSmarts(smarts) for name, smarts in RULES.items()}


def objection(smiles: str) -> str:
    """The rule that the molecule breaks, "" if none.

    Raises:
        InputError: if RDKit cannot read the SMILES.

    Example:
        >>> objection("C1#CC1"), objection("CCO")
        ('triple bond in a ring', '')
    """
    molecule = molecule_of(smiles)
    for name, pattern in _patterns().items():
        if molecule.HasSubstructMatch(pattern):
            return name
    counts = [0] * molecule.GetNumAtoms()
    for ring in molecule.GetRingInfo().AtomRings():
        for atom in ring if len(ring) <= _SMALL_RING else ():
            counts[atom] += 1
    return "atom in three small rings" if max(counts, default=0) > _MOST_SMALL_RINGS else ""
