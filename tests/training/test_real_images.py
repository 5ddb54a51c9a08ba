"""train_cifar.py learns from real images: a slice of CIFAR-10, if it lies beside the checkout."""
from tests.helpers.images.cifar_slice import write_slice
from tests.helpers.processes.scripts import metrics_of, run_in_process


def test_atac_learns_real_images(shared_data, tmp_path):
    data = write_slice(shared_data, tmp_path / 'cifar-10-batches-bin', training=600, test=400)
    folder = tmp_path / 'run'
    assert run_in_process('--data-dir', data, '--save-dir', folder, '--blocks', 1, '--useReLU', '--lr', 0.1,
                          '--batch-size', 15, '--num-epochs', 2, '--lr-decay-epoch', 1, '--seed', 1) == 0
    first, last = metrics_of(folder)
    assert last['train_loss'] < first['train_loss']
    assert last['val_accuracy'] > 0.15  # 0.1 would be chance
