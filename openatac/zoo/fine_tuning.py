"""Select the parameters of a network to freeze in training, for Gluon and PyTorch."""
from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection

from openatac.errors import UsageError


def select_frozen(names: Collection[str], trained: Collection[str], patterns: str) -> list[str]:
    """Return the structural ``names`` that match the patterns; raise the errors of ``freeze``."""
    matched: set[str] = set()
    for pattern in map(str.strip, patterns.split(',')):
        matches = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not matches:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0) or [*names][:3]
            raise UsageError(f'no parameter is called {pattern!r}; the nearest names are {", ".join(near)}')
        matched.update(matches)
    if matched.issuperset(trained):
        raise UsageError(f'{patterns!r} leaves nothing to train; freeze less, such as '
                         f'{next(iter(names)).split(".")[0] + ".*"!r}')
    return [name for name in names if name in matched]


def frozen_norms(frozen: Collection[str]) -> list[str]:
    """Return the structural names of the completely frozen BatchNorms."""
    blocks = [name.removesuffix('.running_mean') for name in frozen if name.endswith('.running_mean')]
    return [block for block in blocks for scale, shift in (('gamma', 'beta'), ('weight', 'bias'))
            if {f'{block}.{scale}', f'{block}.{shift}'}.issubset(frozen)]


def frozen_head_error(head: str) -> UsageError:
    """Return the error for a frozen last layer with its own learning rate."""
    return UsageError(f'the last layer, {head}, is frozen and has no learning rate; use one of the two flags')
