"""One module for each layout on disk; each has `read(data, seed) -> Reading`."""
