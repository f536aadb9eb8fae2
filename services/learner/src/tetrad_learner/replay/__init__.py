"""Replay: executes training steps of a finished or running run again, from its checkpoints and its journal."""
