"""Tutorials as contracts: every block is executed, and what the text promises is looked up in what happened."""
