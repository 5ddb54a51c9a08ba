"""Build the manifests of networks: a run's from its config, or one for small images or for photographs."""
from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from openatac.data.photos import transforms as photo_transforms
from openatac.data.small import transforms as small_transforms
from openatac.data.small.built_in_datasets import BUILT_IN_DATASETS, split_name
from openatac.errors import DataError
from openatac.image_size import Size, sides
from openatac.options.declaration import Role, option_fields
from openatac.trained.manifest import Manifest
from openatac.training.config import CifarConfig, Config
from openatac.training.datasets.imagenet import open_photos


def run_manifest(name: str, config: Config, size: Size | None = None) -> Manifest:
    """Return the manifest of the network ``name`` of a run, without reports.

    Parameters
    ----------
    name : str
    config : CifarConfig or ImagenetConfig
    size : Size, optional
        The size of the input images, if not the run's.
    """
    arguments = {option: getattr(config.network, option)
                 for option, field in option_fields(type(config)).items() if field.has(Role.IN_MANIFEST)}
    if isinstance(config, CifarConfig):
        data = config.data
        labels = data.class_names or [] if data.has_own_images else output_names(data.dataset_with_labels)
        return small_images_manifest(name, data.classes, size or data.side, labels, arguments)
    manifest = photos_manifest(name, config.classes, size or config.data.input_size,
                               config.data.effective_crop_ratio, arguments)
    names: Sequence[str] | None = config.data.class_names
    if names is None:  # older runs keep them with the images
        with contextlib.suppress(DataError):
            names = open_photos(config.data, config.classes, train=False).class_names
    return manifest._replace(labels=[*names]) if names and len(names) == manifest.classes else manifest


def output_names(name: str) -> list[str]:
    """Return the class names of a data set in `NAMES_WITH_LABELS`, one per output."""
    dataset, label_set = split_name(name)
    return BUILT_IN_DATASETS[dataset].class_names(label_set)


def small_images_manifest(name: str, classes: int, size: Size, labels: list[str], arguments: dict[str, Any]
                          ) -> Manifest:
    """Return the manifest of a network for small images."""
    mean, std = (_per_channel(255 * values)
                 for values in (small_transforms.MEAN_0_TO_1, small_transforms.STD_0_TO_1))
    return Manifest(name, classes, (3, *sides(size)), mean, std, labels=labels, arguments=arguments)


def photos_manifest(name: str, classes: int, size: Size, crop_ratio: float, arguments: dict[str, Any]
                    ) -> Manifest:
    """Return the manifest of a network for photographs."""
    mean, std = map(_per_channel, (photo_transforms.MEAN_0_TO_255, photo_transforms.STD_0_TO_255))
    return Manifest(name, classes, (3, *sides(size)), mean, std, crop_ratio, arguments=arguments)


def _per_channel(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 4) for value in values.ravel())
    return red, green, blue
