"""The CIFAR data set of a config, read while MXNet loads."""
from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

from openatac.data import cifar, digits
from openatac.data.image_set import ImageSet
from openatac.training.sections.cifar import CifarData


def load(data: CifarData, train: bool) -> ImageSet:
    """Return the training or test images."""
    if data.dataset == 'digits':
        return digits.load_digits(train)
    return cifar.load_cifar(data.dataset, data.data_dir, train, labels=data.cifar100_labels,
                            url=data.data_url, progress=True)


class BackgroundReader:
    """Runs `load` for each of ``splits`` (True for training), started now in a thread if that is safe.

    It is safe for data that needs no download, since the flags may still turn out to be wrong, and no SciPy,
    which scikit-learn and MXNet must not import at the same time.
    """

    def __init__(self, data: CifarData, splits: Sequence[bool]):
        self._sets: Future[list[ImageSet]] = Future()
        self._thread = threading.Thread(target=self._read, args=(data, splits), daemon=True)
        if data.dataset != 'digits' and cifar.find_cifar(data.dataset, data.data_dir):
            self._thread.start()

    def _read(self, data: CifarData, splits: Sequence[bool]) -> None:
        try:
            self._sets.set_result([load(data, train) for train in splits])
        except BaseException as error:
            self._sets.set_exception(error)

    def result(self) -> list[ImageSet]:
        """Wait for the image sets of all splits and return them; raise what went wrong."""
        if self._thread.ident is None:
            self._thread.start()
        return self._sets.result()
