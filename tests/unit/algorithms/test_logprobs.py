"""Chunked log-probabilities against whole ones: values, gradients, and what is never allocated."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tetrad_algorithms.logprobs import chunk_tokens, token_logprobs

TOKENS, HIDDEN, VOCABULARY = 13, 6, 11
CHUNKS = [4 * VOCABULARY, 4 * VOCABULARY * 5, 4 * VOCABULARY * 100]


def drawn(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, HIDDEN, dtype=dtype, generator=generator)
    head = torch.randn(VOCABULARY, HIDDEN, dtype=dtype, generator=generator)
    return hidden, head, torch.randint(0, VOCABULARY, (TOKENS,), generator=generator)


def whole(hidden: Tensor, head: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    log_p = (hidden @ head.T / temperature).log_softmax(-1)
    return log_p.gather(-1, targets[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients_equal_those_of_whole_logits(chunk_bytes: int, temperature: float) -> None:
    ours, theirs = [[t.clone().requires_grad_() for t in drawn()[:2]] for _ in range(2)]
    targets = drawn()[2]
    weights = torch.linspace(-1, 1, TOKENS, dtype=torch.float64)

    found = token_logprobs(*ours, targets, temperature=temperature, chunk_bytes=chunk_bytes)
    expected = whole(*theirs, targets, temperature)
    for pair in (found, expected):
        (pair[0] * weights + 0.3 * pair[1] * weights.flip(0)).sum().backward()

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, reference.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("which", [0, 1])
def test_each_output_alone_has_the_gradient_of_finite_differences(which: int) -> None:
    hidden, head, targets = drawn()

    assert torch.autograd.gradcheck(
        lambda h, w: token_logprobs(h, w, targets, temperature=0.9, chunk_bytes=150)[which],
        (hidden.requires_grad_(), head.requires_grad_()),
    )


def test_the_chunk_size_does_not_change_float32_results_beyond_rounding() -> None:
    hidden, head, targets = drawn(torch.float32)

    small, large = (token_logprobs(hidden, head, targets, chunk_bytes=size)[0] for size in (44, 10_000))

    torch.testing.assert_close(small, large, rtol=0, atol=1e-6)


def test_bfloat16_states_give_float32_results_near_the_exact_ones() -> None:
    hidden, head, targets = drawn(torch.bfloat16)
    hidden.requires_grad_()
    head.requires_grad_()

    logprobs, entropy = token_logprobs(hidden, head, targets)
    logprobs.sum().backward()

    exact = whole(hidden.detach().double(), head.detach().double(), targets, 1.0)
    assert (logprobs.dtype, entropy.dtype, hidden.grad.dtype) == (torch.float32, torch.float32, torch.bfloat16)
    torch.testing.assert_close(logprobs.double(), exact[0], rtol=0, atol=0.05)


def test_impossible_tokens_have_finite_logprobs_and_no_nan() -> None:
    hidden = torch.tensor([[1000.0]], requires_grad=True)
    head = torch.tensor([[1.0], [-1.0]])

    logprobs, entropy = token_logprobs(hidden, head, torch.tensor([1]))
    (logprobs + entropy).sum().backward()

    assert logprobs.item() == -2000.0
    assert entropy.item() == 0.0
    assert hidden.grad.isfinite().all()


def test_no_tokens_give_zero_gradients_and_not_none() -> None:
    hidden, head, targets = drawn()
    hidden.requires_grad_()
    head.requires_grad_()

    logprobs, _ = token_logprobs(hidden[:0], head, targets[:0])
    logprobs.sum().backward()

    assert not hidden.grad.any()
    assert not head.grad.any()


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_no_tensor_of_tokens_times_vocabulary_is_ever_made() -> None:
    tokens, hidden_size, vocabulary = 512, 4, 300
    hidden = torch.randn(tokens, hidden_size, requires_grad=True)
    head = torch.randn(vocabulary, hidden_size, requires_grad=True)

    with LargestTensor() as largest:
        logprobs, entropy = token_logprobs(
            hidden, head, torch.zeros(tokens, dtype=torch.int64), chunk_bytes=4 * vocabulary * 16
        )
        (logprobs + entropy).sum().backward()

    assert largest.elements <= max(16 * vocabulary, tokens * hidden_size)


def test_chunks_hold_at_least_one_token() -> None:
    assert chunk_tokens(10**9, chunk_bytes=2**20) == 1


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_of_zero_or_less_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="log-probabilities need one above 0"):
        token_logprobs(*drawn(), temperature=temperature)


def test_shapes_that_do_not_fit_are_refused_with_their_numbers() -> None:
    hidden, head, targets = drawn()

    with pytest.raises(ValueError, match=r"hidden \(13, 6\), head \(11, 6\), 12 targets"):
        token_logprobs(hidden, head, targets[:-1])
