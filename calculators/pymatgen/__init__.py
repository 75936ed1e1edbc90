"""pymatgen: conversion of structures, and in ``transformations`` what makes and relaxes them.

Importing this needs no pymatgen; calling it, and importing ``transformations``, does.
"""

from atomsym.calculators.pymatgen.conversion import from_graph, to_graph

__all__ = ["from_graph", "to_graph"]
