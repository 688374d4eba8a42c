"""Hands arrays from one framework to another, without a copy where none is needed."""
