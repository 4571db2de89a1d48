"""The search loop, the same for every family of models."""
