"""Frames of whole systems: finite, weighted sets of rotations that turn with the system, and fixed sets beside them."""

from atomsym.symmetry.frames.canonical import gram_schmidt_frame, polar_frame
from atomsym.symmetry.frames.crystal_point_group import crystal_point_group
from atomsym.symmetry.frames.finite_groups import POINT_GROUPS, point_group, require_group
from atomsym.symmetry.frames.frame_set import Frames, fixed_frames, joined_frames, ragged_ranges, with_mirrored
from atomsym.symmetry.frames.groups import GROUPS, Group, is_planar, is_proper, mirror_of
from atomsym.symmetry.frames.points import FramePoints, frame_points
from atomsym.symmetry.frames.principal import deterministic_frames, principal_axes, principal_frames, second_moments
from atomsym.symmetry.frames.quadrature import random_elements, rotation_quadrature
from atomsym.symmetry.frames.subsampling import largest_frames, sampled_frames
from atomsym.symmetry.frames.weighted import weighted_frames

__all__ = [
    "GROUPS",
    "POINT_GROUPS",
    "FramePoints",
    "Frames",
    "Group",
    "crystal_point_group",
    "deterministic_frames",
    "fixed_frames",
    "frame_points",
    "gram_schmidt_frame",
    "is_planar",
    "is_proper",
    "joined_frames",
    "largest_frames",
    "mirror_of",
    "point_group",
    "polar_frame",
    "principal_axes",
    "principal_frames",
    "ragged_ranges",
    "random_elements",
    "require_group",
    "rotation_quadrature",
    "sampled_frames",
    "second_moments",
    "weighted_frames",
    "with_mirrored",
]
