"""Layer 5: readers and labels."""
