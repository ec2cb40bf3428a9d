"""Illustrated scenes with five captions each, drawn from a seed: a data set that needs no download.

`facts` chooses who, how many, in what colour, doing what, where and with what. `drawing` paints these facts,
`captions` writes them as captions, and `making` does all three. `reading` reads facts from captions, for the
scores.
"""
