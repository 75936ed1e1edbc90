"""Large results use memory again, never two at once, and only up to the limit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from atomsym.kernels.memory import SMALLEST, recycled_empty, recycled_kept, set_recycled_limit
from atomsym.kernels.native import cpu_reason

pytestmark = pytest.mark.skipif(cpu_reason() is not None, reason=str(cpu_reason()))
LARGE = (SMALLEST // 4,)


@pytest.fixture(autouse=True)
def _empty_pool() -> Iterator[None]:
    former = set_recycled_limit(0)
    set_recycled_limit(former)
    yield
    set_recycled_limit(former)


def test_memory_returns_when_the_last_view_is_gone() -> None:
    tensor = recycled_empty(LARGE, torch.float32)
    address, view = tensor.data_ptr(), tensor[3:].reshape(-1)
    del tensor
    assert recycled_kept() == 0
    assert recycled_empty(LARGE, torch.float32).data_ptr() != address
    view.fill_(1.0)
    del view
    assert recycled_kept() > 0


def test_the_next_tensor_of_that_size_takes_the_same_memory() -> None:
    tensor = recycled_empty(LARGE, torch.float32)
    address = tensor.data_ptr()
    del tensor
    again = recycled_empty((2, LARGE[0] // 4), torch.float64)
    assert again.data_ptr() == address
    assert again.shape == (2, LARGE[0] // 4)
    assert again.dtype == torch.float64


def test_a_much_larger_block_is_not_wasted_on_a_small_tensor() -> None:
    del_me = recycled_empty((4 * LARGE[0],), torch.float32)
    address = del_me.data_ptr()
    del del_me
    assert recycled_empty(LARGE, torch.float32).data_ptr() != address


def test_nothing_is_kept_above_the_limit() -> None:
    set_recycled_limit(2 * SMALLEST)
    tensors = [recycled_empty(LARGE, torch.float32) for _ in range(5)]
    del tensors
    assert 0 < recycled_kept() <= 2 * SMALLEST
    set_recycled_limit(0)
    assert recycled_kept() == 0
