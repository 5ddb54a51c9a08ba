"""What a request may cost, and the answer to one that is refused."""
from __future__ import annotations

from typing import NamedTuple

from openatac.files.reading import MEGABYTE


class Limits(NamedTuple):
    """What a request may cost.

    Attributes
    ----------
    bytes : int
        Of the file.
    pixels : int
        Of the image.
    seconds : float
        Until the answer.
    requests : int
        At the same time.
    """

    bytes: int = 10 * MEGABYTE
    pixels: int = 50_000_000
    seconds: float = 10.0
    requests: int = 100


LIMITS = Limits()


class Refused(Exception):
    """A request that is not answered: the HTTP status, and a sentence that says why and what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
