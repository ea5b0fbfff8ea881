"""Benchmarks: what is reached on this machine, by steps, by baselines, by the data."""
