"""Recipes for one model: what may be done to each layer, and the family that a search builds from."""
