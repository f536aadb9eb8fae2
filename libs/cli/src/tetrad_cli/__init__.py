"""The tetrad command."""
