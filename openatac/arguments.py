"""Numbers that a user gives, on a command line or to a function, checked against their bounds.

The bounds that several commands and functions share are declared here.
"""
import argparse
import math
import numbers
from typing import Any, Callable, Optional, Sequence

from openatac.files.writing import check_prefix

SMALLEST, LARGEST = 1.2e-38, 3.4e38  # of what MXNet's optimizers take, which is float32

CLASSES = 2 ** 20        # outputs of a network, at most
BLOCKS = 1000            # in one stage, at most
CHANNELS = 2 ** 16       # at most
SIDE = 4096              # of an image, in pixels, at most
BATCH = 2 ** 20          # images, at most
CROP_RATIO = 0.1         # of the centre of an image, at least
COUNT = 10 ** 6          # epochs, batches, rounds and other counts, at most
IMAGES = 10 ** 9         # of a data set, at most
SECONDS = 86400          # at most, a day
SEED = 2 ** 31 - 1       # at most


def number(kind: type, low: Optional[float] = None, high: Optional[float] = None,
           above: Optional[float] = None, below: Optional[float] = None,
           also: Sequence[float] = ()) -> Callable[[str], Any]:
    """An argparse type: a finite ``kind`` (int or float) within bounds or in ``also``."""
    bounds = [(low, 'at least %s', lambda v, b: v >= b), (above, 'above %s', lambda v, b: v > b),
              (high, 'at most %s', lambda v, b: v <= b), (below, 'below %s', lambda v, b: v < b)]
    bounds = [(bound, words % bound, holds) for bound, words, holds in bounds if bound is not None]
    name = 'a whole number' if kind is int else 'a number'
    right = ' or '.join([' '.join([name, ' and '.join(words for _, words, _ in bounds)]).strip(),
                         *map(str, also)])

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'{text!r} is not {right}') from None
        if kind is float and not math.isfinite(value) or value not in also and not all(
                holds(value, bound) for bound, _, holds in bounds):
            raise argparse.ArgumentTypeError(f'{text} is not {right}')
        if kind is float and value and not SMALLEST < abs(value) < LARGEST:
            raise argparse.ArgumentTypeError(f'{text} is beyond the range of float32')
        return value

    parse.bounds = (low if above is None else above, high if below is None else below)
    return parse


POSITIVE = number(float, above=0, high=LARGEST)
FROM_ZERO = number(float, low=0, high=LARGEST)
RATIO = number(float, low=1, high=CHANNELS)  # of channels, in a bottleneck


def prefix(text: str) -> str:
    """An argparse type: what the names of files to be written begin with, which is not a folder."""
    try:
        return check_prefix(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def check_whole(name: str, value: Any, low: int, high: int) -> None:
    """Raise ValueError unless the argument ``name`` is a whole number from ``low`` to ``high``."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f'{name} must be a whole number from {low} to {high}, not {value!r}')


def check_odd(name: str, value: Any) -> None:
    """Raise ValueError unless the argument ``name`` is an odd whole number from 1: a side with a middle."""
    if not isinstance(value, numbers.Integral) or value < 1 or value % 2 == 0:
        raise ValueError(f'{name} must be an odd number from 1, not {value!r}')


def check_number(name: str, value: Any, low: Optional[float] = None, high: Optional[float] = None,
                 above: Optional[float] = None, below: Optional[float] = None) -> None:
    """Raise ValueError unless the argument ``name`` is a finite number within the bounds."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value) and (
            (low is None or value >= low) and (above is None or value > above)
            and (high is None or value <= high) and (below is None or value < below)):
        return
    words = [f'{word} {bound}' for word, bound in (
        ('from', low), ('above', above), ('to', high), ('below', below)) if bound is not None]
    raise ValueError(f'{name} must be a number {" ".join(words)}, not {value!r}')


def check_counts(name: str, values: Any, many: int, high: int) -> None:
    """Raise ValueError unless ``values`` are ``many`` whole numbers from 1 to ``high``."""
    try:
        right = len(values) == many and not isinstance(values, str)
    except TypeError:
        right = False
    if not right:
        raise ValueError(f'{name} must be {many} whole numbers, not {values!r}')
    for value in values:
        check_whole(f'each of {name}', value, 1, high)
