"""A module a layout on disk; each has `read(data, seed) -> Reading`."""
