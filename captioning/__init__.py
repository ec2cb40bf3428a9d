"""What the stages share: settings, data sets, feature store, text, training, decoding and scoring."""

import os

# OpenMP reads these when torch loads. Idle threads spin for some microseconds, then sleep. Without spinning,
# small networks on two idle cores take half as long again. Without sleeping, they take tens of times as long
# when another process needs a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
