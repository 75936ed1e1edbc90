"""Functions whose intermediate results are computed again on the way back instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def recomputed(
    function: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor], weights: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """function(*tensors), differentiable any number of times; first derivatives keep nothing but the arguments.

    ``torch.utils.checkpoint`` keeps, once it has computed everything again, what derivatives by the weights would
    need, although nobody asks for them when forces are taken. Here the second computation is gone when its block's
    derivatives are known. Differentiating those again keeps everything, as it must.

    Args:
        function: of the tensors; must do the same each time.
        tensors: its arguments.
        weights: other tensors that it depends on, such as parameters.
    """
    found: tuple[Tensor, ...] = _Recomputed.apply(function, len(tensors), *tensors, *weights)
    return found


class _Recomputed(Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., tuple[Tensor, ...]], n: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.function, ctx.n = function, n
        ctx.save_for_backward(*tensors)
        return function(*tensors[:n])  # without grad mode here

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        again = torch.is_grad_enabled()  # whether derivatives will be differentiated
        tensors = ctx.saved_tensors
        asked = [
            needed and (node is None or _will_run(node))
            for needed, (node, _) in zip(ctx.needs_input_grad[2:], ctx.next_functions, strict=True)
        ]
        with torch.enable_grad():
            # Aliases: one argument may follow from another, and that way belongs to who called.
            arguments = [tensor.view_as(tensor) if again else tensor.detach() for tensor in tensors[: ctx.n]]
            for argument, yes in zip(arguments, asked, strict=False):
                if yes and not again:
                    argument.requires_grad_()
            every = (*arguments, *tensors[ctx.n :])
            wanted = [tensor for tensor, yes in zip(every, asked, strict=True) if yes]
            outputs = ctx.function(*arguments)
            found = iter(torch.autograd.grad(outputs, wanted, grads, create_graph=again, allow_unused=True))
        return (None, None, *(next(found) if yes else None for yes in asked))


def _will_run(node: Any) -> bool:
    """Whether the engine waits for this derivative in the present pass."""
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # a leaf that torch.autograd.grad was asked about
        return True
