"""The choice of the device, and the message if a GPU cannot be used."""

import pytest
import torch

from captioning.core import device
from captioning.core.errors import UserError


def test_a_gpu_that_torch_cannot_use_is_told_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device, "NVIDIA_DRIVER", tmp_path)
    device._tell_of_unused_gpu.cache_clear()
    assert [device.pick_device().type for _ in range(3)] == ["cpu"] * 3
    said = capsys.readouterr().err
    assert said.count("warning") == 1 and torch.__version__ in said


def test_nothing_is_said_where_there_is_none_or_it_is_hidden(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    device._tell_of_unused_gpu.cache_clear()
    monkeypatch.setattr(device, "NVIDIA_DRIVER", tmp_path / "absent")
    device.pick_device()
    monkeypatch.setattr(device, "NVIDIA_DRIVER", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    device.pick_device()
    assert capsys.readouterr().err == ""


def test_bf16_is_refused_where_it_would_be_emulated(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False, "avx512_bf16": False})
    assert device.pick_dtype("auto", cpu) == device.pick_dtype("fp32", cpu) == torch.float32
    with pytest.raises(
        UserError, match="precision = 'bf16', but this processor or GPU has no bf16: set fp32"
    ):
        device.pick_dtype("bf16", cpu)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert device.pick_dtype("auto", cpu) == device.pick_dtype("bf16", cpu) == torch.bfloat16
