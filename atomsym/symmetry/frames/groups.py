"""The groups of motions of space and of the plane that frames are made for."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from atomsym.core.errors import InputError

Group = Literal["E3", "SE3", "E2", "SE2"]
"""E3 and SE3: rotations of space with and without reflections. E2 and SE2: those that leave the z axis as it is, for
slabs and surfaces whose normal is z. Translations belong to all of them."""

GROUPS: tuple[Group, ...] = get_args(Group)


def is_proper(group: Group) -> bool:
    """Whether reflections are left out.

    Raises:
        InputError: if there is no such group.
    """
    _check(group)
    return group.startswith("S")


def is_planar(group: Group) -> bool:
    """Whether the z axis stays.

    Raises:
        InputError: if there is no such group.
    """
    _check(group)
    return group.endswith("2")


def mirror_of(group: Group, like: Tensor) -> Tensor:
    """A reflection of the group that leaves the first axis as it is, shape (3, 3): of y in the plane, of z in space."""
    signs = (1.0, -1.0, 1.0) if is_planar(group) else (1.0, 1.0, -1.0)
    return torch.diag(torch.tensor(signs, dtype=like.dtype, device=like.device))


def _check(group: str) -> None:
    if group not in GROUPS:
        raise InputError(f"no group '{group}'; known are {', '.join(GROUPS)}")
