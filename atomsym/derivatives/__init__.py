"""Layer 4: forces, stress, Hessians and Hessian-vector products of any energy function of an atom graph."""

from atomsym.derivatives.energies import EnergyFunction
from atomsym.derivatives.evaluate import PROPERTIES, Evaluation, evaluate
from atomsym.derivatives.hessian import HessianMethod, hessian, hessian_asymmetry, hessians
from atomsym.derivatives.hessian_operator import HessianOperator, hessian_vector_product

__all__ = [
    "PROPERTIES",
    "EnergyFunction",
    "Evaluation",
    "HessianMethod",
    "HessianOperator",
    "evaluate",
    "hessian",
    "hessian_asymmetry",
    "hessian_vector_product",
    "hessians",
]
