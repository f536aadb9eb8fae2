"""Advantages, losses and KL estimators: tensors in, tensors out.

Owns formulas and the names by which the run file calls them. Must not know of models, ranks, files or the network.
"""
