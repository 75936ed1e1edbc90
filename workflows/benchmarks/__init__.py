"""Benchmarks for users: each module measures one kernel beside the peers that are installed, in one run."""
