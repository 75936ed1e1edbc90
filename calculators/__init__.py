"""Layer 5: hosts. Nothing below this layer imports ASE, pymatgen or another host."""
