"""A comparison of made-up runs."""
from openatac.backends.devices import Devices
from openatac.options.declaration import build_config
from openatac.study.comparison.comparison import Group
from openatac.study.finished_runs import FinishedRun
from openatac.training.config import CifarConfig

EPOCHS = 4


def run(unit, blocks, seed, best, device='1 x cpu', dataset='digits'):
    """Return a made-up run whose accuracy rises to ``best`` and falls by 2% in the last epoch."""
    accuracies = [best / 2, best * 0.9, best, best * 0.98]
    history = {'epoch': [0.0, 1.0, 2.0, 3.0], 'val_accuracy': accuracies,
               'train_loss': [2.0, 1.0 + 0.1 * seed, 0.5, 0.25]}
    summary = {
        'command': f'train_cifar.py --act-type {unit} --blocks {blocks} --seed {seed} '
                   f"--save-dir '<script>&\"{unit}\"'",
        'dataset': dataset, 'training_images': 1437, 'test_images': 360, 'seed': seed, 'device': device,
        'threads': '1', 'epochs': EPOCHS, 'best_accuracy': best, 'best_epoch': 2,
        'last_accuracy': accuracies[-1], 'images_per_second': 1000.0 / blocks + seed,
        'settings': {'devices': device, 'data': '1+2'},
        'versions': {'openatac': '0.1.0', 'mxnet': '1.9.1'}}
    config = build_config(CifarConfig, {
        'act_type': 'relu', 'blocks': blocks, 'seed': seed, 'dataset': dataset, 'cifar100_labels': 'coarse',
        'num_epochs': EPOCHS, 'lr': 0.1})
    return FinishedRun(f'runs/{unit}-{blocks}-{seed}', config, 'cifar_resnet8_v2_relu', unit,
                       Devices.parse(device), summary, history, f'2026-11-{22 + seed}')


def group(unit, blocks, parameters, *bests, **options):
    runs = [run(unit, blocks, seed, best, **options) for seed, best in enumerate(bests, 1)]
    return Group(unit, blocks, runs, parameters, 120 * parameters)


def several():
    """Return groups of three units at two depths, two with equal parameters; text order would be wrong."""
    return [group('relu', 1, 77_850, 0.70, 0.72), group('swish', 1, 77_850, 0.74, 0.75, 0.73),
            group('atac', 1, 189_578, 0.80, 0.82), group('relu', 10, 1_100_000, 0.76, 0.77),
            group('swish', 10, 1_100_000, 0.78, 0.781), group('atac', 10, 1_290_000, 0.85)]
