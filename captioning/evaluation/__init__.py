"""Numbers to judgements: intervals, tests, baselines, tables, the report."""
