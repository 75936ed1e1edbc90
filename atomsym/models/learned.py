"""What learned potentials share: species, energies of isolated atoms, and the units of the network's output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from atomsym.core import AtomGraph, ConfigError, InputError, UnsupportedElementError
from atomsym.core.elements import MAX_ATOMIC_NUMBER, format_elements, symbol_of
from atomsym.models.pair import check_elements_and_cutoff
from atomsym.models.potential import Potential, PotentialConfig
from atomsym.models.statistics import DatasetStatistics
from atomsym.symmetry import Irrep, Irreps


@dataclass(frozen=True)
class LearnedConfig(PotentialConfig):
    """Base of the descriptions of networks that give the interaction energy of each atom.

    Attributes:
        elements: atomic numbers that the model knows, increasing.
        cutoff: radius of the neighbor list in Å.
        atomic_energies: energy of each isolated atom, one an element, eV.
        average_neighbors: number of neighbors of an atom, averaged over the training data.
        scale: factor of the interaction energy, eV.
        shift: added to the energy of each atom, eV.
    """

    atomic_energies: tuple[float, ...]
    average_neighbors: float
    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        check_elements_and_cutoff(self)
        object.__setattr__(self, "atomic_energies", tuple(self.atomic_energies))
        if len(self.atomic_energies) != len(self.elements):
            raise ConfigError(f"{len(self.atomic_energies)} atomic_energies for {len(self.elements)} elements")
        numbers = (*self.atomic_energies, self.average_neighbors, self.scale, self.shift)
        if not all(math.isfinite(value) for value in numbers) or self.average_neighbors <= 0:
            raise ConfigError("atomic_energies, scale and shift must be finite, average_neighbors positive")

    def require_at_least_one(self, *names: str) -> None:
        """Refuse counts and widths below 1, alone or in tuples.

        Raises:
            ConfigError: naming the first one.
        """
        for name in names:
            value = getattr(self, name)
            if any(size < 1 for size in (value if isinstance(value, tuple) else (value,))):
                raise ConfigError(f"{name} must be at least 1; found {value}")

    def require_hidden(self, hidden: str) -> None:
        """Refuse irreps of hidden features that repeat or do not begin with the scalars.

        Raises:
            ConfigError: saying so.
        """
        irreps = Irreps.parse(hidden)
        if not irreps.items or irreps[0] != Irrep(0, 1) or len(set(irreps)) != len(irreps):
            raise ConfigError(f"hidden must be different irreps that begin with 0e; found '{hidden}'")


class LearnedPotential(Potential):
    """E_i = E0(z_i) + scale · (what the network says of atom i) + shift, in float64 whatever the weights are.

    Isolated-atom energies of 10⁴ eV would drown the interaction in single precision.
    """

    config: LearnedConfig

    def __init__(self, config: LearnedConfig) -> None:
        super().__init__(config)
        row = torch.full((MAX_ATOMIC_NUMBER + 1,), -1, dtype=torch.int64)
        row[list(config.elements)] = torch.arange(len(config.elements))
        self.register_buffer("_row", row, persistent=False)

    def require_edges(self, graph: AtomGraph) -> None:
        """Refuse a graph without edges as far as the cutoff, or of another precision than the weights.

        Raises:
            InputError: saying which.
        """
        super().require_edges(graph)
        dtype = next(self.parameters()).dtype
        if graph.dtype != dtype:
            raise InputError(f"the graph is {graph.dtype}, the weights are {dtype}; convert one of them with .to()")

    def species(self, numbers: Tensor) -> Tensor:
        """Position of each atom's element in ``elements``, shape (n_atoms,), int64.

        Raises:
            UnsupportedElementError: naming the first atom of an element that is not there; not in compiled code.
        """
        row: Any = self._row
        species: Tensor = row[numbers]
        if not torch.compiler.is_compiling() and species.numel() and int(species.min()) < 0:
            atom = int((species < 0).nonzero()[0, 0])
            raise UnsupportedElementError(
                f"atoms[{atom}] is {symbol_of(int(numbers[atom]))}; this model knows {format_elements(self.elements)}"
            )
        return species

    def total(self, energies: Tensor, species: Tensor) -> Tensor:
        """Energies of the atoms from the network's, shape (n_atoms,), float64, eV."""
        config = self.config
        isolated = torch.tensor(config.atomic_energies, dtype=torch.float64, device=energies.device)
        return isolated[species] + (config.scale * energies.to(torch.float64) + config.shift)

    @classmethod
    def config_from_statistics(cls, settings: Mapping[str, Any], statistics: DatasetStatistics) -> PotentialConfig:
        """The config of a potential that is about to be trained: what the user set, the rest from the data.

        Elements, cutoff, isolated-atom energies and the average number of neighbors are the data's; scale is the root
        mean square force (1 where no forces are known), shift the mean interaction energy of an atom.

        Raises:
            ConfigError: if the settings have an element whose isolated energy is unknown, or a cutoff that neighbors
                were not counted in, or the config itself refuses a value.
        """
        energies = dict(zip(statistics.elements, statistics.atomic_energies, strict=True))
        elements = tuple(settings.get("elements", statistics.elements))
        unknown = [number for number in elements if number not in energies]
        if unknown and "atomic_energies" not in settings:
            raise ConfigError(
                f"the data do not hold {format_elements(unknown)}; set atomic_energies for {format_elements(elements)}"
            )
        if settings.get("cutoff", statistics.cutoff) != statistics.cutoff and "average_neighbors" not in settings:
            raise ConfigError(
                f"neighbors were counted up to {statistics.cutoff:g} Å, but the cutoff is {settings['cutoff']:g} Å; "
                "count them again or set average_neighbors"
            )
        from_data = {
            "cutoff": statistics.cutoff,
            "atomic_energies": tuple(energies.get(number, 0.0) for number in elements),
            "average_neighbors": statistics.average_neighbors,
            "scale": statistics.rms_forces if statistics.rms_forces > 0 else 1.0,
            "shift": statistics.mean_interaction_energy,
        }
        return super().config_from_statistics({**from_data, **settings}, statistics)

    @classmethod
    def with_energy_offsets(cls, config: Any, offsets: Mapping[int, float]) -> PotentialConfig:
        """The config with other ``atomic_energies``."""
        pairs = zip(config.elements, config.atomic_energies, strict=True)
        return replace(config, atomic_energies=tuple(energy + offsets.get(z, 0.0) for z, energy in pairs))
