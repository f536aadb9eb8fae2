"""The model of the benchmarks: a Llama of 16M parameters with random weights and SmolLM2's tokenizer.

Made once in `outputs/models/`; the tokenizer comes from SmolLM2-135M-Instruct, which `tetrad data smollm2` makes.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

MODELS: Final = Path(__file__).parent.parent / "outputs" / "models"
SMOLLM2: Final = MODELS / "smollm2-135m"
RANDOM_LLAMA: Final = MODELS / "random-llama-16m"
TIMEOUT_S: Final = 600.0


def random_llama() -> Path:
    """The model's folder; made where it is missing."""
    if not (RANDOM_LLAMA / "config.json").exists():
        temporary = RANDOM_LLAMA.with_name(f".{RANDOM_LLAMA.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        _make(temporary)
        shutil.rmtree(RANDOM_LLAMA, ignore_errors=True)
        temporary.rename(RANDOM_LLAMA)
    return RANDOM_LLAMA


def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct; made where it is missing."""
    if not (SMOLLM2 / "tokenizer.json").exists():
        command = [sys.executable, "-m", "tetrad_cli", "data", "smollm2", "--output-dir", str(SMOLLM2)]
        subprocess.run(command, check=True, timeout=TIMEOUT_S)
    return SMOLLM2


def _make(folder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(smollm2())
    torch.manual_seed(0)
    # 12.6M parameters in the tied embedding, 3.3M in the layers.
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
