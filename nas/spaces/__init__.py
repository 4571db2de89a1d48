"""Spaces of networks: one file each, chosen by its name."""
