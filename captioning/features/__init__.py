"""From image files to HDF5: pixels, encoders, the feature store."""
