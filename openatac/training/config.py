"""The configs of train_cifar.py and train_imagenet.py: every option of a training run.

Each option is declared once (see `openatac.options.declaration`), in a section of
`openatac.training.sections` or of `openatac.backends.compute`. Flags, settings.json, the check that a
checkpoint belongs to this run, the groups of a comparison and the check against the published recipe are
derived from these declarations; where one makes an exception, it names the option.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, Union

from openatac.backends.compute import Compute, ImagenetCompute
from openatac.image_size import sides
from openatac.options.declaration import Role, option_fields, option_values, with_changes
from openatac.training.sections.cifar import CifarData, CifarNetwork, CifarOutput, CifarStart, CifarTraining
from openatac.training.sections.imagenet import (
    ImagenetData,
    ImagenetNetwork,
    ImagenetOutput,
    ImagenetStart,
    ImagenetTraining,
)
from openatac.zoo.hosts import HOSTS, PUBLISHED_CIFAR_HOST, PUBLISHED_IMAGENET_HOST, Host


@dataclass(frozen=True)
class CifarConfig:
    """A run of train_cifar.py."""

    network: CifarNetwork
    data: CifarData
    training: CifarTraining
    compute: Compute
    output: CifarOutput
    start: CifarStart

    @property
    def host(self) -> Host:
        """The host of the network; for a config from `openatac.training.networks.named_options`."""
        return HOSTS.find(self.network.host or PUBLISHED_CIFAR_HOST)

    @property
    def classes(self) -> int:
        """The number of the network's outputs."""
        return self.data.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's images."""
        return (3, self.data.side, self.data.side)


@dataclass(frozen=True)
class ImagenetConfig:
    """A run of train_imagenet.py."""

    network: ImagenetNetwork
    data: ImagenetData
    training: ImagenetTraining
    compute: ImagenetCompute
    output: ImagenetOutput
    start: ImagenetStart

    @property
    def host(self) -> Host:
        """The host of the network."""
        return HOSTS.find(PUBLISHED_IMAGENET_HOST)

    @property
    def classes(self) -> int:
        """The number of the network's outputs."""
        return self.network.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's images."""
        return (3, *sides(self.data.input_size))


Config = Union[CifarConfig, ImagenetConfig]
AnyConfig = TypeVar('AnyConfig', bound=Config)


def config_type_of(settings: Mapping[str, Any]) -> type[Config]:
    """Return the type of the config that has these settings: only a run of train_cifar.py has ``blocks``."""
    return CifarConfig if 'blocks' in settings else ImagenetConfig


def with_images_in(config: Config, folder: str) -> Config:
    """Return the config of a run whose images have moved to ``folder``."""
    if isinstance(config, CifarConfig):
        return with_changes(config, data_dir=folder)
    return with_changes(config, data_dir=folder, use_rec=False)  # records are located by other options


def network_settings(config: Config) -> dict[str, Any]:
    """Return {name: value} of everything that the network and its initial values depend on."""
    return {name: value for name, value in option_values(config).items()
            if option_fields(type(config))[name].has(Role.NETWORK)}


def result_settings(config: Config, devices: str, data: str) -> dict[str, Any]:
    """Return {name: value} of everything that the run's result depends on.

    Parameters
    ----------
    config : CifarConfig or ImagenetConfig
    devices : str
        Such as '2 x gpu'.
    data : str
        Identifies the contents of the data sets.
    """
    options = {name: field for name, field in option_fields(type(config)).items() if field.has(Role.RESULT)}
    if config.compute.engine == 'mxnet':
        options = {name: field for name, field in options.items() if not field.has(Role.NOT_OF_MXNET)}
    values = option_values(config)
    return {**{name: values[name] for name in options}, 'devices': devices, 'data': data}
