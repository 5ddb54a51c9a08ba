"""Limits on requests, and the exception that refuses a request."""
from __future__ import annotations

from typing import NamedTuple

from openatac.files.reading import MEGABYTE


class Limits(NamedTuple):
    """Limits on requests.

    Attributes
    ----------
    bytes : int
        The largest size of a file.
    pixels : int
        The largest number of pixels of an image.
    seconds : float
        The longest time until the answer.
    requests : int
        The largest number of requests served at the same time.
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
