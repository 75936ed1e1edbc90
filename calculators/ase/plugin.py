"""What ASE's plugin system reads (entry point ``ase.plugins``)."""

from ase._4.plugins.plugin import CalculatorPlugin

__ase_plugins__ = {
    CalculatorPlugin(
        "atomsym",
        citation="The atomsym developers, atomsym",
        implementation="atomsym.calculators.ase.calculator.AtomsymCalculator",
    )
}
