"""How good generated crystals are: ``atomsym evaluate-crystals``."""
