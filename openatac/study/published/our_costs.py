"""Costs of the published networks, counted our way and as in their sources."""
from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from openatac.study.published.numbers import PARAMETERS, Published
from openatac.training.sections.imagenet import IMAGENET_CLASSES

if TYPE_CHECKING:
    from openatac.study.costs.gluon_costs import Costs

PUBLISHED_CLASSES = {'cifar': 100, 'imagenet': IMAGENET_CLASSES}


@functools.cache
def network_costs(network: str, published: bool = False) -> Costs:
    """Return the `Costs` of a network by name, at its data's image size."""
    from openatac.study.costs.named_costs import costs_by_name_or_file
    from openatac.zoo.names import host_of
    host = host_of(network)
    return costs_by_name_or_file(network, host.input_shape, PUBLISHED_CLASSES[host.data], published)


def our_cost(number: Published) -> float:
    """Return our parameters in M, or operations in G, counted as in the number's source."""
    total = network_costs(number.network, number.counting.published)
    counting = number.counting
    if number.measure == PARAMETERS:
        return (total.parameters if counting.running_statistics else total.trainable) / 1e6
    return counting.operations * total.multiply_adds / 1e9
