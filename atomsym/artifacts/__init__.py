"""Layer 4: model files (safetensors with JSON metadata) and the checks on them."""
