"""Configuration that Hydra composes."""
