"""A trained network with what must be known to use it: of a run's folder, or by name and parameter file."""
from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from mxnet.gluon.block import HybridBlock

from openatac.data import cifar, cifar_transforms
from openatac.data.photos import transforms
from openatac.errors import DataError
from openatac.export.labelled_images import LabelledImages, dataset_images, photographs
from openatac.export.manifest import Manifest
from openatac.models.hosts import Host
from openatac.models.parameters import load_parameters, read_arrays
from openatac.models.zoo import find_model
from openatac.nn.group_norm import GroupNorm
from openatac.options import changed
from openatac.training import imagenet as imagenet_run
from openatac.training.config import PUBLISHED_CROP_RATIO, CifarConfig, ImagenetConfig
from openatac.training.network import CLASSES
from openatac.training.run_folder import RunFolder

COARSE = '-coarse'  # 20 superclasses under 100 outputs, as the published script trains


class TrainedNetwork(NamedTuple):
    """A network to export.

    Attributes
    ----------
    net : HybridBlock
        With values, on the CPU.
    manifest : Manifest
        Without reports.
    images : callable
        ``images(train)`` is the training images of its data, or else the test images; DataError if they are
        not here.
    """

    net: HybridBlock
    manifest: Manifest
    images: Callable[[bool], LabelledImages]


# ---------------------------------------------------------------------------------------- a run

def load_run(folder: str, params: str | None = None, size: int | None = None, data_dir: str | None = None
             ) -> TrainedNetwork:
    """The network of a run of train_cifar.py or train_imagenet.py.

    Parameters
    ----------
    folder : str
        Of the run.
    params : str, optional
        A parameter file of the run, if not its best one.
    size : int, optional
        Side of the input images, if not the run's.
    data_dir : str, optional
        Where the run's images are now.

    Raises
    ------
    OpenatacError
        If there is no such run.
    """
    run = RunFolder(folder)
    net, name, config = run.network()
    if isinstance(config, CifarConfig):
        trained = _cifar(net, name, config, size, data_dir)
    else:
        trained = _imagenet(net, name, config, size, data_dir)
    load_parameters(net, params or run.file('best.params'))
    return trained


def _cifar(net: HybridBlock, name: str, config: CifarConfig, size: int | None, data_dir: str | None
           ) -> TrainedNetwork:
    data = config.data
    coarse = data.dataset == 'cifar100' and data.cifar100_labels == 'coarse'
    dataset = data.dataset + (COARSE if coarse else '')
    arguments = {flag: getattr(config.network, flag)
                 for flag in ('r', 'act_layers', 'useGlobal', 'useReLU', 'reduction')}
    manifest = _small(name, CLASSES[data.dataset], size, labels_of(dataset), arguments)
    return TrainedNetwork(net, manifest, partial(dataset_images, dataset, data_dir or data.data_dir))


def _imagenet(net: HybridBlock, name: str, config: ImagenetConfig, size: int | None, data_dir: str | None
              ) -> TrainedNetwork:
    if data_dir:
        config = changed(config, data_dir=data_dir, use_rec=False)
    classes = config.network.num_classes
    arguments = {flag: getattr(config.network, flag) for flag in ('r', 'act_layers', 'use_gn')}
    manifest = _large(name, classes, size or config.data.input_size, config.data.centre, arguments)
    with contextlib.suppress(DataError):  # the names of the classes are where the images are
        manifest = manifest._replace(
            labels=list(imagenet_run.open_source(config.data, 'val', classes).class_names or []))
    return TrainedNetwork(net, manifest, partial(photographs, config.data, classes))


# --------------------------------------------------------------------------- a name and a file

def load_model(name: str, params: str, classes: int | None = None, size: int | None = None,
               dataset: str | None = None, data_dir: str | None = None, **arguments: Any) -> TrainedNetwork:
    """The network ``name`` with the parameters of a file.

    Parameters
    ----------
    name, params : str
    classes : int, optional
        If not as many as the file has.
    size : int, optional
        Side of the input images, if not the host's.
    dataset : str, optional
        What it was trained on: 'cifar10', 'cifar100', 'cifar100-coarse' or 'digits'.
    data_dir : str, optional
        Where that is.
    **arguments
        Of the host, see `get_model`, and ``use_gn``.

    Raises
    ------
    ValueError
        For an unknown name, and for arguments that the host does not have.
    ParameterFileError
        For a file that is missing, damaged or of another network.
    """
    host, settings = find_model(name)
    _check_arguments(name, host, arguments)
    settings.update((key, value) for key, value in arguments.items() if key != 'use_gn')
    if arguments.get('use_gn'):
        settings['norm_layer'] = GroupNorm
    found = _count_classes(params, host)
    if classes or found:
        settings['classes'] = classes or found
    net = host.build(**settings)
    load_parameters(net, params)
    size = size or host.input_shape[-1]
    if host.data == 'imagenet':
        manifest = _large(name.lower(), found, size, PUBLISHED_CROP_RATIO, arguments)
        return TrainedNetwork(net, manifest, _no_images)
    manifest = _small(name.lower(), found, size, labels_of(dataset) if dataset else [], arguments)
    images = partial(dataset_images, dataset, data_dir) if dataset else _no_images
    return TrainedNetwork(net, manifest, images)


def _no_images(train: bool) -> LabelledImages:
    raise DataError('it is not known on which images the network was trained')


def _check_arguments(name: str, host: Host, arguments: dict[str, Any]) -> None:
    known = (*host.settings, *(('use_gn',) if host.data == 'imagenet' else ()))
    for argument in arguments:
        if argument not in known:
            raise ValueError(f'argument --{argument.replace("_", "-")}: {name} has no such setting; leave it '
                             'out')


def _count_classes(params: str, host: Host) -> int | None:
    """How many outputs the last layer has in a parameter file; None if it is of another host."""
    bias = read_arrays(params).get(host.output + '.bias')
    return None if bias is None else len(bias)


# ------------------------------------------------------------------------------------ manifests

def labels_of(dataset: str) -> list[str]:
    """The names of the classes of a ``dataset`` of `load_model`, as many as its networks have outputs."""
    if dataset == 'digits':
        return list('0123456789')
    name, coarse = dataset.replace(COARSE, ''), dataset.endswith(COARSE)
    names = cifar.class_names(name, 'coarse' if coarse else 'fine')
    return names + [f'unused {index}' for index in range(len(names), CLASSES[name])]


def _small(name: str, classes: Any, size: int | None, labels: list[str], arguments: dict[str, Any]
           ) -> Manifest:
    """The manifest of a network for images of CIFAR's kind."""
    mean, std = (_of_channels(values, 255) for values in (cifar_transforms.MEAN, cifar_transforms.STD))
    size = size or cifar.SHAPE[-1]
    return Manifest(name, classes, (3, size, size), mean, std, labels=labels, arguments=arguments)


def _large(name: str, classes: Any, size: int, crop_ratio: float, arguments: dict[str, Any]) -> Manifest:
    """The manifest of a network for photographs."""
    mean, std = (_of_channels(values, 1) for values in (transforms.MEAN, transforms.STD))
    return Manifest(name, classes, (3, size, size), mean, std, crop_ratio, arguments=arguments)


def _of_channels(values: np.ndarray, scale: int) -> tuple[float, float, float]:
    red, green, blue = (round(scale * float(value), 4) for value in values.ravel())
    return red, green, blue
