"""Raw library operators with one definition of their derivative, for autograd, torch.func and torch.compile alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

from atomsym.core.errors import BackendError

LIBRARY = torch.library.Library("atomsym", "FRAGMENT")

_ANY_ARGUMENTS = inspect.Signature([inspect.Parameter("inputs", inspect.Parameter.VAR_POSITIONAL)])

_PLAIN = (Tensor, torch.nn.Parameter)  # others (traced, fake, wrapped tensors) have dispatch rules of their own

Inputs = tuple[Any, ...]
Backward = Callable[[tuple[bool, ...], Inputs, tuple[Tensor | None, ...]], Sequence[Tensor | None]]
Call = Callable[..., Any]
Batching = Callable[[Call, int, tuple[int | None, ...], Inputs], tuple[Any, Any]]


class DifferentiableOperator:
    """An operator ``atomsym::name`` that eager code, function transforms and compiled code can all differentiate.

    Torch has two ways to give an operator a derivative, and each fails where the other works. ``torch.func`` (and vmap)
    transform an ``autograd.Function``, but the compiler traces its backward without a graph of its own: forces taken
    inside compiled code come out right and *silently lose their gradient*. The compiler follows a derivative that is
    registered with the library operator, which torch.func cannot transform. So an operator gets both from the same
    ``backward``; calling it takes the registered one inside compiled code and the Function elsewhere.

    Inside compiled code ``torch.autograd.grad`` (to any order, with
    ``torch._dynamo.config.trace_autograd_ops = True``) and ``torch.vmap`` work; ``torch.func.grad``, ``vjp``, ``jvp``
    and what is made of them raise an error. Outside, all reverse-mode transforms work, and forward mode raises.

    Args:
        name: of the operator in the library ``atomsym``.
        signature: the schema after the name, e.g. ``"(Tensor x, int n) -> Tensor"``; tensors may be optional, lists of
            tensors are not possible.
        kernels: implementation by dispatch key (``CPU``, ``CUDA``).
        shapes: the same without data: empty results of the right shape, for tracing.
        backward: (which inputs need a derivative, inputs, derivatives of the outputs or None) → derivatives of the
            leading inputs; missing ones are None. It must itself be made of differentiable pieces, such as other
            operators of this class. None: the result has no derivative.
        batching: (how to call the operator, batch size, mapped axis of each input or None, inputs) → (results, mapped
            axes of the results).
        saved: positions of the inputs that ``backward`` looks at, None: all. Other tensors arrive as None and are not
            kept in memory.

    Example:
        >>> double = DifferentiableOperator(
        ...     "doctest_double",
        ...     "(Tensor x) -> Tensor",
        ...     {"CPU": lambda x: 2 * x},
        ...     shapes=torch.empty_like,
        ...     backward=lambda needs, inputs, grads: (double(grads[0]),),
        ...     batching=lambda call, size, axes, inputs: (call(inputs[0]), axes[0]),
        ... )
        >>> torch.func.grad(lambda x: double(x).sum())(torch.ones(2))
        tensor([2., 2.])
    """

    def __init__(
        self,
        name: str,
        signature: str,
        kernels: Mapping[str, Callable[..., Any]],
        *,
        shapes: Callable[..., Any],
        backward: Backward | None,
        batching: Batching,
        saved: tuple[int, ...] | None = None,
    ) -> None:
        self._backward, self._batching, self._saved = backward, batching, saved
        self._kernels = {key.lower(): kernel for key, kernel in kernels.items()}
        LIBRARY.define(name + signature)
        for key, kernel in kernels.items():
            LIBRARY.impl(name, kernel, key)
        qualified = f"atomsym::{name}"
        torch.library.register_fake(qualified, shapes, lib=LIBRARY)
        torch.library.register_vmap(qualified, self._batched_raw, lib=LIBRARY)
        if backward is not None:
            torch.library.register_autograd(qualified, self._pull, setup_context=self._keep, lib=LIBRARY)
        self.raw: Any = getattr(torch.ops.atomsym, name).default
        function = self._function(name)
        self.apply: Callable[..., Any] = function.apply
        # What ``apply`` ends in outside of function transforms, without binding the arguments to a signature first:
        # that would cost more than small kernels.
        self._record: Callable[..., Any] = super(Function, function).apply  # type: ignore[misc]

    def __call__(self, *inputs: Any) -> Any:
        """The result for inputs in the order of the signature."""
        # What comes after Dynamo (a backward that the compiler records, an export) runs as eager code does.
        if torch.compiler.is_dynamo_compiling():
            _refuse_forward_mode(inputs)
            return self.raw(*inputs)
        if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
            return self.apply(*inputs)
        if torch.is_grad_enabled() and any(x.requires_grad for x in inputs if isinstance(x, Tensor)):
            return self._record(*inputs)
        return self._compute(inputs)

    def _compute(self, inputs: Inputs) -> Any:
        """The result without a derivative: by the kernel itself where the dispatcher would do nothing but find it.

        On small systems the dispatcher takes longer than the kernels do.
        """
        if torch._C._len_torch_dispatch_stack() or torch._C._are_functorch_transforms_active():
            return self.raw(*inputs)
        device = ""
        for value in inputs:
            if isinstance(value, Tensor):
                if type(value) not in _PLAIN or _is_wrapped(value) or (device and device != value.device.type):
                    return self.raw(*inputs)
                device = value.device.type
        kernel = self._kernels.get(device)
        return self.raw(*inputs) if kernel is None else kernel(*inputs)

    def _function(self, name: str) -> type[Function]:
        operator = self

        class Eager(Function):
            @staticmethod
            def forward(*inputs: Any) -> Any:
                return operator._compute(inputs)

            @staticmethod
            def setup_context(ctx: Any, inputs: Inputs, output: Any) -> None:
                operator._keep(ctx, inputs, output)

            @staticmethod
            def backward(ctx: Any, *grads: Any) -> Any:
                return operator._pull(ctx, *grads, needs=_asked_for(ctx))

            @staticmethod
            def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
                return operator._batching(operator.apply, info.batch_size, in_dims, inputs)

        # torch binds the arguments of every call to this signature; working it out would cost more than small kernels.
        Eager.forward.__signature__ = _ANY_ARGUMENTS  # type: ignore[attr-defined]
        Eager.__name__ = Eager.__qualname__ = name  # what a tensor shows as its grad_fn
        return Eager

    def _keep(self, ctx: Any, inputs: Inputs, output: Any) -> None:
        if self._backward is None:
            ctx.mark_non_differentiable(*(output if isinstance(output, tuple) else (output,)))
            ctx.n_inputs = len(inputs)
            return
        wanted = range(len(inputs)) if self._saved is None else self._saved
        ctx.places = [place for place in wanted if isinstance(inputs[place], Tensor)]
        ctx.plain = [None if isinstance(value, Tensor) else value for value in inputs]
        ctx.is_tensor = [isinstance(value, Tensor) for value in inputs]
        ctx.save_for_backward(*(inputs[place] for place in ctx.places))
        ctx.set_materialize_grads(False)

    def _pull(self, ctx: Any, *grads: Tensor | None, needs: Sequence[bool] | None = None) -> tuple[Tensor | None, ...]:
        if self._backward is None:
            return (None,) * ctx.n_inputs
        inputs = list(ctx.plain)
        if all(grad is None for grad in grads):
            return (None,) * len(inputs)
        for place, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            inputs[place] = tensor
        wanted = tuple(ctx.needs_input_grad if needs is None else needs)
        if not any(wanted):
            return (None,) * len(inputs)
        found = tuple(self._backward(wanted, tuple(inputs), grads))
        return found + (None,) * (len(inputs) - len(found))

    def _batched_raw(self, info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        return self._batching(self.raw, info.batch_size, in_dims, inputs)


def _is_wrapped(value: Tensor) -> bool:
    """Whether a function transform looks through this tensor; such ones say ``Tensor`` too, but have no data."""
    return bool(
        torch._C._functorch.is_functorch_wrapped_tensor(value) or torch._C._functorch.is_legacy_batchedtensor(value)
    )


def _asked_for(ctx: Any) -> Sequence[bool]:
    """Which inputs need a derivative in this pass, not merely some day.

    ``needs_input_grad`` is true for every trained weight, also while forces are taken, where the engine would throw
    the weights' derivatives away. It knows which nodes it will run, and so which derivatives somebody waits for.
    """
    if not any(ctx.needs_input_grad):
        return ctx.needs_input_grad
    nodes = iter(ctx.next_functions)  # one a tensor among the inputs
    return [
        need and (next_node is None or _will_run(next_node))
        for need, next_node in (
            (need, next(nodes)[0] if is_tensor else None)
            for need, is_tensor in zip(ctx.needs_input_grad, ctx.is_tensor, strict=True)
        )
    ]


def _will_run(node: Any) -> bool:
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # a leaf that torch.autograd.grad was asked about, or no backward pass of the engine
        return True


def _refuse_forward_mode(inputs: Inputs) -> None:
    """Outside of compiled code torch refuses by itself; inside, it would go on with a derivative of zero."""
    if any(forward_ad.unpack_dual(x).tangent is not None for x in inputs if isinstance(x, Tensor)):
        raise BackendError("forward-mode derivatives (jvp, jacfwd) are not given; use reverse mode (vjp, jacrev)")
