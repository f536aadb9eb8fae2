"""`tetrad data …`: makes datasets and models in the form that a run reads, and shows what is in them."""

from tetrad_cli.data.commands import command

__all__ = ["command"]
