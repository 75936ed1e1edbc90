"""Layer 3: generators of crystals."""
