"""User-facing benchmarks: each module has ``run(...)``, which returns rows of plain values."""
