"""Moves the newest policy version to every engine."""
