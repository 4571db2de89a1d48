"""Families of models for tables: each fits from a lesson and its genes."""
