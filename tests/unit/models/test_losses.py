"""The loss without all logits in memory: it equals torch's on logits, and so do the gradients."""

import pytest
import torch
import torch.nn.functional as F

from models.losses import CHUNK, COLUMNS, _product, linear_cross_entropy

VOCABULARY, WIDTH = 37, 16


def drawn(rows: int, targets: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(rows)
    hidden, weight = torch.randn(rows, WIDTH), torch.randn(VOCABULARY, WIDTH)
    where, tokens = torch.randint(rows, (targets,)), torch.randint(VOCABULARY, (targets,))
    return hidden.requires_grad_(), weight.requires_grad_(), where, tokens


@pytest.mark.parametrize("rows", [1, 5, CHUNK["cpu"], 2 * CHUNK["cpu"] + 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("columns", [1, 8])
def test_loss_and_gradients_are_those_of_all_logits(rows, smoothing, weighted, columns, monkeypatch):
    monkeypatch.setitem(COLUMNS, "cpu", columns)
    hidden, weight, where, tokens = drawn(rows, rows + 7)
    weights = torch.randn(len(where)) if weighted else None
    logits = hidden @ weight.T
    each = F.cross_entropy(logits[where], tokens, reduction="none", label_smoothing=smoothing)
    expected = (each if weights is None else each * weights).sum()
    wanted = torch.autograd.grad(expected / 3, (hidden, weight))
    loss = linear_cross_entropy(hidden, weight, where, tokens, weights, smoothing)
    found = torch.autograd.grad(loss / 3, (hidden, weight))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_what_needs_no_gradient_gets_none():
    hidden, weight, where, tokens = drawn(5, 9)
    full = linear_cross_entropy(hidden, weight, where, tokens)
    full.backward()
    both = hidden.grad, weight.grad
    hidden.grad = None
    frozen = weight.detach()
    linear_cross_entropy(hidden, frozen, where, tokens).backward()
    assert frozen.grad is None
    torch.testing.assert_close(hidden.grad, both[0], rtol=0, atol=0)
    weight.grad = None
    linear_cross_entropy(hidden.detach(), weight, where, tokens).backward()
    torch.testing.assert_close(weight.grad, both[1], rtol=0, atol=0)
    with torch.no_grad():
        assert not linear_cross_entropy(hidden, weight, where, tokens).requires_grad


@pytest.fixture
def uninitialised_is_nan():
    """torch.empty and its like give NaN, as used memory may contain."""
    torch.use_deterministic_algorithms(True)  # with fill_uninitialized_memory, which is on by default
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_uninitialised_memory_reaches_no_gradient(uninitialised_is_nan, dtype):
    """oneDNN's products on AMX read the memory between two rows of logits. NaN leaks from there:
    https://github.com/uxlfoundation/oneDNN/issues/5717."""
    assert torch.empty(3).isnan().all()
    hidden, weight, where, tokens = drawn(40, 60)
    logits = _product(hidden.detach().to(dtype), weight.detach().to(dtype))
    assert torch.empty(0, dtype=dtype).set_(logits.untyped_storage()).isfinite().all()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        linear_cross_entropy(hidden, weight, where, tokens).backward()
    assert hidden.grad.isfinite().all() and weight.grad.isfinite().all()


def test_the_softmax_of_bf16_logits_is_in_float32():
    hidden, weight, where, tokens = drawn(40, 60)
    exact = F.cross_entropy((hidden @ weight.T)[where], tokens, reduction="sum")
    with torch.autocast("cpu", torch.bfloat16):
        near = linear_cross_entropy(hidden, weight, where, tokens)
    near.backward()
    assert near.dtype == hidden.grad.dtype == weight.grad.dtype == torch.float32
    assert abs(near.item() / exact.item() - 1) < 0.01
    wanted = torch.autograd.grad(exact, (hidden, weight))
    for ours, theirs in zip((hidden.grad, weight.grad), wanted, strict=True):
        assert F.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.999
