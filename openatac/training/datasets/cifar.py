"""The images of a run of train_cifar.py: CIFAR, the digits, or class folders."""
from __future__ import annotations

import os
import threading
from concurrent.futures import Future

from openatac.data.images.class_names import read_class_list
from openatac.data.small.built_in_datasets import BUILT_IN_DATASETS
from openatac.data.small.class_folders import load_class_folders, open_split
from openatac.data.small.image_set import ImageSet
from openatac.errors import DataError
from openatac.training.config import CifarConfig
from openatac.training.sections.cifar import NEEDS_OWN_IMAGES, CifarData


def load_small_images(data: CifarData, *, train: bool) -> ImageSet:
    """Return the training or test images."""
    if data.has_own_images:
        return load_class_folders(_folder_or_archive(data), data.side, data.class_names, data.max_bad_share,
                                  train=train)
    return BUILT_IN_DATASETS[data.dataset].load(data.data_dir, data.cifar100_labels, train=train,
                                             url=data.data_url, progress=True)


def _folder_or_archive(data: CifarData) -> str:
    """Return the folder or archive of --dataset folder."""
    if data.data_dir is None:
        raise DataError(f'{NEEDS_OWN_IMAGES}: give it with --data-dir')
    return os.path.expanduser(data.data_dir)


def own_class_names(config: CifarConfig) -> list[str]:
    """Return the classes of --dataset folder, in the order of --class-list or of the class folders."""
    data = config.data
    if data.class_list:
        return list(read_class_list(os.path.expanduser(data.class_list)))
    with open_split(_folder_or_archive(data), train=not config.start.evaluate) as images:
        if len(images.class_names) < 2:
            raise DataError(f'{data.data_dir} has images of one class only, {images.class_names[0]!r}: it '
                            'needs a folder for each of two or more classes')
        return list(images.class_names)


class BackgroundReader:
    """Runs `load_small_images` in a thread, for the training and the test images or only for the latter.

    The thread starts at once, or when they are asked for if that would be unsafe: for data that must be
    downloaded, since the flags may still turn out to be wrong, and for data that cannot be read beside other
    imports.
    """

    def __init__(self, data: CifarData, *, only_test: bool) -> None:
        self._sets: Future[list[ImageSet]] = Future()
        self._thread = threading.Thread(target=self._read, args=(data, only_test), daemon=True)
        if data.has_own_images or _can_read_now(data):
            self._thread.start()

    def _read(self, data: CifarData, only_test: bool) -> None:
        try:
            training = [] if only_test else [load_small_images(data, train=True)]
            self._sets.set_result([*training, load_small_images(data, train=False)])
        except BaseException as error:
            self._sets.set_exception(error)

    def both(self) -> tuple[ImageSet, ImageSet]:
        """Wait for the training and the test images and return them; raise the error if reading failed."""
        training, test = self._result()
        return training, test

    def test(self) -> ImageSet:
        """Wait for the test images and return them; raise the error if reading failed."""
        return self._result()[-1]

    def _result(self) -> list[ImageSet]:
        if self._thread.ident is None:
            self._thread.start()
        return self._sets.result()


def _can_read_now(data: CifarData) -> bool:
    dataset = BUILT_IN_DATASETS[data.dataset]
    return dataset.can_load_in_thread and dataset.missing_from(data.data_dir) is None
