"""A captioner on disk: its network, its vocabulary, its checkpoint folder."""
