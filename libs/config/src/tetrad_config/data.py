"""Data: which prompts are trained on and which are evaluated."""

from __future__ import annotations

from tetrad_config.section import Files, Section


class Data(Section):
    """`data`: the files that prompts come from."""

    train_data: Files = ("~/data/gsm8k/train.parquet",)
    """Parquet or JSONL files of training prompts, concatenated and then shuffled with `trainer.seed`."""
    val_data: Files = ("~/data/gsm8k/validation.parquet",)
    """Parquet or JSONL files of evaluation prompts; null or an empty list means no evaluation."""
