"""Where metrics go: metrics.jsonl always, and any of console, TensorBoard, W&B, MLflow and trackio at once.

Owns the library of each, one door apiece, and that none of them stops or delays a run.
"""
