"""`results/report.html` and the model cards: the run's settings, scores and example captions."""
