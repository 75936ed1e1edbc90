"""Layer 3: interatomic potentials, one file or folder per published architecture, found by name."""
