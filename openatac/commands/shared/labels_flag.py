"""The flag --labels: human-readable names for a network's classes."""
from __future__ import annotations

import collections
import os
import re
from typing import Any

from openatac.errors import DataError, FlagError
from openatac.files.reading import read_lines
from openatac.trained.manifest import Manifest

_SYNSET = re.compile(r'(n\d{8})[\s,:]+(.*)')  # WordNet ids, as in ImageNet's lists


def add_labels(parser: Any, default: str = 'those in the export') -> None:
    """Add --labels to a parser or a group of one; see `with_labels`."""
    parser.add_argument('--labels', metavar='FILE|NAMES',
                        help='names of the classes, separated by commas, or a file with one per line, also '
                             f'as in "n01440764 tench, Tinca tinca" (default: {default})')


def with_labels(labels: str | None, manifest: Manifest) -> Manifest:
    """Return the manifest with the class names of --labels; raise FlagError if they are wrong."""
    return manifest._replace(labels=class_names_from_flag(labels, manifest))


def class_names_from_flag(labels: str | None, manifest: Manifest) -> list[str]:
    """Return the names of the classes from --labels, else the manifest's.

    Parameters
    ----------
    labels : str, optional
        Names separated by commas, or a file with one name per line. If the lines have WordNet ids and names,
        "n01440764 tench, Tinca tinca", the name ends at the first comma. If the manifest names classes by
        id, such lines can be in any order, and include other classes.
    manifest : Manifest

    Raises
    ------
    FlagError
        For a wrong number of names, or a file that cannot be read.
    """
    names = manifest.labels
    if labels is not None and os.path.isfile(labels):
        try:
            names = _names([line.strip() for line in read_lines(labels, 'the labels')], manifest.labels)
        except DataError as error:
            raise FlagError('--labels', str(error)) from None
    elif labels is not None:
        names = [name.strip() for name in labels.split(',')]
        if len(names) == 1 and manifest.classes > 1:
            raise FlagError('--labels', f'there is no file {labels}; give one, or '
                            f'{manifest.classes} classes separated by commas')
    if len(names) not in (0, manifest.classes):
        flag = '--dataset' if labels is None else '--labels'
        raise FlagError(flag, f'got {len(names)} names (the first is {names[0]!r}), but the '
                        f'network has {manifest.classes} classes')
    if names != manifest.labels and sorted(names) == sorted(manifest.labels):
        raise FlagError('--labels', "these are the network's own names in another order "
                        f'({names[0]}, ... instead of {manifest.labels[0]}, ...); leave it out')
    return names


def _names(lines: list[str], classes: list[str]) -> list[str]:
    """Return the names in the lines of a file, for ``classes`` that are possibly ids."""
    synsets = [_SYNSET.fullmatch(line) for line in lines]
    names = {match[1]: match[2].split(',')[0].strip() for match in synsets if match}
    if len(names) < len(lines):
        return lines
    known = [each for each in classes if each in names]
    if known and len(known) < len(classes):
        other = next(each for each in classes if each not in names)
        raise DataError(f'the file has no name for the class {other}: add it')
    ids = known or list(names)
    counts = collections.Counter(names[each] for each in ids)  # ImageNet has two kinds of cranes
    return [names[each] if counts[names[each]] == 1 else f'{names[each]} ({each})' for each in ids]
