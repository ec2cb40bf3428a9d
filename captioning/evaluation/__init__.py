"""Compares and judges scores: intervals, tests, baselines, tables, the report."""
