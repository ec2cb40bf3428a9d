"""Shared by all tests. Importing `captioning` first sets OpenMP's waiting policy before torch loads."""

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test never waits for the network
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # a worker a core, and the processes that its tests start
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # tests are of the processor's numbers, on a machine with a GPU too
sys.path.insert(0, str(Path(__file__).parent.parent))

import captioning  # noqa: F401
