"""Convolutions over edges in the frame of each edge, where they are block-diagonal in the order m."""

from atomsym.kernels.so2_convolution.channelwise import so2_product_from_channelwise, so2_weight_map
from atomsym.kernels.so2_convolution.convolution import so2_convolution
from atomsym.kernels.so2_convolution.frames import EdgeFrames, edge_frames
from atomsym.kernels.so2_convolution.gate import GateShape, degrees_by_order, row_gate
from atomsym.kernels.so2_convolution.linear import order_linear
from atomsym.kernels.so2_convolution.linear_description import OrderLinear
from atomsym.kernels.so2_convolution.orders import (
    OrderFrames,
    components_by_order,
    order_components,
    order_frames,
    rotate_into_frames,
    rotate_out_of_frames,
)
from atomsym.kernels.so2_convolution.product import SO2Path, SO2Product
from atomsym.kernels.so2_convolution.rows import (
    gather_linear,
    n_order_factors,
    n_order_rows,
    sum_out_of_frames,
)

__all__ = [
    "EdgeFrames",
    "GateShape",
    "OrderFrames",
    "OrderLinear",
    "SO2Path",
    "SO2Product",
    "components_by_order",
    "degrees_by_order",
    "edge_frames",
    "gather_linear",
    "n_order_factors",
    "n_order_rows",
    "order_components",
    "order_frames",
    "order_linear",
    "rotate_into_frames",
    "rotate_out_of_frames",
    "row_gate",
    "so2_convolution",
    "so2_product_from_channelwise",
    "so2_weight_map",
    "sum_out_of_frames",
]
