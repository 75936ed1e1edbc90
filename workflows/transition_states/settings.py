"""What a search for a transition state is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomsym.core import ConfigError
from atomsym.core.precision import dtype_named
from atomsym.workflows.run_settings import read_settings, require_positive, settings_to_json

SEARCHES = ("prfo", "geometric")


@dataclass(frozen=True)
class TransitionStateSettings:
    """Settings of one search; structures are files that ASE reads (the last frame is taken).

    Attributes:
        model: name or path of a model, or ``module:factory`` of another ASE calculator.
        guess: structure near the transition state; or else …
        reactant, product: … the two minima, with their atoms in the same order.
        kwargs: of another calculator's factory.
        mode: which mode to follow uphill from the guess, 0 for the lowest; None: the lowest, unless the guess is a
            minimum, which is refused.
        optimizer: of the search: ``prfo``, or ``geometric``, which is that of the package geomeTRIC and follows the
            lowest mode.
        fmax: largest force on an atom at the transition state and the minima, eV/Å.
        max_steps: of the search, and of each relaxation.
        hessian_every: the Hessian is computed at every so many steps of the search; 0: at the first only.
        imaginary: a mode is imaginary beyond this wavenumber, 1/cm; nearer to zero it counts as noise.
        displacement: of the atom that moves most along the mode, from which the minima are sought, Å.
        images: of the band between two minima, both ends included.
        neb_fmax: largest force on an image of the band, eV/Å; loose, since the search goes on from the highest image.
        neb_steps: of the band; what is reached then is used.
        trust_order: accept an order of atoms that looks permuted.
        device, dtype: of models of this package.
    """

    model: str
    guess: str | None = None
    reactant: str | None = None
    product: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    mode: int | None = None
    optimizer: str = "prfo"
    fmax: float = 0.01
    max_steps: int = 200
    hessian_every: int = 1
    imaginary: float = 30.0
    displacement: float = 0.1
    images: int = 9
    neb_fmax: float = 0.5
    neb_steps: int = 100
    trust_order: bool = False
    device: str = "cpu"
    dtype: str = "float64"

    def __post_init__(self) -> None:
        require_positive(self, "fmax", "max_steps", "imaginary", "displacement", "neb_fmax", "neb_steps")
        ends = (self.reactant is not None) + (self.product is not None)
        if (self.guess is None) == (ends == 0) or ends == 1:
            raise ConfigError("give a GUESS of the transition state, or both --reactant and --product")
        if self.guess is None and self.mode is not None:
            raise ConfigError("--mode belongs to a GUESS; between two minima the band gives the direction")
        if self.mode is not None and self.mode < 0:
            raise ConfigError(f"mode must be 0 for the lowest, 1, 2, …; found {self.mode}")
        if self.optimizer not in SEARCHES:
            raise ConfigError(f"optimizer must be one of {', '.join(SEARCHES)}; found '{self.optimizer}'")
        if self.optimizer == "geometric" and self.mode is not None:
            raise ConfigError("geometric follows the lowest mode; take prfo to follow another --mode")
        if self.hessian_every < 0:
            raise ConfigError(f"hessian_every must be 0 (at the start only), 1, 2, …; found {self.hessian_every}")
        if self.images < 5:
            raise ConfigError(f"a band needs 5 images or more, both ends included; found {self.images}")
        dtype_named(self.dtype)

    @property
    def name(self) -> str:
        """What is sought, for titles and folders."""
        if self.guess is not None:
            return Path(self.guess).stem
        return f"{Path(self.reactant or '').stem}-{Path(self.product or '').stem}"

    @property
    def title(self) -> str:
        """The same, to be read."""
        return Path(self.guess).stem if self.guess is not None else self.name.replace("-", " → ", 1)

    def to_json(self) -> str:
        return settings_to_json(self)

    @classmethod
    def from_file(cls, path: Path) -> TransitionStateSettings:
        """Read settings written by ``to_json``.

        Raises:
            ConfigError: if the file cannot be read or has an unknown or missing setting.
        """
        return read_settings(cls, path, "search for a transition state")
