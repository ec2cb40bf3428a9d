# ruff: noqa: F401
"""What the process of `forked` imports before any program starts."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import captioning  # isort: skip  # first: it sets OpenMP's waiting policy
import dvclive
import torch._dynamo  # a network's first step would import it

import commands.compare
import commands.score
import stages.evaluate
import stages.extract_clip
import stages.extract_vgg16
import stages.generate
import stages.train_clipcap
import stages.train_lstm
