"""Generates samples: an inference engine and the episode loop."""
