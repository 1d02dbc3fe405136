"""How many cores a process may use, and its end with the process that started it."""

import multiprocessing
import os
import threading


def available_cores() -> int:
    """Return the number of cores that this process may use.

    Example:
        >>> available_cores() >= 1
        True
    """
    # A container or a job scheduler may allow fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with_parent() -> None:
    """End this process when the one that started it ends, even if that is killed: nobody would ever end it.

    Does nothing in a process that `multiprocessing` did not start.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
