"""Illustrated scenes with five captions each, drawn from a seed: a data set that needs no download.

Who, what colour, doing what, where, with what, how many is chosen in `facts`, painted in `drawing`, told in `captions`;
`making` does all three. `reading` finds what a caption says of a scene; the scores use it, and it imports no drawing.
"""
