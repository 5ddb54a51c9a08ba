"""Decide from recipe and data whether runs are comparable with the published numbers."""
from __future__ import annotations

from typing import Any

from openatac.data.small import cifar
from openatac.options.declaration import Role, option_defaults, option_fields, option_values
from openatac.study.finished_runs import IMAGES_PER_STEP, FinishedRun
from openatac.study.published.numbers import IMAGENET_TRAINING_IMAGES, IMAGENET_VALIDATION_IMAGES, NETWORKS
from openatac.training import recipes
from openatac.training.config import CifarConfig, ImagenetConfig

# The published runs: {option, or another property of a run: value}.
CIFAR100_SETTINGS: dict[str, Any] = {
    **option_defaults(CifarConfig), **recipes.CIFAR['cifar100_atac'],
    'training_images': cifar.CIFAR_TRAINING_IMAGES, 'test_images': cifar.CIFAR_TEST_IMAGES}
IMAGENET_SETTINGS: dict[str, Any] = {
    **option_defaults(ImagenetConfig), **recipes.IMAGENET['imagenet_atac'], 'dataset': 'imagenet',
    'training_images': IMAGENET_TRAINING_IMAGES, 'test_images': IMAGENET_VALIDATION_IMAGES}
CIFAR100_SETTINGS[IMAGES_PER_STEP] = CIFAR100_SETTINGS['batch_size']
IMAGENET_SETTINGS[IMAGES_PER_STEP] = IMAGENET_SETTINGS['batch_size'] * IMAGENET_SETTINGS['num_gpus']
DATA = ('cifar100_labels', 'training_images', 'test_images', 'num_epochs')
# Options that can differ: other seeds, batches split over other devices and, on ImageNet, float32.
FREE = {CifarConfig: ('seed', 'mode', 'batch_size'),
        ImagenetConfig: ('seed', 'mode', 'batch_size', 'dtype', 'loss_scale')}


def not_comparable(run: FinishedRun) -> tuple[str, ...]:
    """Return the reasons why a run cannot be compared with the published numbers; empty if it can."""
    if run.summary['dataset'] != _published(run)['dataset']:
        return _differences(run, 'dataset', 'num_epochs')
    other_data = _differences(run, *DATA)
    if other_data:
        return other_data
    if run.network not in NETWORKS:
        return (f'no published number for {run.network}',)
    recipe = [name for name, field in option_fields(type(run.config)).items()
              if field.has(Role.RESULT) and not field.has(Role.IN_NAME)]
    free = FREE[type(run.config)]
    return _differences(run, IMAGES_PER_STEP, *(name for name in recipe if name not in free))


def built_as_published(run: FinishedRun) -> bool:
    """Return whether a run's network has the published input size, reduction ratios and placement."""
    return not _differences(run, 'input_size', 'image_size', 'channels', 'act_layers', 'r', 'useReLU',
                            'reduction')


def images_to_train(data: str) -> tuple[int, int]:
    """Return (epochs, images per epoch) of the published run on 'ImageNet' or on CIFAR-100."""
    published = IMAGENET_SETTINGS if data == 'ImageNet' else CIFAR100_SETTINGS
    return published['num_epochs'], published['training_images']


def _published(run: FinishedRun) -> dict[str, Any]:
    return CIFAR100_SETTINGS if isinstance(run.config, CifarConfig) else IMAGENET_SETTINGS


def _differences(run: FinishedRun, *names: str) -> tuple[str, ...]:
    """Return a run's differences from the published run in the ``names`` that are relevant to it."""
    options = option_fields(type(run.config))
    published = _published(run)
    actual = {**option_values(run.config), **run.summary, IMAGES_PER_STEP: run.images_per_step}
    return tuple(f'{name} {actual[name]} instead of {published[name]}' for name in names
                 if name in published and actual[name] != published[name]
                 and (name not in options or options[name].option.matters(actual)))
