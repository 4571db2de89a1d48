"""Comparisons and benchmarks, a script each."""
