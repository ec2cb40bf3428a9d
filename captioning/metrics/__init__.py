"""Captions to numbers: the field's scores."""
