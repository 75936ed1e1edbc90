"""A band of images between two minima: interpolated, relaxed until its highest image is a good guess."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.io.extxyz import write_extxyz
from ase.mep import NEB
from ase.mep.neb import idpp_interpolate, interpolate
from ase.optimize import FIRE
from numpy.typing import NDArray

from atomsym.artifacts import write_atomically
from atomsym.core import InputError
from atomsym.workflows.optimizers import RFO
from atomsym.workflows.stopping import StoppedError
from atomsym.workflows.transition_states.end_points import SAME, aligned, distance, require_reaction
from atomsym.workflows.transition_states.molecules import Work, load_molecule, snapshot

FloatArray = NDArray[np.float64]

CLASH = 0.6  # of the sum of covalent radii: images with nearer atoms lead through each other
BULGE = 0.5  # Å, by which such a path is bent aside
SAVE_EVERY = 5  # steps of the band


@dataclass(frozen=True)
class Band:
    """Images from reactant to product with their energies.

    Attributes:
        images: the ends included.
        energies: shape (n_images,), eV.
        length: distance along the band, Å: sum of the distances (Σ over atoms) between neighboring images.
    """

    images: list[Atoms]
    energies: FloatArray
    length: FloatArray

    @property
    def highest(self) -> int:
        return int(self.energies.argmax())

    def guess(self) -> tuple[Atoms, FloatArray]:
        """The highest image and the direction of the band there, shape (n, 3).

        Raises:
            InputError: if an end is the highest: there is no barrier between them.
        """
        k = self.highest
        if k in (0, len(self.images) - 1):
            end = "reactant" if k == 0 else "product"
            raise InputError(f"no image of the band is above the {end}: the model has no barrier between the two ends")
        return self.images[k].copy(), self.images[k + 1].positions - self.images[k - 1].positions


def band_between(work: Work, folder: Path) -> Band:
    """Relax both ends, and the band between them; goes on from the files in ``folder``.

    Raises:
        InputError: if the ends do not belong together, or fall into the same minimum.
    """
    file, state = folder / "path.extxyz", folder / "path.json"
    saved = json.loads(state.read_text()) if state.is_file() else {"steps": -1, "finished": False}
    if saved["steps"] < 0:
        images = _interpolated(*_relaxed_ends(work), work.settings.images)
        _save(folder, images, 0, finished=False, calculated=False)
    else:
        images = ase.io.read(file, index=":", format="extxyz")
    if not saved["finished"]:
        _relax_band(work, images, folder, max(saved["steps"], 0))
    return read_band(folder)


def read_band(folder: Path) -> Band:
    """The band that a folder holds."""
    images = ase.io.read(folder / "path.extxyz", index=":", format="extxyz")
    energies = np.array([image.get_potential_energy() for image in images])
    moves = np.diff([image.positions for image in images], axis=0)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(moves.reshape(len(moves), -1), axis=1))])
    return Band(images, energies, length)


def load_ends(work: Work) -> tuple[Atoms, Atoms]:
    """Reactant and product, checked."""
    settings = work.settings
    reactant = load_molecule(settings.reactant or "", work.calculator)
    product = load_molecule(settings.product or "", work.calculator)
    if reactant.constraints or product.constraints:
        raise InputError("atoms are held fixed; bands are for free molecules. Free them, or start from a GUESS")
    require_reaction(reactant, product, trust_order=settings.trust_order)
    return reactant, product


def _relaxed_ends(work: Work) -> tuple[Atoms, Atoms]:
    ends = load_ends(work)
    for name, atoms in zip(("reactant", "product"), ends, strict=True):
        optimizer = RFO(atoms, hessian_every=0)
        for _ in optimizer.irun(fmax=work.settings.fmax, steps=work.settings.max_steps):
            work.report(f"relaxing the {name}", optimizer.nsteps, atoms)
        if not optimizer.converged():
            raise InputError(f"the {name} is not at rest after {work.settings.max_steps} steps; relax it before")
    apart = distance(*ends)
    if apart < SAME:
        raise InputError(f"both ends relax to the same minimum (within {apart:.3f} Å): there is no path between them")
    return ends


def _interpolated(reactant: Atoms, product: Atoms, n: int) -> list[Atoms]:
    """Image-dependent pair potential (Smidstrup et al., J. Chem. Phys. 140, 214106 (2014)) from a straight line."""
    images = [reactant.copy() for _ in range(n - 1)] + [aligned(product, reactant)]
    interpolate(images, apply_constraint=False)
    if _clashes(images):
        _bend(images)
    idpp_interpolate(NEB(images, method="improvedtangent", allow_shared_calculator=True), traj=None, log=None)
    return images


def _clashes(images: list[Atoms]) -> bool:
    radii = covalent_radii[images[0].numbers]
    nearest = CLASH * (radii[:, None] + radii[None, :])
    np.fill_diagonal(nearest, 0.0)
    return any((image.get_all_distances() < nearest).any() for image in images)


def _bend(images: list[Atoms]) -> None:
    """Bend the band out of any line or plane, the same way every time: atoms on a line cannot pass each other."""
    sideways = np.random.default_rng(0).normal(size=images[0].positions.shape)
    sideways /= np.linalg.norm(sideways, axis=1).max()
    for k, image in enumerate(images[1:-1], start=1):
        image.positions += BULGE * np.sin(np.pi * k / (len(images) - 1)) * sideways


def _relax_band(work: Work, images: list[Atoms], folder: Path, done: int) -> None:
    settings = work.settings
    for image in images:
        image.calc = work.calculator
    band = NEB(
        images,
        climb=True,
        method="improvedtangent",
        remove_rotation_and_translation=True,
        allow_shared_calculator=True,
    )
    optimizer = FIRE(band, logfile=None)
    try:
        for _ in optimizer.irun(fmax=settings.neb_fmax, steps=max(settings.neb_steps - done, 0)):
            steps = done + optimizer.nsteps
            if optimizer.nsteps % SAVE_EVERY == 0:
                _save(folder, images, steps, finished=False)
            work.report("band", steps, images[int(np.argmax(band.energies))])
    except StoppedError:
        _save(folder, images, done + optimizer.nsteps, finished=False)
        raise
    _save(folder, images, done + optimizer.nsteps, finished=True)


def _save(folder: Path, images: list[Atoms], steps: int, *, finished: bool, calculated: bool = True) -> None:
    text = io.StringIO()
    write_extxyz(text, [snapshot(image) if calculated else image for image in images])
    write_atomically(folder / "path.extxyz", text.getvalue().encode())
    write_atomically(folder / "path.json", json.dumps({"steps": steps, "finished": finished}).encode())
