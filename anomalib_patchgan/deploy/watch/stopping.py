"""Ends a watch when the system or somebody asks for it: after the case at hand, or soon without it."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

# A case that takes longer is dropped, which leaves nothing behind: it is done at the next start.
GRACE_S = 5.0
_STEP_S = 0.1


class DroppedError(BaseException):
    """The case at hand is to be dropped; not an `Exception`, so that nobody takes it for an error of the case."""


class Stopping:
    """Waits for SIGTERM and SIGINT while it is entered.

    Attributes:
        requested: Whether one came.

    Example:
        >>> with Stopping() as stopping:
        ...     stopping.sleep(0.1)  # a signal would end it at once
        ...     stopping.requested
        False
    """

    def __init__(self) -> None:
        self.requested = False
        self._at_case = False

    def __enter__(self) -> "Self":
        """Take the signals over."""
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
        signal.signal(signal.SIGTERM, self._request)
        signal.signal(signal.SIGINT, self._request)
        signal.signal(signal.SIGALRM, self._drop)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def case(self) -> Iterator[None]:
        """Work on a case, which is dropped if it takes too long after a signal, or at the second one.

        Raises:
            DroppedError: It is.
        """
        self._at_case = True
        try:
            yield
        finally:
            self._at_case = False

    def sleep(self, seconds: float) -> None:
        """Sleep, but not after a signal."""
        until = time.monotonic() + seconds
        while not self.requested and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_S))

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested:
            self._drop(_number, _frame)
        self.requested = True
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)

    def _drop(self, _number: int, _frame: FrameType | None) -> None:
        if self._at_case:
            self._at_case = False
            raise DroppedError
