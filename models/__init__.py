"""The networks and nothing else: tensors in, tensors out. No files, no settings."""
