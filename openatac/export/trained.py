"""A trained network with what must be known to use it: of a run's folder, or by name and parameter file."""
from __future__ import annotations

import contextlib
from functools import partial
from typing import Any, Callable, NamedTuple

from openatac.data import cifar, cifar_transforms
from openatac.data.photos import transforms
from openatac.errors import DataError
from openatac.export import labelled
from openatac.export.manifest import Description
from openatac.models.hosts import Host
from openatac.models.parameters import load_parameters, read_arrays
from openatac.models.zoo import find_model
from openatac.nn.group_norm import GroupNorm
from openatac.options import changed
from openatac.training import imagenet as imagenet_run
from openatac.training.config import PUBLISHED_CROP_RATIO, CifarConfig
from openatac.training.network import CLASSES
from openatac.training.run_folder import RunFolder

COARSE = '-coarse'  # 20 superclasses under 100 outputs, as the published script trains


class Trained(NamedTuple):
    """net : HybridBlock with values, on the CPU; description : `Description` without reports;

    images : function from whether they are those of the training, else those of the test, to the `Labelled`
    images of its data; it raises DataError if they are not here.
    """

    net: Any
    description: Description
    images: Callable[[bool], labelled.Labelled]


# ------------------------------------------------------------------------------------ a run

def of_run(folder, params=None, size=None, data_dir=None):
    """The `Trained` of the folder of a run of train_cifar.py or train_imagenet.py.

    params : the run's parameter file, its best one if not given; size : side of the input images, the run's
    if not given; data_dir : where the run's images are now. Raises OpenatacError if there is no such run.
    """
    run = RunFolder(folder)
    net, name, config = run.network()
    trained = (_cifar if isinstance(config, CifarConfig) else _imagenet)(net, name, config, size, data_dir)
    load_parameters(net, params or run.file('best.params'))
    return trained


def _cifar(net, name, config, size, data_dir):
    data = config.data
    coarse = data.dataset == 'cifar100' and data.cifar100_labels == 'coarse'
    dataset = data.dataset + (COARSE if coarse else '')
    arguments = {flag: getattr(config.network, flag)
                 for flag in ('r', 'act_layers', 'useGlobal', 'useReLU', 'reduction')}
    description = _small(name, CLASSES[data.dataset], size, labels_of(dataset), arguments)
    return Trained(net, description, partial(labelled.of_dataset, dataset, data_dir or data.data_dir))


def _imagenet(net, name, config, size, data_dir):
    if data_dir:
        config = changed(config, data_dir=data_dir, use_rec=False)
    classes = config.network.num_classes
    arguments = {flag: getattr(config.network, flag) for flag in ('r', 'act_layers', 'use_gn')}
    description = _large(name, classes, size or config.data.input_size, config.data.centre, arguments)
    with contextlib.suppress(DataError):  # the names of the classes are where the images are
        description = description._replace(
            labels=list(imagenet_run.open_source(config.data, 'val', classes).class_names or []))
    return Trained(net, description, partial(labelled.of_photographs, config.data, classes))


# ------------------------------------------------------------------------- a name and a file

def of_model(name: str, params: str, classes: int | None = None, size: int | None = None,
             dataset: str | None = None, data_dir: str | None = None, **arguments: Any) -> Trained:
    """The `Trained` of the network ``name`` with the parameters of a file.

    classes : if not given, as many as the file has; size : side of the input images, the host's if not
    given; dataset : what it was trained on, 'cifar10', 'cifar100',
    'cifar100-coarse' or 'digits'; data_dir : where that is; arguments : of the host, see `get_model`, and
    ``use_gn``.

    Raises ValueError for an unknown name and arguments that the host does not have; ParameterFileError for a
    file that is missing, damaged or of another network.
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
        return Trained(net, _large(name.lower(), found, size, PUBLISHED_CROP_RATIO, arguments), _no_images)
    if dataset is None:
        return Trained(net, _small(name.lower(), found, size, [], arguments), _no_images)
    return Trained(net, _small(name.lower(), found, size, labels_of(dataset), arguments),
                   partial(labelled.of_dataset, dataset, data_dir))


def _no_images(train):
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


# ------------------------------------------------------------------------------ descriptions

def labels_of(dataset):
    """The names of the classes of a ``dataset`` of `of_model`, as many as its networks have outputs."""
    if dataset == 'digits':
        return list('0123456789')
    name, coarse = dataset.replace(COARSE, ''), dataset.endswith(COARSE)
    names = cifar.class_names(name, 'coarse' if coarse else 'fine')
    return names + ['unused %d' % index for index in range(len(names), CLASSES[name])]


def _small(name, classes, size, labels, arguments):
    mean, std = (tuple(round(255 * float(value), 4) for value in values.ravel())
                 for values in (cifar_transforms.MEAN, cifar_transforms.STD))
    size = size or cifar.SHAPE[-1]
    return Description(name, classes, (3, size, size), mean, std, labels=labels, arguments=arguments)


def _large(name, classes, size, crop_ratio, arguments):
    mean, std = (tuple(round(float(value), 4) for value in values.ravel())
                 for values in (transforms.MEAN, transforms.STD))
    return Description(name, classes, (3, size, size), mean, std, crop_ratio, arguments=arguments)
