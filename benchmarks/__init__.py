"""Speed and memory of each path beside the published loop: `make bench`, or `python -m benchmarks --help`."""

import captioning  # noqa: F401  (threads that sleep instead of spinning, here and in the processes started from here)
