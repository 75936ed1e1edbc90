"""One potential under every symmetrizer: how exact, how continuous and how expensive each is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from ase.build import molecule
from torch import Tensor

import atomsym.calculators  # noqa: F401 - the shipped models become known
from atomsym.artifacts import load_model
from atomsym.core import AtomGraph, ConfigError, check_elements
from atomsym.derivatives import evaluate
from atomsym.kernels.neighbors import connect
from atomsym.models import Potential, architecture
from atomsym.symmetrizers import SymmetrizedPotential
from atomsym.symmetry.frames import random_elements
from atomsym.workflows.benchmarks.machine import best_seconds

MOLECULE = "CH3CH2OH"
STEP = 1e-9  # of the path, on both sides of the crossing
REACH = 0.02  # of the path that is drawn
PATH_POINTS = 41  # odd: the middle one is the crossing
RATTLE = 0.1  # Å, by which atoms are moved at random: ethanol itself is its own mirror image

CASES: dict[str, dict[str, Any]] = {
    "full E3": {"method": "full", "group": "E3"},
    "full SE3": {"method": "full", "group": "SE3"},
    "stochastic": {"method": "stochastic"},
    "deterministic": {"method": "deterministic"},
    "weighted": {"method": "weighted"},
    "weighted, SE3": {"method": "weighted", "group": "SE3"},
    "weighted, threshold 0.75": {"method": "weighted", "threshold": 0.75},
    "weighted, all pairs": {"method": "weighted", "threshold": 0.0},
    "weighted, 8 largest": {"method": "weighted", "samples": 8},
    "canonicalization": {"method": "canonicalization"},
    "group O": {"method": "group", "name": "O"},
    "group Ih": {"method": "group", "name": "Ih"},
    "quadrature, degree 2": {"method": "quadrature", "degree": 2},
    "quadrature, degree 5": {"method": "quadrature", "degree": 5},
    "augmentation": {"method": "augmentation"},
}
"""What is compared, by the names of the table."""

DRAWN = ("full E3", "deterministic", "weighted", "quadrature, degree 5")
"""Cases whose energies along the path are kept."""


@dataclass(frozen=True)
class SymmetrizerBenchmarkSettings:
    """What to measure.

    Attributes:
        model: name or path of a model that knows H, C and O; "": a small FAENet with random weights.
        rotations: random rotations that invariance is measured with.
        batch: molecules in the batch that is timed.
        seed: of weights and rotations.
    """

    model: str = ""
    rotations: int = 8
    batch: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.rotations, self.batch) < 1 or self.seed < 0:
            raise ConfigError("rotations and batch must be at least 1, the seed at least 0")


@dataclass(frozen=True)
class SymmetrizerRow:
    """One symmetrizer; energies in eV, of ethanol.

    Attributes:
        name: in the table.
        exact, continuous: what it says of itself.
        frames: of the molecule.
        rotation_error: largest change of the energy under random rotations.
        mirror_error: largest change under random rotations with a reflection.
        jump: difference of the energies just before and just after two principal values meet.
        milliseconds: energy and forces of the batch.
        over_bare: that time over the time of the potential without a symmetrizer.
    """

    name: str
    exact: str
    continuous: bool
    frames: int
    rotation_error: float
    mirror_error: float
    jump: float
    milliseconds: float
    over_bare: float


@dataclass(frozen=True)
class SymmetrizerBenchmark:
    """All rows, and the energies along the path.

    Attributes:
        settings: what was measured.
        model: one line on the potential.
        rows: one for each symmetrizer, the bare potential first.
        path: parameter of the path, shape (PATH_POINTS,).
        energies: along the path by the name of the row, those of ``DRAWN``, relative to the mean beside the
            crossing, eV.
    """

    settings: SymmetrizerBenchmarkSettings
    model: str
    rows: tuple[SymmetrizerRow, ...]
    path: tuple[float, ...]
    energies: Mapping[str, tuple[float, ...]]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"


def run_symmetrizers(
    settings: SymmetrizerBenchmarkSettings, on_case: Callable[[str], None] = lambda name: None
) -> SymmetrizerBenchmark:
    """Measure every case on rattled ethanol, in double precision, with torch's present number of threads.

    The molecule is stretched along its principal axes until its two largest second moments are equal, and a little
    beyond: a path that is smooth, on which principal axes change places.

    Args:
        settings: what to measure.
        on_case: told the name of each case before it begins.

    Raises:
        InputError, ArtifactError: if there is no such model, or it does not know the elements.
    """
    bare = _bare_potential(settings)
    check_elements(_graph(0.0, bare.cutoff), bare.elements)
    path = torch.linspace(-REACH, REACH, PATH_POINTS, dtype=torch.float64).tolist()
    rows: list[SymmetrizerRow] = []
    energies = {}
    for name, chosen in {"bare": None, **CASES}.items():
        on_case(name)
        potential = bare if chosen is None else _symmetrized(bare, chosen, settings.seed)
        base = rows[0].milliseconds if rows else None
        rows.append(_row(name, potential, settings, base))
        if name in DRAWN:
            along = [float(evaluate(potential, _graph(t, bare.cutoff), ("energy",)).energy[0]) for t in path]
            middle = PATH_POINTS // 2  # where principal axes are arbitrary
            around = 0.5 * (along[middle - 1] + along[middle + 1])
            energies[name] = tuple(energy - around for energy in along)
    count = sum(weight.numel() for weight in bare.parameters())
    kind = Path(settings.model).name if settings.model else "random weights"
    described = f"{bare.architecture}, {count:,} weights, {bare.cutoff:g} Å ({kind})"
    return SymmetrizerBenchmark(settings, described, tuple(rows), tuple(path), energies)


def _bare_potential(settings: SymmetrizerBenchmarkSettings) -> Potential:
    if settings.model:
        found = load_model(settings.model, dtype=torch.float64)
        return found.model if isinstance(found, SymmetrizedPotential) else found
    faenet: Any = architecture("faenet")
    widths = {"channels": 96, "filters": 96, "n_layers": 3}
    config = faenet.Config((1, 6, 8), 5.0, (0.0, 0.0, 0.0), average_neighbors=8.0, scale=10.0, **widths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        potential: Potential = faenet(config)
    return potential.to(torch.float64).eval()


def _symmetrized(bare: Potential, chosen: dict[str, Any], seed: int) -> SymmetrizedPotential:
    """The very same potential under a symmetrizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        potential = SymmetrizedPotential.of(bare.architecture, bare.config, chosen)
    potential.model = bare
    return potential.to(torch.float64).eval()


def _graph(t: float, cutoff: float, operation: Tensor | None = None) -> AtomGraph:
    """Ethanol whose second moments along the two longest principal axes are as 1 + t to 1 − t."""
    atoms = molecule(MOLECULE)
    atoms.rattle(RATTLE, seed=0)
    positions = torch.from_numpy(atoms.get_positions())
    positions = positions - positions.mean(0)
    values, axes = torch.linalg.eigh(positions.T @ positions)
    middle = (values[1] * values[2]).sqrt()
    wanted = torch.stack([values[0], middle * (1 - t), middle * (1 + t)])
    turned = (positions @ axes) * (wanted / values).sqrt()
    found = turned @ axes.T
    if operation is not None:
        found = found @ operation.T
    return connect(AtomGraph.without_edges(found, torch.from_numpy(atoms.get_atomic_numbers())), cutoff)


def _row(
    name: str, potential: Potential, settings: SymmetrizerBenchmarkSettings, bare_ms: float | None
) -> SymmetrizerRow:
    def energy(t: float, operation: Tensor | None = None) -> float:
        return float(evaluate(potential, _graph(t, potential.cutoff, operation), ("energy",)).energy[0])

    turns = random_elements(settings.rotations, "SE3", generator=torch.Generator().manual_seed(settings.seed))
    start = energy(0.3)
    errors = [max(abs(energy(0.3, sign * turn) - start) for turn in turns) for sign in (1, -1)]
    batch = AtomGraph.batch([_graph(0.3 + 0.01 * k, potential.cutoff) for k in range(settings.batch)])
    milliseconds = 1e3 * best_seconds(lambda: evaluate(potential, batch, ("energy", "forces")))
    wrapped = potential if isinstance(potential, SymmetrizedPotential) else None
    return SymmetrizerRow(
        name=name,
        exact=wrapped.symmetrizer.exact if wrapped else "",
        continuous=potential.continuous,
        frames=wrapped.symmetrizer.frames(_graph(0.3, potential.cutoff)).n_frames if wrapped else 1,
        rotation_error=errors[0],
        mirror_error=errors[1],
        jump=abs(energy(STEP) - energy(-STEP)),
        milliseconds=milliseconds,
        over_bare=milliseconds / (bare_ms or milliseconds),
    )
