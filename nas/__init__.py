"""Compact networks stacked from searched cells."""
