"""Properties of the processor that some tests need."""

import pytest
import torch

from captioning.core.device import has_fast_bf16

needs_bf16 = pytest.mark.skipif(
    not has_fast_bf16(torch.device("cpu")), reason="this processor has no bf16 units"
)
