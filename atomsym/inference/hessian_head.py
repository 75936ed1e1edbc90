"""Predicted Hessians without autograd: features from an engine, and the Hessian head as one kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core import AtomGraph, InputError
from atomsym.heads import HessianPotential
from atomsym.inference.engine import Engine, engine_for
from atomsym.inference.hessian_kernel import HessianKernel
from atomsym.kernels.neighbors import connect


class HessianEngine:
    """The Hessians of ``HessianPotential.hessians`` without autograd, for a potential whose weights do not change.

    Features of the atoms come from the inference engine of the backbone, which limits the agreement with the potential
    by its tables; see ``HessianKernel`` for the head.

    Args:
        potential: on the CPU; never changed.
        engine: of its backbone.
    """

    def __init__(self, potential: HessianPotential, engine: Engine) -> None:
        self._potential, self._engine = potential, engine
        self._head = HessianKernel(potential.head, engine.dtype)
        self._tensors = (*potential.parameters(), *potential.buffers())
        self._versions = self._current_versions()

    @classmethod
    def of(cls, potential: HessianPotential, engine: Engine | None = None) -> HessianEngine | None:
        """One of a potential in double precision on the CPU; None if its backbone has no engine that gives features.

        Args:
            potential: see above.
            engine: of the backbone, where there is one already.
        """
        made = engine or engine_for(potential, torch.float64)
        return cls(potential, made) if made is not None and made.gives_features else None

    def outdated(self) -> bool:
        """Whether a weight has been changed in place since this was made."""
        return self._versions != self._current_versions() or self._engine.outdated()

    def _current_versions(self) -> list[int]:
        return [tensor._version for tensor in self._tensors]

    def hessians(self, graph: AtomGraph, *, sum_rule: bool = True) -> list[Tensor]:
        """Predicted Hessians of all systems, detached; see ``HessianPotential.hessians``.

        Args:
            graph: one system or a batch on the CPU, in the engine's dtype and without strain; edges are made if they
                are missing.
            sum_rule: make rows and columns sum to zero for each axis.

        Raises:
            InputError: if the graph does not fit the potential or the engine.
            NotCoveredError: if the engine does not cover the structure; the potential does.
        """
        if graph.dtype != self._engine.dtype or graph.device.type != "cpu" or graph.strain is not None:
            raise InputError(f"Hessians are predicted of unstrained graphs in {self._engine.dtype} on the cpu")
        with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
            connected = graph if graph.cutoff is not None else connect(graph, self._potential.cutoff)
            self._potential.require_edges(connected)
            features = self._engine.features(connected)
            species = self._potential.backbone.species(connected.numbers)
            return self._head.matrices(features, species, connected, sum_rule=sum_rule)
