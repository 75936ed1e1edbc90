"""Training by several processes: each works on a part of every batch, and gradients are summed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class Ranks:
    """The processes of a run; one alone needs no set-up. Start several with ``torchrun``.

    Attributes:
        rank: number of this process; rank 0 writes.
        size: number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @classmethod
    def of_environment(cls, device: torch.device) -> Ranks:
        """The processes that ``torchrun`` started, connected; a single one without it."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # where NCCL puts its messages
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def writes(self) -> bool:
        return self.rank == 0

    @property
    def local_rank(self) -> int:
        """Number of this process on its machine."""
        return int(os.environ.get("LOCAL_RANK", self.rank))

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one dtype by their sums over the processes, in one message."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.reshape(tensor.shape))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any process says so; all get the same answer."""
        if self.size == 1:
            return flag
        value = torch.tensor(int(flag), device=device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return bool(value)

    def gather(self, rows: Mapping[str, Tensor]) -> list[Mapping[str, Tensor]]:
        """Tables of the other processes."""
        if self.size == 1:
            return []
        everything: list[Mapping[str, Tensor]] = [{}] * self.size
        dist.all_gather_object(everything, dict(rows))
        return [table for number, table in enumerate(everything) if number != self.rank]

    def close(self) -> None:
        """Disconnect."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()
