"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

Both are published in two forms, binary records and Python pickles, each in an archive. Archives and unpacked
folders of both forms are read where they are, and missing data is downloaded. A binary record has the label
bytes (CIFAR-10 has one, CIFAR-100 the superclass and then the class) and 3,072 bytes of pixels: the red, the
green and the blue plane, 32 rows of 32 each.
"""
import logging
import os
import shutil
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from openatac.data import archives
from openatac.data.archives import File, open_files
from openatac.data.download import fetch
from openatac.data.image_set import ImageSet
from openatac.data.plain_pickle import read_plain_pickle
from openatac.errors import DataError
from openatac.files.reading import MEGABYTE

HOME = 'https://www.cs.toronto.edu/~kriz/'
SHAPE = (3, 32, 32)
PIXELS = 3072
TRAINING_IMAGES, TEST_IMAGES = 50000, 10000

MD5 = {
    'cifar-10-binary.tar.gz': 'c32a1d4ab5d03f1284b67883e8d87530',
    'cifar-10-python.tar.gz': 'c58f30108f718f92721af3b95e74349a',
    'cifar-100-binary.tar.gz': '03b5dce01913d631647c71ecec9e9cb8',
    'cifar-100-python.tar.gz': 'eb9058c3a382ffc7106e4002c42a8d85',
}

log = logging.getLogger('openatac')


class _Labels(NamedTuple):
    """One kind of label: its key in the Python files, the file that lists its classes, and their names."""

    key: str
    listing: str
    words: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.words.split())


class _Form(NamedTuple):
    """One of the two forms of a data set: the archive, the folder in it, and the files in the folder."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        return self.train + self.test


class _DataSet(NamedTuple):
    """``labels`` are in the order of their bytes at the start of a binary record."""

    labels: dict[str, _Labels]
    binary: _Form
    python: _Form


_BATCHES = tuple(f'data_batch_{k}' for k in range(1, 6))

_DATASETS = {
    'cifar10': _DataSet(
        labels={'fine': _Labels('labels', 'batches.meta.txt',
                                'airplane automobile bird cat deer dog frog horse ship truck')},
        binary=_Form('cifar-10-binary.tar.gz', 'cifar-10-batches-bin',
                     tuple(batch + '.bin' for batch in _BATCHES), ('test_batch.bin',)),
        python=_Form('cifar-10-python.tar.gz', 'cifar-10-batches-py', _BATCHES, ('test_batch',))),
    'cifar100': _DataSet(
        labels={
            'coarse': _Labels('coarse_labels', 'coarse_label_names.txt', """
                aquatic_mammals fish flowers food_containers fruit_and_vegetables
                household_electrical_devices household_furniture insects large_carnivores
                large_man-made_outdoor_things large_natural_outdoor_scenes
                large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles
                small_mammals trees vehicles_1 vehicles_2"""),
            'fine': _Labels('fine_labels', 'fine_label_names.txt', """
                apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
                butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach
                couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster
                house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
                motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
                pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road
                rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
                sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip
                turtle wardrobe whale willow_tree wolf woman worm""")},
        binary=_Form('cifar-100-binary.tar.gz', 'cifar-100-binary', ('train.bin',), ('test.bin',)),
        python=_Form('cifar-100-python.tar.gz', 'cifar-100-python', ('train',), ('test',))),
}


def class_names(name: str, labels: str = 'fine') -> list[str]:
    """Return the published class names of cifar10 or cifar100 (``labels``: fine or coarse), by index."""
    return list(_DATASETS[name].labels[labels].names)


def load_cifar(name: str, folder: Optional[str] = None, train: bool = True, labels: str = 'fine',
               url: Optional[str] = None, progress: bool = False) -> ImageSet:
    """Return the training or the test images of CIFAR-10 or CIFAR-100.

    Parameters
    ----------
    name : str
        'cifar10' or 'cifar100'.
    folder : str, optional
        Where the data is: a folder that has the .bin files or the Python files, the published folders or the
        archives; or the path of an archive. A binary folder is preferred to a Python one, and a folder to an
        archive. By default Gluon's own folder (see `gluon_folder`). Missing data is downloaded there.
    train : bool
        Whether to return the training images (50,000 in the published files) or the test images (10,000).
    labels : str
        'fine', or for CIFAR-100 also 'coarse', the 20 superclasses.
    url : str, optional
        The web folder that holds the archive; by default ``$OPENATAC_DATA_URL`` or else the
        data set's home.
    progress : bool
        Show a bar while downloading.

    Returns
    -------
    ImageSet
        uint8 images (N, 3, 32, 32), for binary files a view into their records, and labels (N,).

    Raises
    ------
    DataError
        If the data is missing and cannot be downloaded, is damaged or does not match its name.
    """
    dataset = _DATASETS.get(name)
    if dataset is None:
        raise DataError(f'there is no data set {name!r}; choose one of: {", ".join(_DATASETS)}')
    if labels not in dataset.labels:
        raise DataError(f'{name} has no {labels!r} labels; choose one of: {", ".join(dataset.labels)}')
    path = find_cifar(name, folder) or _download(dataset, _folder(name, folder), url, progress)
    with open_files(path, MD5.values()) as files:
        images, classes = _read(dataset, files, path, train, labels)
        names = _class_names(files, dataset.labels[labels])
    published = TRAINING_IMAGES if train else TEST_IMAGES
    if len(images) != published:
        log.info('%s has %d %s images of %s instead of %d', path, len(images),
                 'training' if train else 'test', name, published)
    return ImageSet(images, classes, names)


# Where the files are.

def find_cifar(name: str, folder: Optional[str] = None) -> Optional[str]:
    """Return the folder or archive that `load_cifar` would read, or None if it would have to download one."""
    folder = _folder(name, folder)
    if os.path.isfile(folder):
        return folder
    forms = _DATASETS[name].binary, _DATASETS[name].python
    for form in forms:
        for path in (folder, os.path.join(folder, form.folder)):
            if any(os.path.isfile(os.path.join(path, file)) for file in form.files):
                return path
    return next(filter(os.path.isfile, (os.path.join(folder, form.archive) for form in forms)), None)


def _folder(name: str, folder: Optional[str]) -> str:
    return gluon_folder(name) if folder is None else os.path.expanduser(folder)


def gluon_folder(name: str) -> str:
    """Return Gluon's folder for a data set: ``$MXNET_HOME/datasets/NAME`` or ``~/.mxnet/datasets/NAME``."""
    home = os.environ.get('MXNET_HOME') or os.path.join(os.path.expanduser('~'), '.mxnet')
    return os.path.join(home, 'datasets', name)


def _download(dataset: _DataSet, folder: str, url: Optional[str], progress: bool) -> str:
    """Download the binary archive, unpack the required files, and return their folder."""
    form = dataset.binary
    if folder.endswith('.tar.gz'):
        raise DataError(f'there is no archive {folder}')
    state = f'has no {form.folder}' if os.path.isdir(folder) else 'does not exist'
    url = url or os.environ.get('OPENATAC_DATA_URL') or HOME
    try:
        archive = fetch(url.rstrip('/') + '/' + form.archive, os.path.join(folder, form.archive),
                        MD5[form.archive], progress)
    except DataError as error:
        raise DataError(f'{folder} {state}; {error}') from error
    target = os.path.join(folder, form.folder)
    with open_files(archive, MD5.values()) as files:
        _unpack(files, form.files + tuple(kind.listing for kind in dataset.labels.values()), target)
    return target


def _unpack(files: dict[str, File], wanted: Sequence[str], target: str) -> None:
    """Write the wanted files to a new folder, which gets its name when it is complete."""
    folder = f'{target}.{uuid.uuid4().hex}'  # ours alone: others may be unpacking too
    try:
        os.mkdir(folder)
        for name in files:
            if name in wanted:
                with files[name].open() as source, open(os.path.join(folder, name), 'xb') as copy:
                    shutil.copyfileobj(source, copy)
                    copy.flush()
                    os.fsync(copy.fileno())
        os.rename(folder, target)
    except OSError:
        if not os.path.isfile(os.path.join(target, wanted[0])):  # unless another process was faster
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# What the files contain. Images are uint8 (N, 3, 32, 32) and labels int32 (N,).

def _read(dataset: _DataSet, files: dict[str, File], path: str, train: bool,
          kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and their labels of one kind, from whichever form is present."""
    for form, read in ((dataset.binary, _read_binary), (dataset.python, _read_python)):
        if any(name in files for name in form.files):
            wanted = form.train if train else form.test
            for name in wanted:
                if name not in files:
                    raise DataError(f'{path} lacks the file {name}')
            return read(dataset, files, wanted, kind)
    raise DataError(f'{path} has no {dataset.binary.test[0]} and no other file of this data set')


def _read_binary(dataset: _DataSet, files: dict[str, File], wanted: Sequence[str],
                 kind: str) -> tuple[np.ndarray, np.ndarray]:
    head = len(dataset.labels)
    counts = [_count_records(files[name], head + PIXELS) for name in wanted]
    records = np.empty((sum(counts), head + PIXELS), np.uint8)
    parts = dict(zip(wanted, np.split(records, np.cumsum(counts)[:-1])))
    for name in [name for name in files if name in parts]:
        file, part = files[name], parts[name]
        with file.open() as stream:
            if stream.readinto(part.reshape(-1)) != part.size:
                raise DataError(f'{file.label} ends before its {part.size} bytes')
        for column, each in enumerate(dataset.labels.values()):
            _check_labels(part[:, column], each, file)
    column = list(dataset.labels).index(kind)
    return records[:, head:].reshape(-1, *SHAPE), records[:, column].astype(np.int32)


def _count_records(file: File, record: int) -> int:
    """Return the number of records of ``record`` bytes in the file."""
    count, rest = divmod(file.size, record)
    if file.size > archives.LARGEST:
        raise DataError(f'{file.label} is larger than the limit of {archives.LARGEST // MEGABYTE} MB')
    if not file.size:
        raise DataError(f'{file.label} is empty')
    if rest:
        raise DataError(f'{file.label} is not a whole number of records of {record} bytes ({rest} bytes are '
                        'left); is it truncated, or of another data set?')
    return count


def _read_python(dataset: _DataSet, files: dict[str, File], wanted: Sequence[str],
                 kind: str) -> tuple[np.ndarray, np.ndarray]:
    batches = {name: _read_batch(file, dataset.labels[kind])
               for name, file in files.items() if name in wanted}
    images, labels = zip(*(batches[name] for name in wanted))
    return np.concatenate(images), np.concatenate(labels)


def _read_batch(file: File, labels: _Labels) -> tuple[np.ndarray, np.ndarray]:
    with file.open() as stream:
        batch = read_plain_pickle(stream.read(), file.label)
    if not isinstance(batch, dict):
        raise DataError(f'{file.label} is not a dictionary')
    batch = {key.decode('latin-1') if isinstance(key, bytes) else key: value for key, value in batch.items()}
    images, classes = batch.get('data'), _as_array(batch.get(labels.key))
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (PIXELS,):
        raise DataError(f"{file.label} has no 'data' of uint8 (N, {PIXELS})")
    if classes.dtype.kind not in 'iu' or classes.shape != images.shape[:1] or not len(classes):
        raise DataError(f'{file.label} has no {labels.key!r}, one for each of its {len(images)} images')
    _check_labels(classes, labels, file)
    return images.reshape(-1, *SHAPE), classes.astype(np.int32)


def _as_array(labels: Any) -> np.ndarray:
    """Return the labels of a Python file, published as a list of integers, or nothing for anything else."""
    if isinstance(labels, list) and all(type(label) is int for label in labels):
        return np.array(labels)
    return labels if isinstance(labels, np.ndarray) else np.empty(0)


def _check_labels(values: np.ndarray, labels: _Labels, file: File) -> None:
    """Raise DataError for a value that is not a class: the records then belong to another data set."""
    wrong = np.flatnonzero((values < 0) | (values >= len(labels.names)))
    if len(wrong):
        raise DataError(f'record {wrong[0]} of {file.label} has the label {values[wrong[0]]}, but classes go '
                        f'from 0 to {len(labels.names) - 1}; is the file of another data set?')


def _class_names(files: dict[str, File], labels: _Labels) -> tuple[str, ...]:
    """Return the class names as listed next to the images, or as published."""
    if labels.listing not in files:
        return labels.names
    listing = files[labels.listing]
    with listing.open() as stream:
        names = tuple(stream.read().decode('utf-8', 'replace').split())
    if len(names) != len(labels.names):
        raise DataError(f'{listing.label} lists {len(names)} classes instead of {len(labels.names)}')
    return names
