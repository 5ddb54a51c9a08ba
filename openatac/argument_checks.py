"""Checks of arguments: each raises ArgumentError, which names the argument."""
from __future__ import annotations

import math
import numbers
from typing import Any

from openatac.errors import ArgumentError
from openatac.limits import MAX_SIDE, Bounds


def check_whole(name: str, value: Any, low: int, high: int) -> None:
    """Raise ArgumentError unless the argument ``name`` is a whole number from ``low`` to ``high``."""
    if not _is_whole(value, low, high):
        raise ArgumentError(name, f'{name} must be a whole number from {low} to {high}, not {value!r}')


def check_odd(name: str, value: Any) -> None:
    """Raise ArgumentError unless the argument ``name`` is odd and can be the side of a window."""
    if not _is_whole(value, 1, MAX_SIDE) or value % 2 == 0:
        raise ArgumentError(name, f'{name} must be an odd number from 1 to {MAX_SIDE - 1}, not {value!r}')


def check_number(name: str, value: Any, meaning: str = '', **limits: float) -> None:
    """Raise ArgumentError unless the argument ``name`` is a finite number within the `Bounds`."""
    bounds = Bounds(**limits)
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not (
            math.isfinite(value) and bounds.hold(float(value))):
        called = f'{name} ({meaning})' if meaning else name
        wanted = f'a number {bounds}'.strip()
        raise ArgumentError(name, f'{called} must be {wanted}, not {value!r}')


def check_counts(name: str, values: Any, length: int, high: int) -> None:
    """Raise ArgumentError unless ``values`` are ``length`` whole numbers from 1 to ``high``."""
    if isinstance(values, str) or not hasattr(values, '__len__') or len(values) != length:
        raise ArgumentError(name, f'{name} must be {length} whole numbers, not {values!r}')
    for value in values:
        if not _is_whole(value, 1, high):
            raise ArgumentError(
                name, f'each of {name} must be a whole number from 1 to {high}, not {value!r}')


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and low <= int(value) <= high
