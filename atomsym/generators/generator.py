"""What every generator of protostructures is: a network with a loss to train it by and a way to draw from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.core import ConfigError, InputError
from atomsym.core.elements import MAX_ATOMIC_NUMBER, format_elements
from atomsym.generators.batch import ProtostructureBatch
from atomsym.generators.conditions import Conditions
from atomsym.generators.generated import GeneratedProtostructure
from atomsym.generators.reachability import reachability
from atomsym.symmetry.wyckoff.table import N_GROUPS

Progress = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked of a draw; see ``ProtostructureGenerator.sample_in_groups``.

    Attributes:
        conditions: that hold, among the elements that the generator knows.
        temperature: of the distributions, > 0.
        targets: values of properties to aim at.
        guidance: how strongly.
    """

    conditions: Conditions
    temperature: float
    targets: Mapping[str, float]
    guidance: float


class Pool(NamedTuple):
    """Crystals that are drawn together, from candidates that can take each other's place.

    Attributes:
        groups: space groups of the candidates, which can meet the conditions; shape (n_candidates,), int64.
        n: how many of the candidates are wanted.
    """

    groups: NDArray[np.int64]
    n: int


class ProtostructureGenerator(torch.nn.Module):
    """Base class of generators. A subclass sets ``architecture`` and ``Config``, registers itself with
    ``register_generator``, and implements ``loss`` and ``draw``.

    Everything that is learned or counted is in parameters and persistent buffers, so that ``Config`` and
    ``state_dict`` are the whole generator.

    Attributes:
        architecture: the name it is registered and saved under.
        Config: frozen dataclass of plain data; all fields have defaults.
        batch: how many crystals it draws at a time if nothing else is said.
        group_counts: how many training crystals each space group has, shape (231,), int64; entry 0 is unused.
        element_counts: in how many of them each element occurs, shape (119,), int64, by atomic number.
    """

    architecture: ClassVar[str]
    Config: ClassVar[type[Any]]
    batch: ClassVar[int] = 512
    group_counts: Tensor
    element_counts: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("group_counts", torch.zeros(N_GROUPS + 1, dtype=torch.int64))
        self.register_buffer("element_counts", torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.int64))

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of the properties that it can be asked for, in the order of the columns of training batches."""
        return ()

    @property
    def device(self) -> torch.device:
        return self.group_counts.device

    def learn_statistics(self, data: ProtostructureBatch) -> None:
        """Take over what is counted and not learned from all training crystals, before the first step.

        Here the distribution of space groups and the elements. A subclass that wants more extends this.
        """
        self.group_counts.copy_(torch.bincount(data.groups, minlength=N_GROUPS + 1))
        occurs = torch.zeros(len(data.groups), MAX_ATOMIC_NUMBER + 1, dtype=torch.int64, device=data.groups.device)
        occurs.scatter_(1, data.elements, 1)
        occurs[:, 0] = 0
        self.element_counts.copy_(occurs.sum(dim=0))

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

    def known_elements(self) -> tuple[int, ...]:
        """Atomic numbers that may be drawn: those of the training crystals; all before anything was learned."""
        found = torch.nonzero(self.element_counts).flatten().tolist()
        return tuple(found) or tuple(range(1, MAX_ATOMIC_NUMBER + 1))

    def known_conditions(self, conditions: Conditions) -> Conditions:
        """The same conditions among the elements that the generator knows.

        What a network says of an element that no training crystal has is noise, and so is never drawn.

        Raises:
            ConfigError: if they need an element that it does not know.
        """
        known = set(self.known_elements())
        unknown = [number for number in conditions.required if number not in known]
        allowed = tuple(number for number in conditions.allowed if number in known)
        if unknown or not allowed:
            needed = format_elements(unknown or conditions.allowed)
            raise ConfigError(f"the generator has learned from no crystal with {needed}, which the conditions need")
        if conditions.composition is not None or len(allowed) == len(conditions.allowed):
            return conditions
        return replace(conditions, elements=allowed, excluded=())

    def n_candidates(self, n: int, conditions: Conditions) -> int:
        """How many candidates ``draw`` wants for a pool of n; a subclass that chooses among several overrides this."""
        return n

    def draw(
        self, pools: Sequence[Pool], request: Request, generator: torch.Generator
    ) -> list[GeneratedProtostructure]:
        """The protostructures of each pool, one pool after the other; what ``sample`` and ``sample_in_groups`` call.

        Args:
            pools: what to draw.
            request: what is wanted of them; checked already.
            generator: of the draws, on the CPU.

        Returns:
            Their log-likelihoods are those within the space group.
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
        batch: int | None = None,
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
            batch: crystals at a time; under conditions these are drawn together. None: as the generator does best.
            on_progress: is told how many crystals are done.

        Raises:
            InputError: if a space-group number is not 1 to 230, or the generator is in training mode.
            ConfigError: if the temperature or the batch is not positive, a group cannot meet the conditions, or a
                target is not one of its properties.
        """
        batch = self.batch if batch is None else batch
        wanted = self._request(conditions, temperature, targets, guidance, batch)
        require_groups(groups)
        numbers = np.array(groups, dtype=np.int64)
        different = np.unique(numbers)
        impossible = different[~reachability(wanted.conditions).possible(different)].tolist()
        if impossible:
            raise ConfigError(f"no crystal of the space groups {', '.join(map(str, impossible))} meets the conditions")
        found: list[GeneratedProtostructure] = []
        for start in range(0, len(numbers), batch):
            part = numbers[start : start + batch]
            own, counts = np.unique(part, return_counts=True)
            sizes = [self.n_candidates(n, wanted.conditions) for n in counts.tolist()]
            pools = [Pool(np.full(size, group), n) for group, size, n in zip(own, sizes, counts.tolist(), strict=True)]
            drawn = self.draw(pools, wanted, generator)
            places = np.argsort(np.argsort(part, kind="stable"), kind="stable")
            found += [drawn[place] for place in places.tolist()]
            if on_progress is not None:
                on_progress(len(found))
        return found

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
        batch: int | None = None,
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
        batch = self.batch if batch is None else batch
        wanted = self._request(conditions, temperature, targets, guidance, batch)
        probabilities = torch.from_numpy(self.group_probabilities(wanted.conditions, space_groups))
        logs = probabilities.log().tolist()
        found: list[GeneratedProtostructure] = []
        while len(found) < n:
            size = min(batch, n - len(found))
            candidates = self.n_candidates(size, wanted.conditions)
            groups = torch.multinomial(probabilities, candidates, replacement=True, generator=generator).numpy()
            found += [
                replace(each, log_likelihood=each.log_likelihood + logs[each.protostructure.space_group])
                for each in self.draw([Pool(groups, size)], wanted, generator)
            ]
            if on_progress is not None:
                on_progress(len(found))
        return found

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
        listed_groups = np.flatnonzero(counts)
        possible = reachability(self.known_conditions(conditions)).possible(listed_groups)
        counts[listed_groups[~possible]] = 0.0
        if not counts.any():
            among = f"the space groups {', '.join(map(str, space_groups))}" if space_groups else "all space groups"
            raise ConfigError(f"no crystal of {among} meets the conditions")
        return np.asarray(counts / counts.sum())

    def require_targets(self, targets: Mapping[str, float], guidance: float = 1.0) -> None:
        """Check that the generator can aim at these properties.

        Args:
            targets: values by name.
            guidance: how strongly to aim at them.

        Raises:
            ConfigError: if a property is not one of ``properties``, or a number is not finite.
        """
        unknown = sorted(set(targets) - set(self.properties))
        if unknown:
            known = ", ".join(self.properties) or "none"
            raise ConfigError(f"'{unknown[0]}' is not a property that the generator can be asked for; known: {known}")
        if not all(np.isfinite([*targets.values(), guidance])):
            raise ConfigError(f"targets and guidance must be finite numbers; found {dict(targets)} and {guidance}")

    def _request(
        self,
        conditions: Conditions | None,
        temperature: float,
        targets: Mapping[str, float] | None,
        guidance: float,
        batch: int,
    ) -> Request:
        """The checks that ``sample_in_groups`` states, but for those of the groups, before any work."""
        if not temperature > 0:
            raise ConfigError(f"the temperature must be positive; found {temperature}")
        if batch < 1:
            raise ConfigError(f"batch must be at least 1; found {batch}")
        if self.training:
            raise InputError("the generator is in training mode: its dropout would spoil the samples; call eval()")
        wanted = targets or {}
        self.require_targets(wanted, guidance)
        return Request(self.known_conditions(conditions or Conditions()), temperature, wanted, guidance)


def require_groups(groups: Sequence[int]) -> None:
    """Check that these are numbers of space groups.

    Raises:
        InputError: if one is not 1 to 230.
    """
    for group in groups:
        if not 1 <= group <= N_GROUPS:
            raise InputError(f"there is no space group {group}; they are 1 to {N_GROUPS}")
