"""What the stages share: settings, data sets, feature store, text, training, decoding and scoring."""

import os

# Read by OpenMP when torch loads: a thread with nothing to do looks for work for some microseconds, then
# sleeps. Without that search, small networks on two idle cores take half as long again; without the sleep,
# tens of times as long once another process wants a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
