"""How a network learns: the loop, batches, losses of the two phases."""
