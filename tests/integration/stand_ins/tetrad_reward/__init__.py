"""Stands in for the real service."""
