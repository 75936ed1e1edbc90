"""Benchmarks that users can run: every row has our time and that of the package compared with, from the same run."""
