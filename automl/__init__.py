"""Tabular models with their preprocessing, in one small file each."""
