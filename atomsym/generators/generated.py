"""What generators of protostructures give."""

from __future__ import annotations

from dataclasses import dataclass

from atomsym.symmetry.wyckoff import Protostructure


@dataclass(frozen=True)
class GeneratedProtostructure:
    """A protostructure that a generator drew.

    Attributes:
        protostructure: what was drawn.
        log_likelihood: of the draws that made it, in nats, as if there were no conditions; where a generator only has
            a bound, that bound. Not that of the protostructure itself, which other orders of the draws give as well.
        forced_orbits: how many orbits were added at the end because what was drawn did not meet the conditions.
        redraws: how often it was drawn anew for that reason before.
    """

    protostructure: Protostructure
    log_likelihood: float
    forced_orbits: int = 0
    redraws: int = 0
