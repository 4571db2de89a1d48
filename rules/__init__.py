"""Rule classifiers that a person can read, sign and deploy."""
