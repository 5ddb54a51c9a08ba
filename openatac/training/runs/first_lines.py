"""The first lines of a run's log: implicit choices of its recipe, of the published defaults and of labels."""
from __future__ import annotations

from collections.abc import Iterator

from openatac.backends.devices import parse_gpus
from openatac.training.config import CifarConfig, Config
from openatac.training.recipes import CIFAR, IMAGENET
from openatac.zoo.units import ATAC

PAPER_R = CIFAR['cifar10_atac']['r']


def first_lines(config: Config) -> Iterator[str]:
    """Yield the lines for the config of a `BuiltNetwork`."""
    gpus, recipe = config.training.gpus, config.training.recipe
    settings = {**CIFAR, **IMAGENET}.get(recipe or '', {})
    if parse_gpus(gpus) and (settings.get('gpus') == gpus or 'num_gpus' in settings):
        yield f'the recipe {recipe} asks for GPU {gpus}'
    if config.network.act_type == ATAC:
        yield _gate(config)
    if isinstance(config, CifarConfig) and config.data.dataset == 'cifar100':
        yield ('CIFAR-100 with its 20 superclasses under a 100-way output, as the published script trains: '
               'not comparable with figures for the 100 classes' if config.data.cifar100_labels == 'coarse'
               else 'CIFAR-100 with its 100 classes; the published figures are almost certainly for the 20 '
               'superclasses (--cifar100-labels coarse)')


def _gate(config: Config) -> str:
    """Return a line on the gate of ATAC units, where the published defaults differ from the paper."""
    network = config.network
    paper = []
    if network.r != PAPER_R:
        paper.append(f'r = {PAPER_R} (--r {PAPER_R})')
    if not network.useReLU:
        paper.append('an inner ReLU (--useReLU)')
    return (f'ChaATAC: r = {network.r:g}, {"with" if network.useReLU else "without"} an inner ReLU'
            + (f'; the paper has {" and ".join(paper)}' if paper else ''))
