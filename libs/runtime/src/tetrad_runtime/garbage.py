"""Keeps the garbage collector away from what lives as long as the process.

A process that has loaded a model and its libraries holds millions of objects. A full collection walks through all of
them, a tenth of a second at a time, whenever enough has been allocated: in the midst of a weight update as well.
"""

import gc


def settle() -> None:
    """Collect once, and leave what is alive now out of all later collections; call it once all is loaded."""
    gc.collect()
    gc.freeze()
