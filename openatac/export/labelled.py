"""Sets of images for an exported network, with their labels if those are known, and samples of them."""
import logging
from typing import Callable, NamedTuple, Optional, Tuple

import numpy as np

from openatac.data import cifar, digits
from openatac.data.photos.folder import ImageFolder
from openatac.data.photos.records import BadRecord
from openatac.errors import DataError
from openatac.export.images import BadImage, InputTransform, find_images, read_file, to_pixels
from openatac.training.imagenet import open_source

BATCH = 32
log = logging.getLogger('openatac')


class Labelled(NamedTuple):
    """count : of images; read : function from an index to (uint8 (H, W, 3), label or None).

    It raises BadRecord or BadImage for an image that cannot be read; name : function from an index to a text.
    """

    count: int
    read: Callable[[int], Tuple[np.ndarray, Optional[int]]]
    name: Callable[[int], str]


# ----------------------------------------------------------------------------------- where

def of_images(folder):
    """The images below a folder, without labels; OpenatacError if there are none."""
    paths = list(find_images([folder]))
    return Labelled(len(paths), lambda index: (to_pixels(read_file(paths[index])), None), paths.__getitem__)


def of_classes(folder, description):
    """Those of a folder that has a subfolder per class of the network in ``description``.

    Subfolders are told by the names of the classes; where the network's are other names or none, there must
    be as many as classes, in sorted order. Raises DataError if they are not.
    """
    source = ImageFolder(folder)
    if set(source.class_names) <= set(description.labels):
        classes = [description.labels.index(name) for name in source.class_names]
    else:
        source, classes = ImageFolder(folder, description.classes), range(description.classes)
    return _of_source(source, classes)


def of_dataset(dataset, folder, train):
    """Training or test images of 'cifar10', 'cifar100', 'cifar100-coarse' or 'digits'; DataError without."""
    name, _, coarse = dataset.partition('-')
    if name == 'digits':
        images = digits.load_digits(train)
    elif cifar.find_cifar(name, folder):
        images = cifar.load_cifar(name, folder, train, coarse or 'fine')
    else:
        raise DataError('%s is not in %s' % (name, folder or cifar.gluon_folder(name)))
    return Labelled(len(images.labels), lambda index: (images.images[index].transpose(1, 2, 0),
                                                       int(images.labels[index])), str)


def of_photographs(data, classes, train):
    """Training or validation images of an `ImagenetData`; DataError if they are not here."""
    return _of_source(open_source(data, 'train' if train else 'val', classes), range(classes))


def _of_source(source, classes):
    def read(index):
        data, label = source.read(index)
        return to_pixels(data), classes[label]
    return Labelled(len(source), read, source.name)


# --------------------------------------------------------------------------------- samples

def inputs(labelled, description, count):
    """float32 (N, C, H, W) made of up to ``count`` images, evenly spread; DataError if none is good."""
    found = [image for image, _ in _sample(labelled, description, count)]
    if not found:
        raise DataError('none of the images can be read: name others')
    return np.stack(found)


def batches(labelled, description, count):
    """Yield (float32 (B, C, H, W), labels (B,)) of up to ``count`` images, evenly spread."""
    batch = []
    for pair in _sample(labelled, description, count):
        batch.append(pair)
        if len(batch) == BATCH:
            yield _stacked(batch)
            batch = []
    if batch:
        yield _stacked(batch)


def _stacked(batch):
    images, labels = zip(*batch)
    return np.stack(images), np.array(labels)


def _sample(labelled, description, count):
    """Yield (input float32 (C, H, W), label); images that cannot be used are left out, with a warning."""
    transform, count = InputTransform(description), min(count, labelled.count)
    for index in (labelled.count * step // count for step in range(count)):
        try:
            pixels, label = labelled.read(index)
            yield transform(pixels), label
        except (BadRecord, BadImage) as error:
            log.warning('left out %s: %s', labelled.name(index), error)
