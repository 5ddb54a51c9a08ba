"""Class names and their order, which determines the meaning of each label."""
from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterable, Sequence

from openatac.errors import DataError
from openatac.files.reading import MAX_TEXT_BYTES, opening, read_input, read_lines
from openatac.text import first_few

DEVKIT_CLASSES = 'meta.mat'  # in ImageNet's development kit, a MATLAB file

log = logging.getLogger('openatac')


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names sorted, numerically if all of them are numbers, otherwise as text."""
    names = sorted(names)
    if names and all(name.isascii() and name.isdecimal() for name in names):
        names.sort(key=int)
    return tuple(names)


def warn_if_sorted_as_text(names: Sequence[str], where: str) -> None:
    """Warn if numeric class names are sorted as text, since class folders are sorted as numbers."""
    as_numbers = in_order(names)
    is_sorted_as_text = [*names] == sorted(names)
    if is_sorted_as_text and tuple(names) != as_numbers:
        log.warning('%s sorts the classes as text (%s, ...), but class folders are sorted as numbers '
                    '(%s, ...): keeping the text order', where, ', '.join(names[:3]),
                    ', '.join(as_numbers[:3]))


def read_class_list(path: str) -> tuple[str, ...]:
    """Return the class names listed in a file, one per line; raise DataError for a duplicate."""
    names = read_lines(path, 'the class list')
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise DataError(f'{path} lists the class {twice!r} twice: give each class a unique name')
    warn_if_sorted_as_text(names, path)
    return tuple(names)


def read_devkit_classes(path: str) -> tuple[str, ...]:
    """Return the leaf synsets (WNIDs) in ``meta.mat``, in the order of ILSVRC2012_ID, which begins at 1.

    Raises
    ------
    DataError
        If the file is damaged or not the devkit's, or SciPy is missing.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError(f'{path} needs SciPy, which cannot be imported ({error}): run pip install scipy'
                        ) from error
    with opening(f'the classes {path}'):
        data = read_input(path, MAX_TEXT_BYTES)
    try:
        synsets = loadmat(io.BytesIO(data), squeeze_me=True)['synsets']
        leaves = {int(synset['ILSVRC2012_ID']): str(synset['WNID']) for synset in synsets
                  if synset['num_children'] == 0}
        return tuple(leaves[number] for number in range(1, len(leaves) + 1))
    except Exception as error:  # SciPy raises many kinds for damaged files
        raise DataError(f"{path} is not the devkit's list of synsets, or is damaged ({error}): download it "
                        'again, or remove it and list the classes in a file for --class-list') from error


def match_classes(found: Sequence[str], known: Sequence[str], where: str, elsewhere: str) -> list[int]:
    """Return the index of each class of a data set among the ``known`` classes of a network.

    Classes are matched by name. If all names differ, as ids and words do, they are matched in order, and a
    warning is logged.

    Parameters
    ----------
    found, known : sequence of str
    where, elsewhere : str
        The data set and the network in messages.

    Raises
    ------
    DataError
        If only some of the names are known, if a name differs only in case, or if the names all differ and
        their numbers do too.
    """
    index = {name: label for label, name in enumerate(known)}
    unknown = [name for name in found if name not in index]
    if not unknown:
        return [index[name] for name in found]
    check_case(found, index, where, elsewhere)
    if len(unknown) < len(found):
        raise DataError(f'the class {unknown[0]!r} of {where} is not a class of {elsewhere}, although others '
                        'are: give each class the same name in both')
    if len(found) != len(known):
        raise DataError(f'{where} has {len(found)} classes ({found[0]}, ...), but {elsewhere} has '
                        f'{len(known)} ({known[0]}, ...): give images of these classes')
    log.warning('%s: its classes (%s) are not those of %s (%s); they are matched in this order', where,
                first_few(found), elsewhere, first_few(known))
    return [*range(len(known))]


def check_case(names: Collection[str], others: Collection[str], where: str, elsewhere: str) -> None:
    """Raise DataError if a name differs from one of the ``others`` only in case."""
    by_case = {other.casefold(): other for other in others}
    for name in names:
        if name not in others and name.casefold() in by_case:
            raise DataError(f'the class {name!r} of {where} is {by_case[name.casefold()]!r} in {elsewhere}: '
                            'spell both the same way')
