"""Captions for your own pictures, by what the pipeline has trained."""

KINDS = {"clipcap": "ClipCap", "lstm": "LSTM"}  # of captioners, and what people call them
