"""From what a user writes to a calculator; see ``atomsym.calculators.ase.load``."""

from atomsym.calculators.ase.load import load_calculator, parse_kwargs

__all__ = ["load_calculator", "parse_kwargs"]
