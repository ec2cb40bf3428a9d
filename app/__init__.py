"""Captions for your own pictures, by what the pipeline has trained."""
