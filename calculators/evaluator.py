"""One potential on one device in one precision, applied to arrays of a host: what all hosts share."""

from __future__ import annotations

import copy
import logging
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.core import AtomGraph, InputError, OutOfMemoryError, validate_distances, validate_structure
from atomsym.derivatives import Evaluation, HessianMethod, evaluate, hessian
from atomsym.derivatives.memory import free_memory, in_words, kept_bytes
from atomsym.heads import HessianPotential, intensive_property
from atomsym.inference import (
    Engine,
    HessianEngine,
    NotCoveredError,
    engine_for,
    evaluate_with_engine,
    hessian_with_engine,
)
from atomsym.kernels.neighbors import VerletList, connect
from atomsym.models import Potential

FloatArray = NDArray[np.float64]

ENGINES = ("auto", "autograd")
"""Ways to the derivatives."""

_LOGGER = logging.getLogger(__name__)

_MEASURED_FROM = 500_000
"""Edges above which memory is estimated before a calculation; smaller ones take less than about a gigabyte."""


class Evaluator:
    """Structures in, energies and derivatives out, with checks before and after.

    The potential that is passed in is never changed: where device and precision fit, its weights are shared, otherwise
    they are copied. Nothing but a neighbor list (with ``skin`` > 0) and an inference engine is kept between calls.

    Args:
        potential: the model.
        device: where it runs.
        dtype: torch.float32 or torch.float64. Positions are brought near the origin before they are rounded to single
            precision, so that neither unwrapped trajectories nor far origins cost digits.
        skin: Å. Above 0 the neighbor list reaches farther than the cutoff by this much and is kept until an atom has
            moved half of it.
        backend: of the neighbor list, see ``atomsym.kernels.neighbors.connect``.
        allow_overlap: accept atoms closer than 0.1 Å.
        engine: ``auto`` evaluates with the inference engine of the architecture where there is one (MACE on the CPU):
            several times faster, equal to autograd within the error of its tables, 1e-6 of the largest force or less.
            ``autograd`` never does.

    Raises:
        InputError: if the skin is negative or the engine is unknown.
    """

    def __init__(
        self,
        potential: Potential,
        *,
        device: torch.device,
        dtype: torch.dtype,
        skin: float = 0.0,
        backend: str = "auto",
        allow_overlap: bool = False,
        engine: str = "auto",
    ) -> None:
        if engine not in ENGINES:
            raise InputError(f"engine must be one of {', '.join(ENGINES)}; found {engine!r}")
        if not 0 <= skin < float("inf"):
            raise InputError(f"skin must be a length in Å, 0 or more; found {skin}")
        self.potential = adapted(potential, device, dtype)
        self.device, self.dtype = device, dtype
        self.backend, self.allow_overlap = backend, allow_overlap
        self.skin = skin
        self._list = VerletList(self.potential.cutoff, skin=skin, backend=backend) if skin > 0 else None
        self._measured_edges = _MEASURED_FROM
        self._double: Potential | None = None
        self.engine = engine
        self._engine: Engine | None = None
        self._engine_is_known = engine == "autograd"
        self._predictor: HessianEngine | None = None

    def fresh(self) -> Evaluator:
        """Another evaluator of the same weights, with a neighbor list of its own."""
        twin = Evaluator(
            self.potential,
            device=self.device,
            dtype=self.dtype,
            skin=self.skin,
            backend=self.backend,
            allow_overlap=self.allow_overlap,
            engine=self.engine,
        )
        twin._engine, twin._engine_is_known = self._engine, self._engine_is_known
        twin._double = self._double
        return twin

    def graph(
        self, positions: FloatArray, numbers: NDArray[np.int64], cell: FloatArray, pbc: NDArray[np.bool_]
    ) -> AtomGraph:
        """The structure with edges, checked.

        Args:
            positions: shape (n_atoms, 3), Å.
            numbers: atomic numbers, shape (n_atoms,).
            cell: lattice vectors in rows, shape (3, 3), Å.
            pbc: periodic directions, shape (3,).

        Raises:
            InputError, UnsupportedElementError: see ``atomsym.core.validate_structure``.
            OutOfMemoryError: if the edges would not fit.
        """
        return self._connected(positions, numbers, cell, pbc, self.dtype)

    def evaluate(self, graph: AtomGraph, properties: tuple[str, ...]) -> Evaluation:
        """Energies, and forces or stress if asked for; see ``atomsym.derivatives.evaluate``.

        Raises:
            OutOfMemoryError: if it would not fit; estimated before it starts.
            CalculationError: if a result is not finite.
        """
        engine = self._current_engine()
        if graph.n_edges > self._measured_edges:
            self._require_memory(graph, engine)
            self._measured_edges = graph.n_edges
        if engine is not None:
            try:
                return evaluate_with_engine(engine, graph, properties)
            except NotCoveredError:
                _LOGGER.debug("the inference engine does not cover this structure; autograd does")
        return evaluate(self.potential, graph, properties)

    def properties(self, graph: AtomGraph) -> list[float]:
        """The property of each system, of a model that gives one instead of energies, in its unit.

        Raises:
            InputError: if the model gives energies.
            CalculationError: if a value is not finite.
        """
        return [float(value) for value in intensive_property(self.potential, graph)]

    def _current_engine(self) -> Engine | None:
        """The engine of the weights as they are now; made when it is first needed."""
        if self._engine is not None and self._engine.outdated():
            self._engine, self._engine_is_known = None, False
        if not self._engine_is_known:
            self._engine = engine_for(self.potential, self.dtype)
            self._engine_is_known = True
        return self._engine

    def hessian(
        self,
        positions: FloatArray,
        numbers: NDArray[np.int64],
        cell: FloatArray,
        pbc: NDArray[np.bool_],
        *,
        method: HessianMethod = "auto",
        indices: list[int] | None = None,
    ) -> FloatArray:
        """Second derivatives, shape (3n, 3n), eV/Å², always in double precision; see ``atomsym.derivatives.hessian``.

        ``finite-difference`` takes central differences of the forces of an inference engine in double precision where
        there is one: faster than autograd, and equal within 1e-6 of the largest entry. ``predicted`` takes the features
        from such an engine, which costs its tables once and then several times less.

        Raises:
            InputError, OutOfMemoryError: see there.
        """
        graph = self._connected(positions, numbers, cell, pbc, torch.float64)
        by_engine = method == "finite-difference" and self.dtype == torch.float64
        engine = self._current_engine() if by_engine else None
        if engine is not None:
            try:
                moving = torch.arange(graph.n_atoms) if indices is None else torch.tensor(indices, dtype=torch.int64)
                return hessian_with_engine(engine, graph, moving).numpy()
            except NotCoveredError:
                _LOGGER.debug("the inference engine does not cover this structure; autograd does")
        if method == "predicted" and indices is None:
            predictor = self._current_predictor()
            if predictor is not None:
                try:
                    return predictor.hessians(graph)[0].numpy()
                except NotCoveredError:
                    _LOGGER.debug("the inference engine does not cover this structure; the model itself does")
        return hessian(self._in_double(), graph, method=method, indices=indices).cpu().numpy()

    def _in_double(self) -> Potential:
        if self._double is None:
            self._double = adapted(self.potential, self.device, torch.float64)
        return self._double

    def _current_predictor(self) -> HessianEngine | None:
        """What predicts Hessians without autograd, with the weights as they are now; made when it is first needed."""
        if self.engine == "autograd" or self.device.type != "cpu" or not isinstance(self.potential, HessianPotential):
            return None
        if self._predictor is None or self._predictor.outdated():
            in_double = self.dtype == torch.float64
            potential = self.potential if in_double else cast(HessianPotential, self._in_double())
            self._predictor = HessianEngine.of(potential, self._current_engine() if in_double else None)
        return self._predictor

    def _connected(
        self,
        positions: FloatArray,
        numbers: NDArray[np.int64],
        cell: FloatArray,
        pbc: NDArray[np.bool_],
        dtype: torch.dtype,
    ) -> AtomGraph:
        elements = self.potential.elements
        validate_structure(positions, numbers, cell, pbc, elements=elements, allow_overlap=True)  # edges tell below
        if dtype == torch.float32:
            positions = near_origin(positions, cell, pbc)
        bare = AtomGraph.from_arrays(positions, numbers, cell, pbc, dtype=dtype, device=self.device)
        if self._list is None or dtype != self.dtype:
            graph = connect(bare, self.potential.cutoff, backend=self.backend)
        else:
            graph = self._list.graph(bare)
        if not self.allow_overlap:
            validate_distances(graph)
        return graph

    def _require_memory(self, graph: AtomGraph, engine: Engine | None) -> None:
        kept = kept_bytes(self.potential, graph, twice=False) if engine is None else engine.needed_bytes(graph)
        needed = 1.2 * kept
        free = free_memory(self.device)
        if needed > free:
            raise OutOfMemoryError(
                f"{graph.n_atoms} atoms with {graph.n_edges} edges need about {in_words(needed)}, but {in_words(free)} "
                f"are free on {self.device}; about {int(graph.n_atoms * free / needed)} such atoms would fit"
            )


def adapted(potential: Potential, device: torch.device, dtype: torch.dtype) -> Potential:
    """The potential in evaluation mode on this device in this precision; the one passed in is left as it is.

    Modules are copied; parameters and buffers are shared where they fit already.
    """
    tensors: list[Tensor] = [*potential.parameters(), *potential.buffers()]
    fits = all(t.device == device and (not t.dtype.is_floating_point or t.dtype == dtype) for t in tensors)
    if fits:
        return copy.deepcopy(potential, {id(tensor): tensor for tensor in tensors}).eval()
    return copy.deepcopy(potential).to(device=device, dtype=dtype).eval()


def near_origin(positions: FloatArray, cell: FloatArray, pbc: NDArray[np.bool_]) -> FloatArray:
    """Positions wrapped into the cell and then all moved by one vector, so that the origin is amid them.

    Energies and their derivatives do not change, but the numbers become small. Along the lattice the vector depends on
    the cell alone: an atom that is wrapped does not move the others.

    Args:
        positions: shape (n_atoms, 3), Å.
        cell: lattice vectors in rows, shape (3, 3), Å, independent where periodic.
        pbc: periodic directions, shape (3,).
    """
    if len(positions) == 0:
        return positions
    periodic = cell[pbc]
    dual = np.linalg.pinv(periodic) if len(periodic) else np.zeros((3, 0))
    centre = positions.mean(axis=0)
    across = centre - centre @ dual @ periodic
    return positions - np.floor(positions @ dual) @ periodic - 0.5 * periodic.sum(axis=0) - across
