"""Layer 6: programs and the command line."""
