"""Speed and memory, each path next to the loop that people publish: `make bench`, or `python -m benchmarks --help`."""

import captioning  # noqa: F401  (threads that sleep instead of spinning, here and in the processes started from here)
