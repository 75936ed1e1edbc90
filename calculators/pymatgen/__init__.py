"""pymatgen: conversion of structures. Importing this needs no pymatgen; calling it does."""

from atomsym.calculators.pymatgen.conversion import from_graph, to_graph

__all__ = ["from_graph", "to_graph"]
