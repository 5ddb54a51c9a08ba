"""train_cifar.py learns from real images: a slice of CIFAR-10, where it lies beside the checkout."""
import io

import numpy as np
import pytest

from tests.scripts import CIFAR10, metrics_of, run_script


def decode(archive, split, count):
    """The first ``count`` images of the archive as CIFAR-10 records."""
    image = pytest.importorskip('PIL.Image')
    blob, offsets = archive[split + '_jpeg'], archive[split + '_offset']
    records = np.empty((count, 3073), np.uint8)
    records[:, 0] = archive[split + '_label'][:count]
    for record, start, stop in zip(records, offsets[:-1], offsets[1:]):
        pixels = image.open(io.BytesIO(blob[start:stop].tobytes())).convert('RGB')
        record[1:] = np.asarray(pixels).transpose(2, 0, 1).reshape(-1)
    return records


@pytest.fixture
def slice_of_cifar10(shared_data, tmp_path):
    """A folder with 5,000 training and 1,000 test images as binary files."""
    folder = tmp_path / 'cifar-10-batches-bin'
    folder.mkdir()
    with np.load(shared_data / 'cifar10_jpeg.npz') as archive:
        for name, records in zip(CIFAR10[0], np.split(decode(archive, 'train', 5000), 5)):
            records.tofile(folder / name)
        decode(archive, 'test', 1000).tofile(folder / CIFAR10[1])
    return folder


def test_atac_learns(slice_of_cifar10, tmp_path):
    folder = tmp_path / 'run'
    result = run_script('--data-dir', slice_of_cifar10, '--save-dir', folder, '--blocks', 1, '--useReLU',
                        '--lr', 0.1, '--batch-size', 64, '--num-epochs', 3, '--lr-decay-epoch', 2,
                        '--seed', 1)
    assert result.returncode == 0, result.stderr
    rows = metrics_of(folder)
    assert [row['train_loss'] for row in rows] == sorted((row['train_loss'] for row in rows), reverse=True)
    assert rows[-1]['val_accuracy'] > 0.25      # 0.345 to 0.378 for the seeds 1 to 4
