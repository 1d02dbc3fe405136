"""Tells a case that cannot be used from a machine that cannot work, as when its disk is full, and waits for that."""

import errno
import logging
import time

# What the system says of a name or content, and will say again; everything else may pass.
_OF_THE_CASE = frozenset({
    errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.EEXIST,
    errno.ENOTEMPTY, errno.EFBIG,
})  # fmt: skip
_LONGEST_PAUSE_S = 60.0
_CASE = "case"

logger = logging.getLogger(__name__)


def is_trouble(error: BaseException) -> bool:
    """Tell whether an error is due to the machine: the case is tried again later.

    Args:
        error: Any error; those that it was raised from count.

    Example:
        >>> is_trouble(OSError(errno.ENOSPC, "No space left on device")), is_trouble(ValueError("no NIfTI file"))
        (True, False)
    """
    found: BaseException | None = error
    while found is not None:
        # Errors of the plugin are some of them, too, but without a number.
        if isinstance(found, OSError) and found.errno is not None:
            return found.errno not in _OF_THE_CASE
        found = found.__cause__
    return False


class Troubles:
    """What keeps a watch from working, each said once, and the pauses because of it.

    Args:
        first_s: The first pause in seconds; each further one is twice as long, up to a minute.

    Example:
        >>> troubles = Troubles(first_s=5)
        >>> troubles.pause("No space left on device")
        >>> troubles.is_pausing(), troubles.text
        (True, 'No space left on device')
        >>> troubles.clear()
        >>> troubles.is_pausing(), troubles.text
        (False, '')
    """

    def __init__(self, first_s: float) -> None:
        self._first = first_s
        self._known: dict[str, str] = {}
        self._pauses = 0
        self._until = 0.0

    @property
    def text(self) -> str:
        """All of them; empty for none."""
        return " ".join(self._known.values())

    def say(self, about: str, problem: str) -> None:
        """Note what is wrong with something.

        Args:
            about: What it is about.
            problem: What is wrong; empty if nothing is any longer.
        """
        if problem and problem != self._known.get(about):
            logger.error("%s", problem)
        if problem:
            self._known[about] = problem
        else:
            self._known.pop(about, None)

    def pause(self, problem: str) -> None:
        """Note that a case could not be written or read, and wait before the next one."""
        self.say(_CASE, problem)
        self._until = time.monotonic() + min(_LONGEST_PAUSE_S, self._first * 2 ** min(self._pauses, 10))
        self._pauses += 1

    def is_pausing(self) -> bool:
        """Tell whether it is too early for the next case."""
        return time.monotonic() < self._until

    def clear(self) -> None:
        """Note that a case could be done."""
        self.say(_CASE, "")
        self._pauses, self._until = 0, 0.0
