"""Fitted estimators and preparation of tables as plain operators."""
