"""``atomsym train-generator``: generators of protostructures from crystals."""

from atomsym.workflows.train_generator.data import analysed_sets, generator_data
from atomsym.workflows.train_generator.protostructure_files import AnalysedCrystals

__all__ = ["AnalysedCrystals", "analysed_sets", "generator_data"]
