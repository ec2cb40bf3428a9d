"""The data set: read from a source, cleaned, as two tables."""
