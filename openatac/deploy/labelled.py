"""Labelled images to measure an exported network's accuracy on."""
import logging
from typing import Callable, NamedTuple, Tuple

import numpy as np

from openatac.data import cifar, digits
from openatac.data.image_folder import ImageFolder
from openatac.data.records import BadRecord
from openatac.deploy.images import BadImage, InputTransform, to_pixels
from openatac.errors import DataError
from openatac.training import session
from openatac.training.imagenet import open_source

BATCH = 32
log = logging.getLogger('openatac')


class Labelled(NamedTuple):
    """count : of images; read : function from an index to (uint8 (H, W, 3), label).

    It raises BadRecord or BadImage for an image that cannot be read; name : function from an index to a text.
    """

    count: int
    read: Callable[[int], Tuple[np.ndarray, int]]
    name: Callable[[int], str]


def of_folder(folder, description):
    """The `Labelled` images of a folder that has a subfolder per class of the network in ``description``.

    Subfolders are told by the names of the classes; where the network's are other names or none, there must
    be as many as classes, in sorted order. Raises DataError if they are not.
    """
    source = ImageFolder(folder)
    if set(source.class_names) <= set(description.labels):
        classes = [description.labels.index(name) for name in source.class_names]
    else:
        source, classes = ImageFolder(folder, description.classes), range(description.classes)
    return _of_source(source, classes)


def of_run(folder, data_dir=None):
    """The `Labelled` test images of the run in ``folder``; DataError if they are not here.

    data_dir : where the run's images are now, if not where they were
    """
    run = session.read_settings(folder)
    if hasattr(run, 'blocks'):
        return of_dataset(run.dataset, data_dir or run.data_dir, run.cifar100_labels)
    if data_dir:
        run.data_dir, run.use_rec = data_dir, False
    return _of_source(open_source(run, 'val'), range(run.num_classes))


def of_dataset(name, folder=None, labels='fine'):
    """The `Labelled` test images of 'cifar10', 'cifar100' or 'digits'; DataError if they are not here."""
    if name == 'digits':
        images = digits.load_digits(train=False)
    elif cifar.find_cifar(name, folder):
        images = cifar.load_cifar(name, folder, train=False, labels=labels)
    else:
        raise DataError('%s is not in %s' % (name, folder or cifar.gluon_folder(name)))
    return Labelled(len(images.labels), lambda index: (images.images[index].transpose(1, 2, 0),
                                                       int(images.labels[index])), str)


def _of_source(source, classes):
    def read(index):
        data, label = source.read(index)
        return to_pixels(data), classes[label]
    return Labelled(len(source), read, source.name)


def batches(labelled, description, count):
    """Yield (float32 (B, C, H, W), labels (B,)) of ``count`` images, evenly spread; bad ones are left out."""
    transform, inputs, labels = InputTransform(description), [], []
    count = min(count, labelled.count)
    for index in (labelled.count * step // count for step in range(count)):
        try:
            pixels, label = labelled.read(index)
            inputs.append(transform(pixels))
            labels.append(label)
        except (BadRecord, BadImage) as error:
            log.warning('left out %s: %s', labelled.name(index), error)
        if len(inputs) == BATCH:
            yield np.stack(inputs), np.array(labels)
            inputs, labels = [], []
    if inputs:
        yield np.stack(inputs), np.array(labels)
