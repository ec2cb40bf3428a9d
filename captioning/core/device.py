"""Chooses device, precision and threads once, and prints the choice."""

from __future__ import annotations

import os
import random
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from captioning.core.errors import UserError

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def pick_device() -> torch.device:
    """Returns the GPU, if there is one. `CUDA_VISIBLE_DEVICES` chooses among several, or hides them.

    Warns once, on standard error, about a GPU that torch cannot use.
    """
    if torch.cuda.is_available():
        # torch prefers it on an H100, but it plans for 30 ms at each new shape.
        torch.backends.cuda.enable_cudnn_sdp(False)
        return torch.device("cuda")
    if NVIDIA_DRIVER.exists() and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1"):
        _tell_of_unused_gpu()
    return torch.device("cpu")


@cache
def _tell_of_unused_gpu() -> None:
    print(
        f"warning: this machine has an NVIDIA driver, but torch {torch.__version__} (CUDA "
        f"{torch.version.cuda}) finds no GPU to use: computing on the processor. "
        "The driver may be too old for this torch",
        file=sys.stderr,
        flush=True,
    )


def fits_on(device: torch.device, nbytes: int) -> bool:
    """Whether a GPU should keep this much data for a whole training: below a quarter of its free memory."""
    return device.type == "cuda" and nbytes < torch.cuda.mem_get_info(device)[0] // 4


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 matrix products are fast: on GPUs since Ampere, on CPUs with AMX or AVX-512."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of autocast for a `precision` of params.yaml (fp32 | bf16 | auto).

    Raises UserError for another name, or for bf16 without hardware for it.
    """
    if precision not in ("fp32", "bf16", "auto"):
        raise UserError(f"precision = {precision!r}: expected fp32, bf16 or auto")
    if precision == "fp32":
        return torch.float32
    if has_fast_bf16(device):
        return torch.bfloat16
    if precision == "bf16":  # emulated: hundreds of times slower, and missing for an LSTM
        raise UserError("precision = 'bf16', but this processor or GPU has no bf16: set fp32 or auto")
    return torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """A context in which networks compute in `dtype` where that is safe; float32 switches it off."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def attention_kernels(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """A context for training in `dtype` in which attention takes the faster kernels.

    On a processor, torch's fused kernel has a slow backward pass in bfloat16: for the lengths of captions,
    plain products take half its time (`python -m benchmarks --only attention`). Else torch chooses.
    """
    if device.type == "cpu" and dtype == torch.bfloat16:
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def mixed_seed(*numbers: int) -> int:
    """One seed, below 2^32, from a few numbers, such as the run's seed and the epoch."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_everything(*numbers: int) -> None:
    """Seeds Python, NumPy and torch with the `mixed_seed` of these numbers."""
    seed = mixed_seed(*numbers)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def describe(device: torch.device, dtype: torch.dtype) -> str:
    """The device's type and name, and the dtype, for a line of output."""
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"{os.cpu_count()} processor cores"
    return f"{device.type} ({name}), {str(dtype).removeprefix('torch.')}"
