"""What a request may cost, and the answer to one that is refused."""
from __future__ import annotations

from typing import NamedTuple

from openatac.files.reading import MEGABYTE


class Limits(NamedTuple):
    """What a request may cost.

    Attributes
    ----------
    bytes : int
        The size of the largest file.
    pixels : int
        How many pixels the largest image has.
    seconds : float
        The longest time until the answer.
    requests : int
        How many are served at the same time.
    """

    bytes: int = 10 * MEGABYTE
    pixels: int = 50_000_000
    seconds: float = 10.0
    requests: int = 100


LIMITS = Limits()


class Refusal(Exception):
    """Raised to refuse a request: the HTTP status, and a sentence that says why and what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
