"""The language in which a person writes rules: YAML, with conditions in SQL."""
