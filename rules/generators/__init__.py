"""Generators of rules: each yields whole rule sets, from few rules to many."""
