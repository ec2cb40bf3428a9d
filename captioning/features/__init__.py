"""From image files to an HDF5 file: pixels, encoders, the feature store."""
