"""The first images of the real CIFAR-10, if it lies beside the checkout."""
import io

import numpy as np
import pytest

from tests.helpers.images.made_up_images import CIFAR10


def write_slice(shared_data, folder, training, test=1000):
    """Write CIFAR-10's first images as its binary files; return the folder.

    Parameters
    ----------
    shared_data, folder : Path
    training, test : int
        The numbers of images in all files together.
    """
    folder.mkdir()
    with np.load(shared_data / 'cifar10_jpeg.npz') as archive:
        for name, records in zip(CIFAR10[0], np.split(decode(archive, 'train', training), 5)):
            records.tofile(folder / name)
        decode(archive, 'test', test).tofile(folder / CIFAR10[1])
    return folder


def decode(archive, split, count):
    """Return the first ``count`` images of the archive as CIFAR-10 records."""
    image = pytest.importorskip('PIL.Image')
    blob, offsets = archive[split + '_jpeg'], archive[split + '_offset']
    records = np.empty((count, 3073), np.uint8)
    records[:, 0] = archive[split + '_label'][:count]
    for record, start, stop in zip(records, offsets[:-1], offsets[1:]):
        pixels = image.open(io.BytesIO(blob[start:stop].tobytes())).convert('RGB')
        record[1:] = np.asarray(pixels).transpose(2, 0, 1).reshape(-1)
    return records
