"""Compact networks from searched spaces."""
