"""Shared by all tests. Importing `captioning` first sets OpenMP's waiting policy before torch loads."""

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test never waits for the network
sys.path.insert(0, str(Path(__file__).parent.parent))

import captioning  # noqa: F401
