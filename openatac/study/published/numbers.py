"""The published numbers of "Attention as Activation" (arXiv 2007.07729).

ImageNet: the paper's table of attention in a ResNet-50. It quotes all rows but ATAC's from the papers of
these networks, which used other training recipes. The authors' log for ATAC's row is published too.
CIFAR-100: accuracies read off the figure of activations against depth. They are almost certainly for the 20
superclasses that the published script reads.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

PARAMETERS, OPERATIONS, ACCURACY = 'parameters (M)', 'operations (G)', 'best accuracy'
TOP1, TOP5, LAST_TOP1, LAST_TOP5 = ('top-1 error (%)', 'top-5 error (%)', 'top-1 error (%), last epoch',
                                    'top-5 error (%), last epoch')
COSTS = (PARAMETERS, OPERATIONS)
COARSE = 'CIFAR-100, 20 superclasses (almost certainly)'
IMAGENET_TRAINING_IMAGES, IMAGENET_VALIDATION_IMAGES = 1281167, 50000  # of ImageNet


class Counting(NamedTuple):
    """How a source counts costs.

    Attributes
    ----------
    running_statistics : bool
        Whether parameters include running statistics.
    published : bool
        Whether a dense layer has 2 * inputs * outputs - inputs + outputs operations, see
        `openatac.study.costs.gluon_costs.costs`.
    operations : int
        How many operations a multiply-add counts as.
    """

    running_statistics: bool = False
    published: bool = False
    operations: int = 1


class Published(NamedTuple):
    """One published number.

    Attributes
    ----------
    network : str
        The network's name in the zoo.
    title : str
        The network's name in the source.
    data : str
        Data set and labels.
    measure : str
        One of the constants above, which name the unit; accuracies are shares of 1.
    value : float
    uncertainty : float
        Half of a printed number's last digit, or the precision of values read off the figure.
    source : str
    counting : Counting
        How the source counts, for costs.
    our_recipe : bool
        Whether the network was trained with a recipe in `openatac.training.recipes`.
    """

    network: str
    title: str
    data: str
    measure: str
    value: float
    uncertainty: float
    source: str
    counting: Counting = Counting()
    our_recipe: bool = True


# ------------------------------------------------------------------------------- the numbers

_TABLE = "the paper's ImageNet table"
_BY_AUTHORS = Counting(running_statistics=True, published=True)
_TWICE = Counting(operations=2)
# unit, title, parameters, operations, top-1 and top-5 error as printed, source of the quote, counting
_IMAGENET = (
    ('relu', 'ResNet-50', '25.6', '3.86', '23.30', '6.55', 'He et al., 2016', Counting()),
    ('se', 'SE-ResNet-50', '28.1', '3.87', '22.12', '5.99', 'Hu et al., 2018', Counting()),
    ('aa', 'AA-ResNet-50', '25.8', '8.3', '22.30', '6.20', 'Bello et al., 2019', _TWICE),
    ('fa', 'FA-ResNet-50', '18.0', '7.2', '22.40', None, 'Ramachandran et al., 2019', _TWICE),
    ('ge', 'GE-theta+-ResNet-50', '33.7', '3.87', '21.88', '5.80', 'Hu et al., 2018 (Gather-Excite)',
     Counting()),
    ('atac', 'ATAC-ResNet-50', '28.0', '4.4', '21.41', '6.02', None, _BY_AUTHORS),
)
# From the last epoch, 159, in the authors' log. The best epoch, 155, has 21.4103 and 6.0276 there; the paper
# prints 21.41 and 6.02.
_LAST = ('21.47', '6.10')

FIGURE_DEPTHS = (1, 2, 3, 4, 5)
_FIGURE_UNCERTAINTY = 0.001
_FIGURE = {
    'atac': ('ATAC', (0.764, 0.796, 0.812, 0.821)),  # has no point at b = 5
    'swish': ('Swish', (0.740, 0.788, 0.804, 0.810, 0.817)),
    'relu': ('ReLU', (0.737, 0.785, 0.799, 0.806, 0.814)),
    'selu': ('SELU', (0.729, 0.780, 0.795, 0.801, 0.804)),
    'xunit': ('xUnit', (0.737, 0.775, 0.795, 0.800, 0.805)),
}

# "[Epoch 159] speed: 942 samples/sec" of both GPUs; 951 in epoch 0. The log does not name the GPUs.
AUTHORS_IMAGES_PER_SECOND, AUTHORS_GPUS = 942, 2


def _printed(text: str) -> tuple[float, float]:
    """Return (value, uncertainty) of a printed number."""
    return float(text), 0.5 * 10 ** -len(text.partition('.')[2])


def _imagenet() -> Iterator[Published]:
    for unit, title, *numbers, whose, counting in _IMAGENET:
        source = _TABLE + (f', quoting {whose}' if whose else ", epoch 155 of the authors' log")
        for measure, text in zip((*COSTS, TOP1, TOP5), numbers):
            if text is not None:
                yield Published('resnet50_v1b_' + unit, title, 'ImageNet', measure, *_printed(text), source,
                                counting, whose is None)
    for measure, text in zip((LAST_TOP1, LAST_TOP5), _LAST):
        yield Published('resnet50_v1b_atac', 'ATAC-ResNet-50', 'ImageNet', measure, *_printed(text),
                        "the authors' log, epoch 159")


def _cifar100() -> Iterator[Published]:
    for index, blocks in enumerate(FIGURE_DEPTHS):
        for unit, (title, values) in _FIGURE.items():
            if index < len(values):
                yield Published(f'cifar_resnet{6 * blocks + 2}_v2_{unit}',
                                f'{title}, b = {blocks}', COARSE, ACCURACY, values[index],
                                _FIGURE_UNCERTAINTY, "read off the paper's CIFAR-100 figure")


IMAGENET_NUMBERS, CIFAR100_NUMBERS = tuple(_imagenet()), tuple(_cifar100())
NETWORKS = tuple(dict.fromkeys(number.network for number in IMAGENET_NUMBERS + CIFAR100_NUMBERS))
