"""`tetrad infer`: answers of a checkpoint or a model on this machine, without a run."""
