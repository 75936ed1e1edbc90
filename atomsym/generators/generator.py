"""What every generator of protostructures is: a network with a loss to train it by and a way to draw from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.core import ConfigError, InputError
from atomsym.generators.batch import ProtostructureBatch
from atomsym.generators.conditions import Conditions
from atomsym.generators.generated import GeneratedProtostructure
from atomsym.generators.reachability import Reachability, reachability_in
from atomsym.symmetry.wyckoff.table import N_GROUPS

Progress = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked of a draw; see ``ProtostructureGenerator.sample_in_groups``.

    Attributes:
        conditions: that hold.
        temperature: of the distributions, > 0.
        targets: values of properties to aim at.
        guidance: how strongly.
        batch: crystals at a time.
        on_progress: is told how many crystals are done.
    """

    conditions: Conditions
    temperature: float
    targets: Mapping[str, float]
    guidance: float
    batch: int
    on_progress: Progress | None

    def report(self, done: int) -> None:
        """Tell how many crystals are done."""
        if self.on_progress is not None:
            self.on_progress(done)


class ProtostructureGenerator(torch.nn.Module):
    """Base class of generators. A subclass sets ``architecture`` and ``Config``, registers itself with
    ``register_generator``, and implements ``loss`` and ``draw``.

    Everything that is learned or counted is in parameters and persistent buffers, so that ``Config`` and
    ``state_dict`` are the whole generator.

    Attributes:
        architecture: the name it is registered and saved under.
        Config: frozen dataclass of plain data; all fields have defaults.
        group_counts: how many training crystals each space group has, shape (231,), int64; entry 0 is unused.
    """

    architecture: ClassVar[str]
    Config: ClassVar[type[Any]]
    group_counts: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("group_counts", torch.zeros(N_GROUPS + 1, dtype=torch.int64))

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of the properties that it can be asked for, in the order of the columns of training batches."""
        return ()

    @property
    def device(self) -> torch.device:
        return self.group_counts.device

    def learn_statistics(self, data: ProtostructureBatch) -> None:
        """Take over what is counted and not learned from all training crystals, before the first step.

        Here the distribution of space groups. A subclass that wants more extends this.
        """
        self.group_counts.copy_(torch.bincount(data.groups, minlength=N_GROUPS + 1))

    def decay_parameters(self) -> frozenset[str]:
        """Names, as in ``named_parameters``, of the weights that weight decay may shrink: matrices, not biases."""
        return frozenset(name for name, weight in self.named_parameters() if weight.ndim > 1)

    def loss(self, batch: ProtostructureBatch, generator: torch.Generator) -> Tensor:
        """What training makes small, for each crystal, in nats: an unbiased draw of a bound of -log p(crystal | group).

        Args:
            batch: complete crystals, on the device of the generator.
            generator: of everything random but dropout, on the CPU.

        Returns:
            Shape (n,).
        """
        raise NotImplementedError(f"{type(self).__name__} must implement loss")

    def n_candidates(self, conditions: Conditions) -> int:
        """How many candidates ``draw`` wants for each crystal; a subclass that chooses among several overrides this."""
        return 1

    def draw(
        self, families: NDArray[np.int64], request: Request, generator: torch.Generator
    ) -> list[GeneratedProtostructure]:
        """One protostructure for each family; what ``sample`` and ``sample_in_groups`` call.

        Args:
            families: space groups of the candidates of each crystal, shape (n, n_candidates).
            request: what is wanted of them.
            generator: of the draws, on the CPU.

        Returns:
            Their log-likelihoods are those within the space group.

        Raises:
            InputError, ConfigError: as ``sample_in_groups``.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement draw")

    def sample_in_groups(
        self,
        groups: Sequence[int],
        *,
        generator: torch.Generator,
        conditions: Conditions | None = None,
        temperature: float = 1.0,
        targets: Mapping[str, float] | None = None,
        guidance: float = 1.0,
        batch: int = 512,
        on_progress: Progress | None = None,
    ) -> list[GeneratedProtostructure]:
        """One protostructure for each of the space groups; all of them meet the conditions.

        Args:
            groups: space-group numbers, one a crystal.
            generator: of the draws, on the CPU.
            conditions: default: at most ``MAX_ATOMS`` atoms.
            temperature: of the distributions that are drawn from, > 0.
            targets: values of some of ``properties`` to aim at.
            guidance: how strongly to aim: 0 not at all, 1 as learned, more to exaggerate.
            batch: crystals at a time.
            on_progress: is told how many crystals are done.

        Raises:
            InputError: if a space-group number is not 1 to 230, or the generator is in training mode.
            ConfigError: if the temperature is not positive, a group cannot meet the conditions, or a target is not one
                of its properties.
        """
        wanted = Request(conditions or Conditions(), temperature, targets or {}, guidance, batch, on_progress)
        one = np.array(groups, dtype=np.int64)[:, None]
        families = np.repeat(one, self.n_candidates(wanted.conditions), axis=1)
        return self.draw(families, wanted, generator)

    def sample(
        self,
        n: int,
        *,
        generator: torch.Generator,
        conditions: Conditions | None = None,
        space_groups: Sequence[int] = (),
        temperature: float = 1.0,
        targets: Mapping[str, float] | None = None,
        guidance: float = 1.0,
        batch: int = 512,
        on_progress: Progress | None = None,
    ) -> list[GeneratedProtostructure]:
        """Protostructures whose space groups are drawn from the distribution of the training crystals.

        Args:
            n: how many.
            space_groups: draw only from these; default: all that can meet the conditions. If none of them is among the
                training crystals, they are equally likely.
            generator, conditions, temperature, targets, guidance, batch, on_progress: see ``sample_in_groups``.

        Returns:
            Their log-likelihoods include that of the space group.

        Raises:
            InputError, ConfigError: as ``sample_in_groups``; also if n is negative, or no group can meet the
                conditions.
        """
        if n < 0:
            raise InputError(f"the number of crystals must not be negative; found {n}")
        wanted = Request(conditions or Conditions(), temperature, targets or {}, guidance, batch, on_progress)
        probabilities = torch.from_numpy(self.group_probabilities(wanted.conditions, space_groups))
        if n == 0:
            return []
        size = (n, self.n_candidates(wanted.conditions))
        drawn = torch.multinomial(probabilities, size[0] * size[1], replacement=True, generator=generator)
        found = self.draw(drawn.view(size).numpy(), wanted, generator)
        logs = probabilities.log().tolist()
        return [
            GeneratedProtostructure(each.protostructure, each.log_likelihood + logs[each.protostructure.space_group])
            for each in found
        ]

    def group_probabilities(
        self, conditions: Conditions, space_groups: Sequence[int] = ()
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """How likely ``sample`` draws each space group.

        Returns:
            Shape (231,), sums to 1; 0 for groups that cannot meet the conditions.

        Raises:
            InputError: if a space-group number is not 1 to 230.
            ConfigError: if no group is left, or the generator has not been trained.
        """
        require_groups(space_groups)
        counts = self.group_counts.cpu().numpy().astype(np.float64)
        if not counts.any() and not space_groups:
            raise ConfigError("the generator has not been trained: it knows no distribution of space groups; name some")
        if space_groups:
            listed = np.zeros_like(counts)
            listed[list(space_groups)] = 1.0
            counts = counts * listed if (counts * listed).any() else listed
        for group in np.flatnonzero(counts):
            if not reachability_in(int(group), conditions).possible():
                counts[group] = 0.0
        if not counts.any():
            among = f"the space groups {', '.join(map(str, space_groups))}" if space_groups else "all space groups"
            raise ConfigError(f"no crystal of {among} meets the conditions")
        return np.asarray(counts / counts.sum())


def require_groups(groups: Sequence[int]) -> None:
    """Check that these are numbers of space groups.

    Raises:
        InputError: if one is not 1 to 230.
    """
    for group in groups:
        if not 1 <= group <= N_GROUPS:
            raise InputError(f"there is no space group {group}; they are 1 to {N_GROUPS}")


def require_samplable(
    generator: ProtostructureGenerator, groups: Sequence[int], request: Request
) -> dict[int, Reachability]:
    """The checks that ``sample_in_groups`` states, before any work; what can be reached in each of the groups.

    Raises:
        InputError, ConfigError: as ``ProtostructureGenerator.sample_in_groups``.
    """
    if not request.temperature > 0:
        raise ConfigError(f"the temperature must be positive; found {request.temperature}")
    if generator.training:
        raise InputError("the generator is in training mode: its dropout would spoil the samples; call eval()")
    unknown = sorted(set(request.targets) - set(generator.properties))
    if unknown:
        known = ", ".join(generator.properties) or "none"
        raise ConfigError(f"'{unknown[0]}' is not a property that the generator can be asked for; known: {known}")
    require_groups(groups)
    reach = {group: reachability_in(group, request.conditions) for group in sorted(set(groups))}
    impossible = [group for group in reach if not reach[group].possible()]
    if impossible:
        raise ConfigError(f"no crystal of the space groups {', '.join(map(str, impossible))} meets the conditions")
    return reach
