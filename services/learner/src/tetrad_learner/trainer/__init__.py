"""The trainer ranks: everything of the learner that touches tensors.

Owns model, optimizer, gradients, checkpoints and the export of weights. Must not know of sockets, leases, the
ledger or the run file: `engine.Trainer` takes plain values and arrays. Importing this package loads no torch;
its modules do.
"""
