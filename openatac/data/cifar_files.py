"""The files of CIFAR-10 and CIFAR-100: their names and classes, where they are, and their download."""
from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from openatac.data.archives import File, open_files
from openatac.data.download import fetch
from openatac.errors import DataError

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


class Form(NamedTuple):
    """One of the two forms of a data set: the archive, the folder in it, and the files in the folder."""

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
    binary: Form
    python: Form


_BATCHES = tuple(f'data_batch_{k}' for k in range(1, 6))

DATASETS = {
    'cifar10': DataSet(
        labels={'fine': Labels('labels', 'batches.meta.txt',
                               'airplane automobile bird cat deer dog frog horse ship truck')},
        binary=Form('cifar-10-binary.tar.gz', 'cifar-10-batches-bin',
                    tuple(batch + '.bin' for batch in _BATCHES), ('test_batch.bin',)),
        python=Form('cifar-10-python.tar.gz', 'cifar-10-batches-py', _BATCHES, ('test_batch',))),
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
        binary=Form('cifar-100-binary.tar.gz', 'cifar-100-binary', ('train.bin',), ('test.bin',)),
        python=Form('cifar-100-python.tar.gz', 'cifar-100-python', ('train',), ('test',))),
}


# ------------------------------------------------------------------------------- on this machine

def find_cifar(name: str, folder: str | None = None) -> str | None:
    """Return the folder or archive that `load_cifar` would read, or None if it would have to download one."""
    folder = _folder(name, folder)
    if os.path.isfile(folder):
        return folder
    forms = DATASETS[name].binary, DATASETS[name].python
    for form in forms:
        for path in (folder, os.path.join(folder, form.folder)):
            if any(os.path.isfile(os.path.join(path, file)) for file in form.files):
                return path
    return next(filter(os.path.isfile, (os.path.join(folder, form.archive) for form in forms)), None)


def _folder(name: str, folder: str | None) -> str:
    return gluon_folder(name) if folder is None else os.path.expanduser(folder)


def gluon_folder(name: str) -> str:
    """Return Gluon's folder for a data set: ``$MXNET_HOME/datasets/NAME`` or ``~/.mxnet/datasets/NAME``."""
    home = os.environ.get('MXNET_HOME') or os.path.join(os.path.expanduser('~'), '.mxnet')
    return os.path.join(home, 'datasets', name)


def download_cifar(name: str, folder: str | None, url: str | None, progress: bool) -> str:
    """Download the binary archive, unpack the required files, and return their folder; see `load_cifar`."""
    dataset, folder = DATASETS[name], _folder(name, folder)
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
        _unpack(files, form.files + tuple(labels.listing for labels in dataset.labels.values()), target)
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
