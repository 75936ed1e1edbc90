"""What a linear map of rows by order multiplies with what: the frozen description that every backend works from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from atomsym.core.errors import InputError


class OrderBlock(NamedTuple):
    """target[:, first_out : …] += scale · source[:, first_in : …] @ W, with W one matrix of the weights.

    Attributes:
        first_in, n_in: columns of the source.
        first_out, n_out: columns of the target.
        first_weight, stride: where the matrix begins among the weights, and from one of its rows to the next.
        scale: of the matrix.
    """

    first_in: int
    n_in: int
    first_out: int
    n_out: int
    first_weight: int
    stride: int
    scale: float


@dataclass(frozen=True)
class OrderLinear:
    """Linear maps within each order m over all degrees l ≥ m and channels; hashable, plain data.

    y[+m] = x[+m] W_m − x[−m] V_m,  y[−m] = x[−m] W_m + x[+m] V_m, divided by the square root of the fan-in. With
    ``mirror`` V is zero.

    Attributes:
        max_degree, max_order: L and the largest order, of input and output.
        channels_in, channels_out: sizes of the channel axes.
        n_scalars: further numbers from the components of order 0; they come first in the output.
        mirror: whether the features know what the inversion does to them.
        shapes: of the weight matrix of each order: (k · channels_in, k · channels_out) with k = L − m + 1, for order 0
            with n_scalars columns before the others, for the others without mirror W_m and V_m side by side.
        in_width, out_width: numbers in a row of input and output.
        n_weights: numbers in all matrices, which lie one after the other.
        blocks: what is multiplied with what.
        handle: the description as text, from which ``order_linear_of`` gives an equal object back.

    Example:
        >>> linear = OrderLinear(2, 1, 4, 8, n_scalars=5)
        >>> linear.in_width, linear.out_width, linear.shapes
        (28, 61, ((12, 29), (8, 16)))
    """

    max_degree: int
    max_order: int
    channels_in: int
    channels_out: int
    n_scalars: int = 0
    mirror: bool = True
    # Plain attributes, not properties: the compiler reads them as constants.
    shapes: tuple[tuple[int, int], ...] = field(init=False, compare=False, repr=False)
    in_width: int = field(init=False, compare=False, repr=False)
    out_width: int = field(init=False, compare=False, repr=False)
    n_weights: int = field(init=False, compare=False, repr=False)
    blocks: tuple[OrderBlock, ...] = field(init=False, compare=False, repr=False)
    handle: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.max_order <= self.max_degree:
            raise InputError(f"max_order must be 0 to max_degree; found {self.max_order} and {self.max_degree}")
        first_in, first_out, first_weight = 0, 0, 0
        shapes, blocks = [], []
        for order in range(self.max_order + 1):
            degrees = self.max_degree - order + 1
            n_in, n_out = degrees * self.channels_in, degrees * self.channels_out
            if order == 0:
                n_out += self.n_scalars
                shapes.append((n_in, n_out))
                blocks.append(OrderBlock(0, n_in, 0, n_out, 0, n_out, max(n_in, 1) ** -0.5))
            else:
                stride = n_out if self.mirror else 2 * n_out
                shapes.append((n_in, stride))
                scale = max(n_in * (1 if self.mirror else 2), 1) ** -0.5
                minus_in, minus_out = first_in + n_in, first_out + n_out
                blocks.append(OrderBlock(first_in, n_in, first_out, n_out, first_weight, stride, scale))
                blocks.append(OrderBlock(minus_in, n_in, minus_out, n_out, first_weight, stride, scale))
                if not self.mirror:
                    crossed = first_weight + n_out
                    blocks.append(OrderBlock(first_in, n_in, minus_out, n_out, crossed, stride, scale))
                    blocks.append(OrderBlock(minus_in, n_in, first_out, n_out, crossed, stride, -scale))
            first_in += n_in * (2 if order else 1)
            first_out += n_out * (2 if order else 1)
            first_weight += shapes[-1][0] * shapes[-1][1]
        object.__setattr__(self, "shapes", tuple(shapes))
        object.__setattr__(self, "in_width", first_in)
        object.__setattr__(self, "out_width", first_out)
        object.__setattr__(self, "n_weights", first_weight)
        object.__setattr__(self, "blocks", tuple(blocks))
        sizes = (self.max_degree, self.max_order, self.channels_in, self.channels_out, self.n_scalars, int(self.mirror))
        object.__setattr__(self, "handle", ",".join(map(str, sizes)))


@cache
def order_linear_of(handle: str) -> OrderLinear:
    """The description that a handle stands for; equal handles give one shared object."""
    degree, order, channels_in, channels_out, n_scalars, mirror = (int(number) for number in handle.split(","))
    return OrderLinear(degree, order, channels_in, channels_out, n_scalars, bool(mirror))
