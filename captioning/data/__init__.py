"""The data set: reads a source, cleans it and writes two tables."""
