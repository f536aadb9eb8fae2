"""What is alive once all is loaded is never looked at again, and garbage is not kept with it."""

import gc
import weakref

from tetrad_runtime.garbage import settle


class Node:
    """May refer to itself."""

    other: object = None


def test_what_lives_is_left_out_and_what_is_dead_is_collected_first() -> None:
    alive, dead = Node(), Node()
    dead.other = dead
    gone = weakref.ref(dead)
    del dead
    try:
        before = gc.get_freeze_count()
        settle()

        assert gone() is None
        assert gc.get_freeze_count() > before
        assert not any(item is alive for item in gc.get_objects())
    finally:
        gc.unfreeze()
