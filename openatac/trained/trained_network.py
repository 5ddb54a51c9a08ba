"""Load a trained network for export, from a run's folder, or by name with a parameter file.

It is a Gluon network where MXNet is installed, and a PyTorch module elsewhere.
"""
from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import Any, NamedTuple, Protocol

from openatac.errors import DataError, FlagError, OpenatacError, ParameterFileError
from openatac.files.run_file_names import BEST
from openatac.image_size import Size, sides
from openatac.library import ImageSizeError, Library, installed_library, library_of
from openatac.options.command_line import flag_of
from openatac.trained import input_images
from openatac.trained.described_network import config_of_run
from openatac.trained.input_images import InputImages
from openatac.trained.manifest import Manifest
from openatac.trained.network_manifests import (
    output_names,
    photos_manifest,
    run_manifest,
    small_images_manifest,
)
from openatac.training.config import Config, ImagenetConfig, with_images_in
from openatac.training.networks.build import BuiltNetwork
from openatac.training.run_folder import RunFolder
from openatac.training.sections.imagenet import PUBLISHED_CROP_RATIO
from openatac.zoo.hosts import Host
from openatac.zoo.names import parse_network_name
from openatac.zoo.weights.parameter_files import read_for_network
from openatac.zoo.weights.pretrained import resolve_parameter_file


class OpenImages(Protocol):
    """Opens the training or the test images of a network's data.

    Raises DataError if they are not on this machine.
    """

    def __call__(self, *, train: bool) -> InputImages: ...


class TrainedNetwork(NamedTuple):
    """A trained network, with its manifest and its images.

    Attributes
    ----------
    net : HybridBlock or torch.nn.Module
        Initialised, on the CPU.
    manifest : Manifest
        Without reports.
    open_images : OpenImages
        Opens the images of its data.
    """

    net: Any
    manifest: Manifest
    open_images: OpenImages


# --------------------------------------------------------------------------------------- a run

def load_run(folder: str, params: str | None = None, size: Size | None = None, data_dir: str | None = None,
             library: Library | None = None) -> TrainedNetwork:
    """Load the network of a run of train_cifar.py or train_imagenet.py.

    Parameters
    ----------
    folder : str
        The folder of the run.
    params : str, optional
        A parameter file of the run, by default its best one.
    size : Size, optional
        The size of the input images, by default the run's.
    data_dir : str, optional
        The current folder of the run's images.
    library : Library, optional
        Builds the network; by default the installed one.

    Raises
    ------
    OpenatacError
        If there is no such run.
    """
    run = RunFolder(folder)
    return _load_built(run.network(library), params or run.file(BEST), size, data_dir)


def _load_built(built: BuiltNetwork[Config], params: str, size: Size | None, data_dir: str | None
                ) -> TrainedNetwork:
    """Load the parameters of a run into its network, see `RunFolder.network`."""
    config = with_images_in(built.config, data_dir) if data_dir else built.config
    library_of(built.net).load_parameters(built.net, params)
    return TrainedNetwork(built.net, run_manifest(built.name, config, size), _images_of(config))


def _images_of(config: Config) -> OpenImages:
    """Return a function that opens the training or the test images of a run."""
    if isinstance(config, ImagenetConfig):
        return partial(input_images.from_photos, config.data, config.classes)
    data = config.data
    if data.has_own_images:
        return partial(input_images.from_own_images, data)
    return partial(input_images.from_dataset, data.dataset_with_labels, data.data_dir)


# --------------------------------------------------------------------------- a name and a file

def load_model(name: str, params: str, classes: int | None = None, size: Size | None = None,
               dataset: str | None = None, data_dir: str | None = None, **arguments: Any) -> TrainedNetwork:
    """Load the network ``name`` with the parameters in a file.

    A file in the folder of its run, given alone, gets the settings of the run.

    Parameters
    ----------
    name, params : str
    classes : int, optional
        By default the number in the file.
    size : Size, optional
        The size of the input images, by default the host's.
    dataset : str, optional
        The training data: 'cifar10', 'cifar100', 'cifar100-coarse' or 'digits'.
    data_dir : str, optional
        The folder of its images.
    **arguments
        Settings of the host, see `get_model`, and ``use_gn``.

    Raises
    ------
    UsageError
        For an unknown name, or arguments that the host does not accept.
    ParameterFileError
        For a file that is missing, damaged or from another network.
    """
    host, settings = parse_network_name(name)
    params = resolve_parameter_file(params)
    if not (classes or dataset or arguments):
        built = _built_run(params, name.lower())
        if built is not None:
            return _load_built(built, params, size, data_dir)
    for argument in arguments:
        if argument not in host.arguments and not (argument == 'use_gn' and host.data == 'imagenet'):
            raise FlagError(flag_of(argument), f'{name} has no such setting; leave it out')
    settings.update(arguments)
    library = installed_library()
    settings.update(library.normalisation(settings.pop('use_gn', False)))
    net = _load(library, host, settings, params, classes)
    name, size = name.lower(), size or host.input_shape[-1]
    try:
        outputs = library.count_outputs(net, (3, *sides(size)))
    except ImageSizeError as error:
        raise ParameterFileError(f'{params} is from a network for images of other sizes than {size} '
                                 f'({error}): give the --input-size that it was trained with') from None
    if host.data == 'imagenet':
        manifest = photos_manifest(name, outputs, size, PUBLISHED_CROP_RATIO, arguments)
        return TrainedNetwork(net, manifest, _no_images)
    manifest = small_images_manifest(name, outputs, size, output_names(dataset) if dataset else [], arguments)
    open_images = partial(input_images.from_dataset, dataset, data_dir) if dataset else _no_images
    return TrainedNetwork(net, manifest, open_images)


def _load(library: Library, host: Host, settings: dict[str, Any], params: str, classes: int | None) -> Any:
    """Build a network with the parameters in a file, by default with as many classes as that has."""
    build = host.of(library.name)
    # None in a file of another host
    bias = read_for_network(library.gluon_names(build(**settings)), params).get(host.output + '.bias')
    if bias is not None:
        settings['classes'] = len(bias)
    if classes:
        settings['classes'] = classes
    net = build(**settings)
    library.load_parameters(net, params)
    return net


def _built_run(params: str, name: str) -> BuiltNetwork[Config] | None:
    """Return the network of the run that a parameter file lies in; None if it is not the network ``name``."""
    config = config_of_run(params)
    if config is not None:
        with contextlib.suppress(OpenatacError):  # changed settings need not describe a network
            built = RunFolder(os.path.dirname(params)).build(config)
            if built.name == name:
                return built
    return None


def _no_images(*, train: bool) -> InputImages:
    raise DataError('it is not known which images the network was trained on')
