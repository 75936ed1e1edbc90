"""Layer 2: layers shared by several architectures."""
