"""Images with their labels in a list, such as a flat folder of validation images."""
from __future__ import annotations

import csv
import logging
import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from openatac.data.images.class_names import DEVKIT_CLASSES, check_case, in_order, read_devkit_classes
from openatac.data.images.image_files import ImageFiles
from openatac.data.images.image_paths import list_images
from openatac.errors import DataError
from openatac.files.reading import read_lines

log = logging.getLogger('openatac')

TINY_IMAGENET = 'val_annotations.txt'  # found without --val-labels
_BOXES = 'predictionstring'  # the header of a column of classes, each followed by a box
_HEADERS = 'label', 'class', 'class_name', _BOXES
_ENDINGS = '', '.JPEG', '.jpg', '.png'  # that a list can omit
_FOLDERS = '', 'images'


class _Entry(NamedTuple):
    """A line of a list: a file and its label, a class name or number."""

    file: str
    label: str


class ImageList(ImageFiles):
    """The image files in a list, with their labels.

    Each line has a file and a label, separated by a comma (``.csv``, with an optional header), a tab or
    blanks. The rest of the line is ignored, so Tiny ImageNet's ``val_annotations.txt`` and the common
    ``.csv`` and ``val.txt`` files for ImageNet work unchanged. A ``.lst`` file has the format of MXNet's
    im2rec: number, label and file, separated by tabs. Files can be in ``root`` or its subfolder ``images``.

    A list can also have only a number on each line, like ILSVRC's
    ``ILSVRC2012_validation_ground_truth.txt``: line n labels the n-th image, sorted by name. The devkit's
    ``meta.mat`` next to the list, or else ``numbered``, maps the numbers to classes.

    Parameters
    ----------
    root : str
    path : str
        The list.
    classes : int, optional
        The required number of classes.
    class_names : sequence of str, optional
        The classes 0, 1, ...; by default the names in the list, sorted, or none if its labels are numbers.
    numbered : sequence of str, optional
        The classes for the numbers in a list without files: 1, 2, ..., or 0, 1, ... if the list has a 0.

    Raises
    ------
    DataError
        If the list cannot be read, none of its files exist, or a label is not a class.
    """

    def __init__(self, root: str, path: str, classes: int | None = None,
                 class_names: Sequence[str] | None = None, numbered: Sequence[str] | None = None) -> None:
        lines = read_lines(path, 'the list of images')
        names_files = not (lines and all(_is_number(line) for line in lines))
        entries = _read(path, lines) if names_files else _read_ground_truth(root, path, lines, numbered)
        paths = list(_find([entry.file for entry in entries], root))
        if not any(paths):
            raise DataError(f'{root} has none of the files that {path} names, such as {entries[0].file}: '
                            'give the folder that contains them')
        _check_repeated(entries, path)
        indices, names = _classes([entry.label for entry in entries], class_names, path)
        count = len(names) if names else max(indices) + 1
        if classes is not None and (count > classes or (names and count != classes)):
            raise DataError(f'{path} has {count} classes, but the network has {classes}: make them equal')
        if names_files:
            _report_unlisted(len(list_images(root)[0]) - len(set(filter(None, paths))), root, path)
        files = np.array([os.fsencode(path or entry.file) for path, entry in zip(paths, entries)])
        super().__init__(root, files, np.array(indices, np.int32), names)


def list_in(folder: str) -> str | None:
    """Return the path of Tiny ImageNet's list, which needs no flag, in an image folder, or None."""
    path = os.path.join(folder, TINY_IMAGENET)
    return path if os.path.isfile(path) else None


def _report_unlisted(count: int, root: str, path: str) -> None:
    if count > 0:
        log.info('%s: skipped %d images that %s does not list', root, count, path)


def _check_repeated(entries: Sequence[_Entry], path: str) -> None:
    """Raise DataError if a file is listed with two different labels; log how many are repeated with one."""
    labels: dict[str, str] = {}
    for file, label in entries:
        if labels.setdefault(file, label) != label:
            raise DataError(f'{path} gives {file} two labels, {labels[file]!r} and {label!r}: leave one out')
    if len(labels) < len(entries):
        log.warning('%s lists %d files more than once; each mention counts as an image', path,
                    len(entries) - len(labels))


def _read(path: str, lines: list[str]) -> list[_Entry]:
    ending = os.path.splitext(path)[1].lower()
    try:
        rows = [(line, _fields(line, ending)) for line in lines]
    except csv.Error as error:
        raise DataError(f'{path} is not a list of images, or is damaged ({error}): each line of a list has a '
                        'file and a label') from None
    header = [field.lower() for field in rows[0][1][1:2]] if rows and ending == '.csv' else []
    if header and header[0] in _HEADERS:
        del rows[0]
    entries = []
    for line, fields in rows:
        file, label, *_ = [*fields, '', '']
        if not (file and label):
            raise DataError(f'{path} has no file and label in {line[:80]!r}: each line of a list of images '
                            'needs both')
        entries.append(_Entry(file, label.split()[0] if header == [_BOXES] else label))
    if not entries:
        raise DataError(f'{path} is empty: each line of a list of images has a file and a label')
    return entries


def _read_ground_truth(root: str, path: str, lines: Sequence[str], numbered: Sequence[str] | None
                       ) -> list[_Entry]:
    """Pair a list of numbers with the images, sorted by name, and replace the numbers with class names."""
    images, _ = list_images(root)
    if len(images) != len(lines):
        raise DataError(f'{path} has {len(lines)} numbers, but {root} has {len(images)} images: a list '
                        'without file names needs a number for each image, sorted by name')
    meaning = os.path.join(os.path.dirname(path), DEVKIT_CLASSES)
    names = read_devkit_classes(meaning) if os.path.exists(meaning) else numbered
    if names is None:
        raise DataError(f'{path} has numbers and no file names, and nothing maps the numbers to classes: '
                        f"put the devkit's {DEVKIT_CLASSES} beside it, or list the classes in the order of "
                        'their numbers in a file for --class-list (ILSVRC uses its own order)')
    numbers = [int(float(line)) for line in lines]
    first = min(1, *numbers)
    if max(numbers) - first >= len(names):
        raise DataError(f'{path} has the number {max(numbers)}, but there are only {len(names)} classes: '
                        'give its class list with --class-list')
    return [_Entry(os.fsdecode(image), names[number - first]) for image, number in zip(images, numbers)]


def _fields(line: str, ending: str) -> list[str]:
    """Split a line of a list with that file extension into the file, the label and the rest."""
    if ending == '.csv':
        fields = next(csv.reader([line]))
    elif ending == '.lst':  # number, labels, file
        fields = line.split('\t')
        fields = [fields[2], fields[1]] if len(fields) == 3 else []  # one label each
    else:
        fields = line.split('\t' if '\t' in line else None)
    return [field.strip() for field in fields]


def _classes(labels: Sequence[str], class_names: Sequence[str] | None, path: str
             ) -> tuple[list[int], tuple[str, ...]]:
    """Return (the class index of each label, the class names, empty if they are unknown)."""
    distinct = set(labels)
    negative = min((label for label in distinct if re.fullmatch(r'-\d+(\.0*)?', label)), default=None)
    if negative is not None:
        raise DataError(f'{path} has the label {negative!r}: labels that are numbers begin at 0')
    if class_names is None and all(_is_number(label) for label in distinct):
        return [int(float(label)) for label in labels], ()
    names = in_order(distinct) if class_names is None else tuple(class_names)
    index = {name: number for number, name in enumerate(names)}
    if distinct <= set(names):
        return [index[label] for label in labels], names
    if all(_is_number(label) and float(label) < len(names) for label in distinct):
        return [int(float(label)) for label in labels], names
    check_case(distinct, names, path, 'the classes')
    unknown = max(distinct - set(names), key=lambda label: float(label) if _is_number(label) else math.inf)
    raise DataError(f'{path} has the label {unknown!r}, which is not one of the {len(names)} classes '
                    f'({names[0]!r} to {names[-1]!r}): use their names, or their numbers from 0')


def _is_number(label: str) -> bool:
    """Return whether a label is a whole number, not negative; im2rec writes 3.000000."""
    return re.fullmatch(r'\d{1,9}(\.0*)?', label) is not None


def _find(files: Sequence[str], root: str) -> Iterator[str | None]:
    """Yield the path of each file of a list, relative to ``root``, or None if it does not exist."""
    variants = [(folder, ending) for folder in _FOLDERS for ending in _ENDINGS]
    for file in files:
        paths = [os.path.join(folder, file + ending) for folder, ending in variants]
        index = next((i for i, path in enumerate(paths) if os.path.exists(os.path.join(root, path))), None)
        if index:  # the next files are probably named in the same way
            variants.insert(0, variants.pop(index))
        yield None if index is None else paths[index]
