"""The names of classes and their order, which decides what each label means."""
from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

from openatac.errors import DataError
from openatac.files.reading import BYTE_ORDER_MARK, opening, read_text

log = logging.getLogger('openatac')


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names sorted: as text, or as numbers if all of them are."""
    names = sorted(names)
    if names and all(name.isascii() and name.isdecimal() for name in names):
        names.sort(key=int)
    return tuple(names)


def warn_if_sorted_as_text(names: Sequence[str], where: str) -> None:
    """Warn of classes that are numbers and sorted as text, where class folders are sorted as numbers."""
    if tuple(names) == tuple(sorted(names)) != in_order(names):
        log.warning('%s has the classes sorted as text (%s, ...), where class folders are sorted as numbers '
                    '(%s, ...): its order is used', where, ', '.join(names[:3]),
                    ', '.join(in_order(names)[:3]))


def read_lines(path: str, what: str) -> list[str]:
    """Return the lines of a text file that people edit: no byte-order mark, trailing blanks or empty lines.

    Parameters
    ----------
    path : str
    what : str
        What messages call the file, such as 'the class list'.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    with opening(f'{what} {path}'):
        text = read_text(path, errors='surrogateescape').removeprefix(BYTE_ORDER_MARK)
    return [line.rstrip() for line in text.split('\n') if line.strip()]


def read_class_list(path: str) -> tuple[str, ...]:
    """Return the class names that a file lists, one on each line; DataError if one is there twice."""
    names = read_lines(path, 'the class list')
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise DataError(f'{path} lists the class {twice!r} twice: give each class a name of its own')
    warn_if_sorted_as_text(names, path)
    return tuple(names)


def check_case(names: Collection[str], others: Collection[str], where: str, elsewhere: str) -> None:
    """Raise DataError if a name is among the ``others`` in another case only."""
    by_case = {other.casefold(): other for other in others}
    for name in names:
        if name not in others and name.casefold() in by_case:
            raise DataError(f'the class {name!r} of {where} is {by_case[name.casefold()]!r} in {elsewhere}: '
                            'make the two the same')
