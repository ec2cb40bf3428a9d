"""What the stages share: settings, data sets, feature store, text, training, decoding and scoring."""

import os

# Read by OpenMP when torch loads. Spinning threads make small networks tens of times slower once another process wants
# a core; a sleeping thread costs microseconds.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
