"""Layer 1: neighbor lists, spherical harmonics, tensor products, contractions, segment reductions.

One operation, one front function, a plain-torch reference, and backends that state what they can do.
"""
