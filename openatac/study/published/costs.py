"""Costs of the published networks, counted by us."""
import functools

from openatac.study.published import numbers


@functools.lru_cache(maxsize=None)
def network_costs(network, as_published=False):
    """The `costs` of a network by name, at its data's image size."""
    from openatac.models.zoo import find_model
    from openatac.study.costs.table import measure
    host = find_model(network)[0]
    return measure(network, host.input_shape, 100 if host.data == 'cifar' else 1000, as_published)[0]


def multiply_adds(network):
    """As we count them."""
    return network_costs(network).multiply_adds


def counted(number):
    """Our parameters in M or operations in G, counted as the number's source counts them."""
    found, counting = network_costs(number.network, number.counting.dense), number.counting
    if number.measure == numbers.PARAMETERS:
        return (found.parameters if counting.running_statistics else found.trainable) / 1e6
    return counting.operations * found.multiply_adds / 1e9
