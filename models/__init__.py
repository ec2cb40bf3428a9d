"""The networks alone: tensors in, tensors out. No files and no settings."""
