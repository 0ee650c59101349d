"""Python's collector of cycles, in a daemon: it looks seldom, and never at what was there at the start."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLD: Final = 20_000


def wait_with_collecting() -> None:
    """Have nothing collected while a daemon starts: what it makes then is there to stay. `spare_the_collector` ends it.

    Otherwise all that is there is looked through again and again while it grows.
    """
    gc.disable()


def spare_the_collector() -> None:
    """Have it look for cycles less often, and never in what is there now: the model, and all code.

    A job leaves none, but hundreds of jobs under way are thousands of objects that live for a moment. Looked through
    after every 700 new ones, as Python does by default, they cost a fifth of a job's processor time; after 20,000 it
    is not to be seen, and what cycles there are (a traceback) take some MiB until then. The model of ten thousand
    instances, looked through each time that enough has outlived the young, costs more than all the jobs.
    """
    gc.freeze()
    gc.set_threshold(THRESHOLD, 10, 10)
    gc.enable()
