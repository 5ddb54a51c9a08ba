"""A trained network to export: from a run's folder, or by name with a parameter file."""
from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np
from mxnet.gluon.block import HybridBlock

from openatac.data import cifar, cifar_transforms
from openatac.data.photos import transforms
from openatac.errors import DataError
from openatac.export.images.labelled import LabelledImages, class_folder_images, dataset_images, photographs
from openatac.export.manifest import Manifest
from openatac.limits import Size, sides
from openatac.models.parameters import load_parameters
from openatac.models.weights import find_weights
from openatac.models.zoo import find_model
from openatac.nn.group_norm import GroupNorm
from openatac.options import changed
from openatac.training.config import CifarConfig, ImagenetConfig
from openatac.training.datasets import open_photos
from openatac.training.run_folder import RunFolder
from openatac.training.sections.cifar import CLASSES
from openatac.training.sections.imagenet import PUBLISHED_CROP_RATIO


class TrainedNetwork(NamedTuple):
    """A network to export.

    Attributes
    ----------
    net : HybridBlock
        With values, on the CPU.
    manifest : Manifest
        Without reports.
    images : callable
        ``images(train)`` returns the training or the test images of its data; DataError if they are not on
        this machine.
    """

    net: HybridBlock
    manifest: Manifest
    images: Callable[[bool], LabelledImages]


# --------------------------------------------------------------------------------------- a run

def load_run(folder: str, params: str | None = None, size: Size | None = None, data_dir: str | None = None
             ) -> TrainedNetwork:
    """Load the network of a run of train_cifar.py or train_imagenet.py.

    Parameters
    ----------
    folder : str
        Of the run.
    params : str, optional
        A parameter file of the run, if not its best one.
    size : Size, optional
        Of the input images, if not the run's.
    data_dir : str, optional
        Where the run's images are now.

    Raises
    ------
    OpenatacError
        If there is no such run.
    """
    run = RunFolder(folder)
    net, name, config = run.network()
    load_parameters(net, params or run.file('best.params'))
    if isinstance(config, CifarConfig):
        return _cifar(net, name, config, size, data_dir)
    return _imagenet(net, name, config, size, data_dir)


def _cifar(net: HybridBlock, name: str, config: CifarConfig, size: Size | None, data_dir: str | None
           ) -> TrainedNetwork:
    if data_dir:
        config = changed(config, data_dir=data_dir)
    data = config.data
    arguments = {flag: getattr(config.network, flag)
                 for flag in ('r', 'act_layers', 'useGlobal', 'useReLU', 'reduction')}
    if data.dataset == 'folder':
        labels, images = data.class_names or [], partial(class_folder_images, data)
    else:
        dataset: str = data.dataset
        if dataset == 'cifar100' and data.cifar100_labels == 'coarse':
            dataset += '-coarse'  # 20 superclasses under 100 outputs, as the published script trains
        labels, images = _labels(dataset), partial(dataset_images, dataset, data.data_dir)
    manifest = _cifar_manifest(name, data.classes, size or data.side, labels, arguments)
    return TrainedNetwork(net, manifest, images)


def _imagenet(net: HybridBlock, name: str, config: ImagenetConfig, size: Size | None, data_dir: str | None
              ) -> TrainedNetwork:
    if data_dir:
        config = changed(config, data_dir=data_dir, use_rec=False)
    classes = config.network.classes
    arguments = {flag: getattr(config.network, flag) for flag in ('r', 'act_layers', 'use_gn')}
    manifest = _imagenet_manifest(name, classes, size or config.data.input_size, config.data.centre,
                                  arguments)
    with contextlib.suppress(DataError):  # the names of the classes are where the images are
        manifest = manifest._replace(
            labels=list(open_photos(config.data, 'val', classes).class_names or []))
    return TrainedNetwork(net, manifest, partial(photographs, config.data, classes))


# --------------------------------------------------------------------------- a name and a file

def load_model(name: str, params: str, classes: int | None = None, size: Size | None = None,
               dataset: str | None = None, data_dir: str | None = None, **arguments: Any) -> TrainedNetwork:
    """Load the network ``name`` with the parameters of a file.

    Parameters
    ----------
    name, params : str
    classes : int, optional
        By default as many as the file has.
    size : Size, optional
        Of the input images, if not the host's.
    dataset : str, optional
        What it was trained on: 'cifar10', 'cifar100', 'cifar100-coarse' or 'digits'.
    data_dir : str, optional
        Where its images are.
    **arguments
        Of the host, see `get_model`, and ``use_gn``.

    Raises
    ------
    ValueError
        For an unknown name, or arguments that the host does not have.
    ParameterFileError
        For a file that is missing, damaged or of another network.
    """
    host, settings = find_model(name)
    for argument in arguments:
        if argument not in host.settings and not (argument == 'use_gn' and host.data == 'imagenet'):
            raise ValueError(f'argument --{argument.replace("_", "-")}: {name} has no such setting; leave it '
                             'out')
    settings.update((key, value) for key, value in arguments.items() if key != 'use_gn')
    if arguments.get('use_gn'):
        settings['norm_layer'] = GroupNorm
    # None in a file of another host
    bias = find_weights(host.build(**settings), params).get(host.output + '.bias')
    if bias is not None:
        settings['classes'] = len(bias)
    if classes:
        settings['classes'] = classes
    net = host.build(**settings)
    load_parameters(net, params)
    _, ((_, outputs),), _ = net(mx.sym.var('data')).infer_shape(data=(1, *host.input_shape))
    name, size = name.lower(), size or host.input_shape[-1]
    if host.data == 'imagenet':
        manifest = _imagenet_manifest(name, outputs, size, PUBLISHED_CROP_RATIO, arguments)
        return TrainedNetwork(net, manifest, _no_images)
    manifest = _cifar_manifest(name, outputs, size, _labels(dataset) if dataset else [], arguments)
    images = partial(dataset_images, dataset, data_dir) if dataset else _no_images
    return TrainedNetwork(net, manifest, images)


def _no_images(train: bool) -> LabelledImages:
    raise DataError('it is not known which images the network was trained on')


# ----------------------------------------------------------------------------------- manifests

def _labels(dataset: str) -> list[str]:
    """Return the class names of a ``dataset`` of `load_model`, as many as its networks have outputs."""
    if dataset == 'digits':
        return list('0123456789')
    name, _, kind = dataset.partition('-')
    names = cifar.class_names(name, kind or 'fine')
    return names + [f'unused {index}' for index in range(len(names), CLASSES[name])]


def _cifar_manifest(name: str, classes: int, size: Size, labels: list[str],
                    arguments: dict[str, Any]) -> Manifest:
    mean, std = (_per_channel(255 * values) for values in (cifar_transforms.MEAN, cifar_transforms.STD))
    return Manifest(name, classes, (3, *sides(size)), mean, std, labels=labels, arguments=arguments)


def _imagenet_manifest(name: str, classes: int, size: Size, crop_ratio: float, arguments: dict[str, Any]
                       ) -> Manifest:
    mean, std = map(_per_channel, (transforms.MEAN, transforms.STD))
    return Manifest(name, classes, (3, *sides(size)), mean, std, crop_ratio, arguments=arguments)


def _per_channel(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 4) for value in values.ravel())
    return red, green, blue
