"""The values that the network of a config starts from."""
from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from openatac.backends.base import Backend
from openatac.errors import OpenatacError
from openatac.library import GLUON, PYTORCH, library_of
from openatac.system.installed import has_mxnet
from openatac.training.config import Config
from openatac.training.networks.build import build_network
from openatac.training.networks.named_options import is_registered_for
from openatac.zoo.weights.pretrained import Pretrained, resolve_parameter_file

if TYPE_CHECKING:
    from mxnet.gluon import HybridBlock
    from torch import nn

log = logging.getLogger('openatac')


def initialize(backend: Backend, net: Any, config: Config) -> None:
    """Give the network of a backend the values that it starts from.

    A PyTorch module gets MXNet's random numbers if MXNet is installed and its host and units are registered
    for Gluon.
    """
    if config.start.initial:  # the network has them
        backend.initialize()
        return
    if library_of(net) is PYTORCH and has_mxnet() and is_registered_for('gluon', config):
        _draw_by_mxnet(net, config)
        backend.initialize()
        return
    params = parameter_source(config)
    if library_of(net) is PYTORCH and not isinstance(params, str):
        log.info('PyTorch draws the initial values, not MXNet: the same --seed gives other values, from the '
                 'same distribution')
    backend.initialize(params)


def draw_on_cpu(net: HybridBlock, config: Config) -> None:
    """Give a Gluon network all values that a run of a config would start from."""
    import mxnet as mx

    from openatac.models.weights import draw_deferred_values, initialize_parameters
    initialize_parameters(net, config.training.seed, [mx.cpu()], parameter_source(config))
    draw_deferred_values(net, config.image_shape)


def parameter_source(config: Config) -> str | Pretrained | None:
    """Return the parameters that a config starts its network from; None if its seed draws them."""
    if config.start.pretrained is None:
        return config.start.params
    return Pretrained(resolve_parameter_file(config.start.pretrained), config.host.output)


def _draw_by_mxnet(module: nn.Module, config: Config) -> None:
    """Give a PyTorch module all values that MXNet's network of a config would start from."""
    import torch

    from openatac.models.weights import values_of
    net = build_network(config, GLUON).net
    draw_on_cpu(net, config)
    values = values_of(net)
    different = sorted(values.keys() ^ module.state_dict().keys())
    if different:
        raise OpenatacError(f'the Gluon and the PyTorch network have different parameters, such as '
                            f'{different[0]}: give both factories of a host or unit the same names')
    module.load_state_dict({name: torch.tensor(value.asnumpy()) for name, value in values.items()})
