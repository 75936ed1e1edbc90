"""Neighbor lists: which atoms, and which of their periodic images, lie within a cutoff of each atom.

``neighbor_list`` works on arrays, ``connect`` on graphs, ``VerletList`` keeps a list over the steps of a trajectory.
"""

from atomsym.kernels.neighbors.connect import connect
from atomsym.kernels.neighbors.neighbor_list import NEIGHBOR_LIST, neighbor_list
from atomsym.kernels.neighbors.request import NeighborList
from atomsym.kernels.neighbors.verlet import VerletList

__all__ = ["NEIGHBOR_LIST", "NeighborList", "VerletList", "connect", "neighbor_list"]
