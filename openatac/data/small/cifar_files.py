"""The files of CIFAR-10 and CIFAR-100: names, classes, location and download."""
from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from openatac.data.archives import File, is_archive_name, list_briefly, open_files
from openatac.data.small.cifar_copies import has_copy
from openatac.data.small.download import fetch
from openatac.errors import DataError
from openatac.files.writing import writing

HOME = 'https://www.cs.toronto.edu/~kriz/'
MD5 = {
    'cifar-10-binary.tar.gz': 'c32a1d4ab5d03f1284b67883e8d87530',
    'cifar-10-python.tar.gz': 'c58f30108f718f92721af3b95e74349a',
    'cifar-100-binary.tar.gz': '03b5dce01913d631647c71ecec9e9cb8',
    'cifar-100-python.tar.gz': 'eb9058c3a382ffc7106e4002c42a8d85',
}


class Labels(NamedTuple):
    """One kind of label: its key in the Python files, the file that lists its classes, and their names."""

    key: str
    listing: str
    words: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes, by index."""
        return tuple(self.words.split())


class Layout(NamedTuple):
    """One of the two layouts of a data set: the archive, the folder in it, and the files in the folder."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The files of training and test images."""
        return self.train + self.test


class DataSet(NamedTuple):
    """A data set; its ``labels`` are in the order of their bytes at the start of a binary record."""

    labels: dict[str, Labels]
    binary: Layout
    python: Layout

    @property
    def layouts(self) -> tuple[Layout, Layout]:
        """Both layouts; the first is preferred."""
        return self.binary, self.python

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """{kind of label: names of its classes}."""
        return {kind: labels.names for kind, labels in self.labels.items()}


_NUMBER = re.compile(r'cifar[-_ ]?(100?)(?!\d)')  # in the name of an archive or a folder
_BATCHES = tuple(f'data_batch_{k}' for k in range(1, 6))

DATASETS = {
    'cifar10': DataSet(
        labels={'fine': Labels('labels', 'batches.meta.txt',
                               'airplane automobile bird cat deer dog frog horse ship truck')},
        binary=Layout('cifar-10-binary.tar.gz', 'cifar-10-batches-bin',
                      tuple(batch + '.bin' for batch in _BATCHES), ('test_batch.bin',)),
        python=Layout('cifar-10-python.tar.gz', 'cifar-10-batches-py', _BATCHES, ('test_batch',))),
    'cifar100': DataSet(
        labels={
            'coarse': Labels('coarse_labels', 'coarse_label_names.txt', """
                aquatic_mammals fish flowers food_containers fruit_and_vegetables
                household_electrical_devices household_furniture insects large_carnivores
                large_man-made_outdoor_things large_natural_outdoor_scenes
                large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles
                small_mammals trees vehicles_1 vehicles_2"""),
            'fine': Labels('fine_labels', 'fine_label_names.txt', """
                apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
                butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach
                couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster
                house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
                motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
                pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road
                rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
                sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip
                turtle wardrobe whale willow_tree wolf woman worm""")},
        binary=Layout('cifar-100-binary.tar.gz', 'cifar-100-binary', ('train.bin',), ('test.bin',)),
        python=Layout('cifar-100-python.tar.gz', 'cifar-100-python', ('train',), ('test',))),
}


# ------------------------------------------------------------------------------- on this machine

def find_cifar(name: str, folder: str | None = None) -> str | None:
    """Return the folder or archive that `load_cifar` would read; None if the data is not there yet."""
    dataset, folder = DATASETS[name], _folder(name, folder)
    if not os.path.isdir(folder):
        return folder if os.path.isfile(folder) else None
    content = sorted(os.listdir(folder))
    for layout in dataset.layouts:
        for path in (folder, os.path.join(folder, layout.folder)):
            if any(os.path.isfile(os.path.join(path, file)) for file in layout.files):
                return path
    below = sorted((path for path in content if _named_data_set(path) in (None, name)),
                   key=lambda path: _named_data_set(path) is None)  # folders of this name first
    for path in (folder, *(os.path.join(folder, path) for path in below)):
        if os.path.isdir(path) and has_copy(path, dataset.names):
            return path
    others = [path for path in content if is_archive_name(path)]
    archives = [layout.archive for layout in dataset.layouts] + [
        path for path in others if _named_data_set(path) == name or (
            len(others) == 1 and _named_data_set(path) is None)]
    return next(filter(os.path.isfile, (os.path.join(folder, path) for path in archives)), None)


def _named_data_set(path: str) -> str | None:
    """Return 'cifar10' or 'cifar100', whichever is in a file name; None if neither is."""
    match = _NUMBER.search(path.lower())
    return f'cifar{match[1]}' if match else None


def _folder(name: str, folder: str | None) -> str:
    return gluon_folder(name) if folder is None else os.path.expanduser(folder)


def gluon_folder(name: str) -> str:
    """Return Gluon's folder for a data set: ``$MXNET_HOME/datasets/NAME`` or ``~/.mxnet/datasets/NAME``."""
    home = os.environ.get('MXNET_HOME') or os.path.join(os.path.expanduser('~'), '.mxnet')
    return os.path.join(home, 'datasets', name)


def download_cifar(name: str, folder: str | None, url: str | None, progress: bool) -> str:
    """Download the binary archive, unpack the required files, and return their folder; see `load_cifar`."""
    dataset, folder = DATASETS[name], _folder(name, folder)
    layout = dataset.binary
    if is_archive_name(folder):
        raise DataError(f'there is no archive {folder}')
    _check_free_for_download(name, folder)
    state = f'has no {layout.folder}' if os.path.isdir(folder) else 'does not exist'
    url = url or os.environ.get('OPENATAC_DATA_URL') or HOME
    try:
        archive = fetch(url.rstrip('/') + '/' + layout.archive, os.path.join(folder, layout.archive),
                        MD5[layout.archive], progress)
    except DataError as error:
        raise DataError(f'{folder} {state}; {error}') from error
    target = os.path.join(folder, layout.folder)
    with open_files(archive, MD5.values()) as files:
        named = {os.path.basename(path): file for path, file in files.items()}
        with writing(target, 'free some disk space or repair the folder'):
            _unpack(named, layout.files + tuple(labels.listing for labels in dataset.labels.values()), target)
    return target


def _check_free_for_download(name: str, folder: str) -> None:
    """Raise DataError if the folder holds anything but downloads, unless it is Gluon's own."""
    if not os.path.isdir(folder) or os.path.abspath(folder) == os.path.abspath(gluon_folder(name)):
        return
    layouts = [layout for dataset in DATASETS.values() for layout in dataset.layouts]
    downloads = tuple(path for layout in layouts for path in (layout.archive, layout.folder))
    others = [path for path in os.listdir(folder) if not path.startswith((*downloads, '.'))]
    if others:
        raise not_understood(name, folder, others)


def not_understood(name: str, path: str, found: Iterable[str]) -> DataError:
    """Return the error for a folder or archive that contains other files instead of the data set."""
    binary, python = DATASETS[name].binary, DATASETS[name].python
    return DataError(
        f'{path} holds no {name}, but {list_briefly(found)}: it needs the files of {binary.folder} or '
        f'{python.folder} ({binary.test[0]} and others), images of its classes in train/CLASS/ and '
        'test/CLASS/, train*.parquet and test*.parquet, or an archive of one of these (tar, tar.gz, zip); '
        'give an empty folder to download it, or train on your own images with --dataset folder')


def _unpack(files: dict[str, File], wanted: Sequence[str], target: str) -> None:
    """Write the wanted files to a new folder, and rename it when it is complete."""
    folder = f'{target}.{uuid.uuid4().hex}'  # unique, since other processes may be unpacking too
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
