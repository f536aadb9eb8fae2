"""Coordinator and trainer ranks."""
