"""How good trained generators are, from draws to the hull: ``python -m atomsym.workflows.evaluate_generators``."""
