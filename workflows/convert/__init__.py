"""Foreign checkpoints to model files: the pickle is opened only in a process of its own, and the result is verified."""
