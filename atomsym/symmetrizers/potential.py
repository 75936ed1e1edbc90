"""A potential averaged over frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor

from atomsym.core import AtomGraph, ConfigError
from atomsym.core.configs import config_from_dict, config_to_dict
from atomsym.models import DatasetStatistics, Potential, PotentialConfig, PotentialOutput
from atomsym.models.description import described_from_statistics, description_of
from atomsym.models.holding import HoldingPotential
from atomsym.models.registry import register_architecture
from atomsym.symmetrizers.copies import frame_blocks, rotated_copies
from atomsym.symmetrizers.recomputation import recomputed
from atomsym.symmetrizers.settings import SYMMETRIZED
from atomsym.symmetrizers.symmetrizer import Symmetrizer, SymmetrizerConfig, symmetrizer
from atomsym.symmetry.frames import Frames


@dataclass(frozen=True)
class SymmetrizedConfig(PotentialConfig):
    """A potential and its symmetrizer.

    Attributes:
        elements: of the potential.
        cutoff: of the potential, Å.
        model: ``architecture`` and the entries of that architecture's config.
        symmetrizer: ``method`` and the entries of that method's config.
    """

    model: dict[str, Any]
    symmetrizer: dict[str, Any] = field(default_factory=lambda: {"method": "weighted"})


@register_architecture
class SymmetrizedPotential(HoldingPotential):
    """E = Σ_f w_f E_model(x R_f) over the frames R_f of each system; see ``atomsym.symmetrizers``.

    All copies of all systems go through the model in one batch. Frames are functions of the positions, and the energy
    is differentiated through them: forces, stress and Hessians are derivatives of this very energy. Direct forces of
    the model are turned back and averaged with the same weights; other direct outputs are left out.

    In evaluation mode, copies with more than ``block_edges`` edges go through the model in blocks. With derivatives a
    block is computed a second time on the way back instead of being kept, so memory is that of one block, whatever the
    number of frames; time grows by about a third. Results are the same up to rounding.

    Where frames follow from the whole system, energies of molecules far apart do not add up: each is seen from the
    frames of both. Energies of supercells do (see ``frame_points``), and so do those of fixed sets of rotations.

    Attributes:
        model: the wrapped potential.
        symmetrizer: the choice of frames.
        continuous: of the average, in evaluation mode.
        direct_outputs: ("forces",) if the model gives them.
        block_edges: edges of the copies that are in memory together.

    Example:
        >>> from atomsym.models import ARGON, LennardJones
        >>> potential = SymmetrizedPotential.of("lennard-jones", ARGON, {"method": "full", "group": "SE3"})
        >>> potential.symmetrizer.n_frames, potential.symmetrizer.exact, potential.continuous
        (4, 'SE3', False)
    """

    architecture = SYMMETRIZED
    Config = SymmetrizedConfig
    config: SymmetrizedConfig
    model: Potential
    block_edges: int = 50_000

    def __init__(self, config: SymmetrizedConfig) -> None:
        super().__init__(config)
        symmetrizer_class, settings = _symmetrizer(config.symmetrizer)
        self.symmetrizer: Symmetrizer = symmetrizer_class(settings, tuple(config.elements), config.cutoff)
        self.continuous = self.model.continuous and self.symmetrizer.continuous  # type: ignore[misc]
        self.direct_outputs = tuple(name for name in self.model.direct_outputs if name == "forces")  # type: ignore[misc]
        self.quantity, self.unit = self.model.quantity, self.model.unit

    @classmethod
    def quantity_from_settings(cls, settings: Mapping[str, Any]) -> tuple[str, str]:
        """Those of the model."""
        model, given = cls.held(settings.get("model", {}))
        return model.quantity_from_settings(given)

    @classmethod
    def held(cls, described: Mapping[str, Any]) -> tuple[type[Potential], dict[str, Any]]:
        """Class and config entries of a description.

        Raises:
            ConfigError: if it names no architecture, or is wrapped already.
        """
        found, entries = super().held(described)
        if found.architecture == SYMMETRIZED:
            raise ConfigError("a symmetrized model cannot be symmetrized again; give its architecture instead")
        return found, entries

    @classmethod
    def of(
        cls, name: str, model: PotentialConfig, symmetrizer: Mapping[str, Any] | str = "weighted"
    ) -> SymmetrizedPotential:
        """A new potential of an architecture's name and config.

        Args:
            name: of the architecture.
            model: its config.
            symmetrizer: ``method`` and the entries of its config that are not to have their defaults, or the method.

        Raises:
            ConfigError: if an entry is unknown or out of range.
        """
        described = description_of(name, model)
        chosen = {"method": symmetrizer} if isinstance(symmetrizer, str) else dict(symmetrizer)
        return cls(SymmetrizedConfig(model.elements, model.cutoff, described, _complete(chosen)))

    def forward(self, graph: AtomGraph) -> PotentialOutput:
        """Averaged energies of the atoms, shape (n_atoms,), eV, and averaged direct forces, if the model has some."""
        self.require_edges(graph)
        frames = self.symmetrizer.frames(graph)
        if self.training:
            return cast(PotentialOutput, self._average(graph, frames))
        output: dict[str, Tensor] = {}
        for start, stop in frame_blocks(graph, frames, self.block_edges):
            whole = stop - start == frames.n_frames
            found = self._average(graph, frames) if whole else self._recomputed(graph, frames.part(start, stop))
            output = {name: output[name] + value if output else value for name, value in found.items()}
        return cast(PotentialOutput, output)

    def _average(self, graph: AtomGraph, frames: Frames) -> dict[str, Tensor]:
        """Sums over the frames that are given."""
        copies = rotated_copies(graph, frames)
        found = cast(dict[str, Any], self.model(copies.graph))
        output = {"energies": copies.mean_scalars(found["energies"], graph.n_atoms)}
        if "forces" in self.direct_outputs:
            output["forces"] = copies.mean_vectors(found["forces"], graph.n_atoms)
        return output

    def _recomputed(self, graph: AtomGraph, frames: Frames) -> dict[str, Tensor]:
        """The same; what autograd needs is computed again when it is needed."""
        if not torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
            return self._average(graph, frames)  # function transforms keep no hooks

        names = ("energies", *self.direct_outputs)

        def average(
            positions: Tensor, cell: Tensor, rotations: Tensor, weights: Tensor, strain: Tensor | None = None
        ) -> tuple[Tensor, ...]:
            moved = replace(graph, positions=positions, cell=cell, strain=strain)
            found = self._average(moved, Frames(rotations, weights, frames.system))
            return tuple(found[name] for name in names)

        tensors = [graph.positions, graph.cell, frames.rotations, frames.weights]
        strain = [] if graph.strain is None else [graph.strain]
        found = recomputed(average, [*tensors, *strain], tuple(self.model.parameters()))
        return dict(zip(names, found, strict=True))

    @classmethod
    def config_from_statistics(cls, settings: Mapping[str, Any], statistics: DatasetStatistics) -> PotentialConfig:
        """The config of a potential that is about to be trained; the model takes from the data what it always does.

        Raises:
            ConfigError: as the model's, and if the symmetrizer is unknown.
        """
        cls.held(settings.get("model", {}))
        complete, described = described_from_statistics(settings, "model", statistics)
        symmetrizer_settings = _complete(settings.get("symmetrizer", {"method": "weighted"}))
        return SymmetrizedConfig(complete.elements, complete.cutoff, described, symmetrizer_settings)


def _symmetrizer(described: Mapping[str, Any]) -> tuple[type[Symmetrizer], SymmetrizerConfig]:
    """Class and config of a description.

    Raises:
        ConfigError: if it names no known method, or an entry is unknown or of the wrong type.
    """
    entries = dict(described)
    method = entries.pop("method", None)
    if not isinstance(method, str):
        raise ConfigError("symmetrizer.method is missing: the name of a symmetrizer such as weighted")
    found = symmetrizer(method)
    return found, config_from_dict(found.Config, entries)


def _complete(described: Mapping[str, Any]) -> dict[str, Any]:
    """The description with every default written down."""
    found, config = _symmetrizer(described)
    return {"method": found.method, **config_to_dict(config)}
