"""Weights in GPU memory: handles that cross processes, digests where the bytes lie, facts of a GPU."""
