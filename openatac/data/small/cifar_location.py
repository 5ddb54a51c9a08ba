"""Find CIFAR-10 and CIFAR-100 on this machine, or download them."""
from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterable, Sequence

from openatac.data.archives import File, is_archive_name, list_briefly, open_files
from openatac.data.small.cifar_copies import has_copy
from openatac.data.small.cifar_layouts import CIFAR_DATASETS, MD5
from openatac.data.small.download import fetch
from openatac.errors import DataError
from openatac.files.writing import writing

HOME = 'https://www.cs.toronto.edu/~kriz/'
_NUMBER = re.compile(r'cifar[-_ ]?(100?)(?!\d)')  # in the name of an archive or a folder


def find_cifar(name: str, folder: str | None = None) -> str | None:
    """Return the folder or archive that `load_cifar` would read; None if the data is not there yet."""
    dataset, folder = CIFAR_DATASETS[name], _folder(name, folder)
    if not os.path.isdir(folder):
        return folder if os.path.isfile(folder) else None
    content = sorted(os.listdir(folder))
    for layout in dataset.layouts:
        for path in (folder, os.path.join(folder, layout.folder)):
            if any(os.path.isfile(os.path.join(path, file)) for file in layout.files):
                return path
    of_this_name = [path for path in content if _named_data_set(path) == name]
    of_no_name = [path for path in content if _named_data_set(path) is None]
    for path in (folder, *(os.path.join(folder, below) for below in of_this_name + of_no_name)):
        if os.path.isdir(path) and has_copy(path, dataset):
            return path
    archives = [path for path in content if is_archive_name(path)]
    candidates = [layout.archive for layout in dataset.layouts]
    candidates += [path for path in archives if path in of_this_name]
    if len(archives) == 1 and archives[0] in of_no_name:
        candidates += archives
    return next(filter(os.path.isfile, (os.path.join(folder, path) for path in candidates)), None)


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
    dataset, folder = CIFAR_DATASETS[name], _folder(name, folder)
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
        listings = tuple(label_set.listing for label_set in dataset.label_sets.values())
        with writing(target, 'free some disk space or repair the folder'):
            _unpack(named, layout.files + listings, target)
    return target


def _check_free_for_download(name: str, folder: str) -> None:
    """Raise DataError if the folder holds anything but downloads, unless it is Gluon's own."""
    if not os.path.isdir(folder) or os.path.abspath(folder) == os.path.abspath(gluon_folder(name)):
        return
    layouts = [layout for dataset in CIFAR_DATASETS.values() for layout in dataset.layouts]
    downloads = tuple(path for layout in layouts for path in (layout.archive, layout.folder))
    others = [path for path in os.listdir(folder) if not path.startswith((*downloads, '.'))]
    if others:
        raise not_understood(name, folder, others)


def not_understood(name: str, path: str, found: Iterable[str]) -> DataError:
    """Return the error for a folder or archive that contains other files instead of the data set."""
    binary, python = CIFAR_DATASETS[name].binary, CIFAR_DATASETS[name].python
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
