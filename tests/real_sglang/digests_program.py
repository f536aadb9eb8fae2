"""Compares the digests of the Triton kernel with those of numpy; prints nothing where all are equal."""

import torch

from tetrad_devices.digest import CHUNK_WORDS, sum64
from tetrad_weights.digest import DigestAlgorithm, digest

SIZES = (1, 2, 3, 4, 5, 4 * CHUNK_WORDS - 1, 4 * CHUNK_WORDS, 4 * CHUNK_WORDS + 1, 200_003)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

generator = torch.Generator().manual_seed(0)
tensors = [torch.randint(0, 256, (size,), dtype=torch.uint8, generator=generator) for size in SIZES]
tensors.append(torch.randn(333, generator=generator).to(torch.bfloat16))
expected = [digest(tensor.view(torch.uint8).numpy(), DigestAlgorithm.SUM64) for tensor in tensors]
found = sum64([tensor.to(DEVICE) for tensor in tensors])
for tensor, ours, theirs in zip(tensors, found, expected, strict=True):
    if ours != theirs:
        print(f"{tensor.dtype}{list(tensor.shape)}: {ours}, not {theirs}")
