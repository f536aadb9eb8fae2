"""Modules that are called with `python -m`."""
