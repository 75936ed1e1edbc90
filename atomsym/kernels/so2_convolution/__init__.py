"""Convolutions over edges in the frame of each edge, where they are block-diagonal in the order m."""

from atomsym.kernels.so2_convolution.channelwise import so2_product_from_channelwise, so2_weight_map
from atomsym.kernels.so2_convolution.convolution import so2_convolution
from atomsym.kernels.so2_convolution.frames import EdgeFrames, edge_frames
from atomsym.kernels.so2_convolution.orders import (
    OrderFrames,
    components_by_order,
    order_components,
    order_frames,
    rotate_into_frames,
    rotate_out_of_frames,
)
from atomsym.kernels.so2_convolution.product import SO2Path, SO2Product

__all__ = [
    "EdgeFrames",
    "OrderFrames",
    "SO2Path",
    "SO2Product",
    "components_by_order",
    "edge_frames",
    "order_components",
    "order_frames",
    "rotate_into_frames",
    "rotate_out_of_frames",
    "so2_convolution",
    "so2_product_from_channelwise",
    "so2_weight_map",
]
