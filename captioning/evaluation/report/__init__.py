"""`results/report.html` and the model cards: what was run, how well it did and what it looks like."""
