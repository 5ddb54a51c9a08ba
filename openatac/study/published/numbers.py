"""The published numbers of "Attention as Activation" (arXiv 2007.07729), and what may be held to them.

ImageNet: the paper's table of attention in a ResNet-50. All its rows but ATAC's are quoted there from the
papers of these networks, which trained by other recipes. The authors' log of ATAC's row is published too.
CIFAR-100: accuracies read off the figure of activations against depth. They are almost certainly for the 20
superclasses, which the published script reads.
"""
import re
import statistics
from typing import NamedTuple, Tuple

from openatac.training import recipes

PARAMETERS, OPERATIONS, ACCURACY = 'parameters (M)', 'operations (G)', 'best accuracy'
TOP1, TOP5, LAST_TOP1, LAST_TOP5 = ('top-1 error (%)', 'top-5 error (%)', 'top-1 error (%), last epoch',
                                    'top-5 error (%), last epoch')
COSTS = (PARAMETERS, OPERATIONS)
COARSE = 'CIFAR-100, 20 superclasses (almost certainly)'


class Counting(NamedTuple):
    """How a source counts costs.

    running_statistics: among the parameters, which else are the trained ones.
    dense: a dense layer is 2 * inputs * outputs - inputs + outputs, as by `costs` with ``published``.
    operations: for each multiply-add.
    """

    running_statistics: bool = False
    dense: bool = False
    operations: int = 1


class Published(NamedTuple):
    """One published number.

    network: its name in our zoo; title: what the source calls it; data: data set and labels;
    measure: one of the constants above, which say the unit (accuracies are shares of 1).
    uncertainty: half of a printed number's last digit, or how well the figure can be read.
    counting: of costs. our_recipe: whether it was
    trained by that of `openatac.training.recipes`.
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
_BY_AUTHORS = Counting(running_statistics=True, dense=True)
_TWICE = Counting(operations=2)
# network, title, parameters, operations, top-1 and top-5 error as printed, whose they are, counting
_IMAGENET = (
    ('relu', 'ResNet-50', '25.6', '3.86', '23.30', '6.55', 'He et al., 2016', Counting()),
    ('se', 'SE-ResNet-50', '28.1', '3.87', '22.12', '5.99', 'Hu et al., 2018', Counting()),
    ('aa', 'AA-ResNet-50', '25.8', '8.3', '22.30', '6.20', 'Bello et al., 2019', _TWICE),
    ('fa', 'FA-ResNet-50', '18.0', '7.2', '22.40', None, 'Ramachandran et al., 2019', _TWICE),
    ('ge', 'GE-theta+-ResNet-50', '33.7', '3.87', '21.88', '5.80', 'Hu et al., 2018 (Gather-Excite)',
     Counting()),
    ('atac', 'ATAC-ResNet-50', '28.0', '4.4', '21.41', '6.02', None, _BY_AUTHORS),
)
# Of the last epoch, 159, in the authors' log. Its best epoch, 155, has 21.4103 and 6.0276 there, for which
# the paper has 21.41 and 6.02.
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

# "[Epoch 159] speed: 942 samples/sec" of both GPUs; 951 in epoch 0. Which GPUs they are, it does not say.
AUTHORS_IMAGES_PER_SECOND, AUTHORS_GPUS = 942, 2


def _printed(text):
    """(value, uncertainty) of a printed number."""
    return float(text), 0.5 * 10 ** -len(text.partition('.')[2])


def _imagenet():
    for unit, title, *numbers, whose, counting in _IMAGENET:
        source = _TABLE + (', quoting %s' % whose if whose else ", epoch 155 of the authors' log")
        for measure, text in zip((*COSTS, TOP1, TOP5), numbers):
            if text is not None:
                yield Published('resnet50_v1b_' + unit, title, 'ImageNet', measure, *_printed(text), source,
                                counting, whose is None)
    for measure, text in zip((LAST_TOP1, LAST_TOP5), _LAST):
        yield Published('resnet50_v1b_atac', 'ATAC-ResNet-50', 'ImageNet', measure, *_printed(text),
                        "the authors' log, epoch 159")


def _cifar100():
    for index, blocks in enumerate(FIGURE_DEPTHS):
        for unit, (title, values) in _FIGURE.items():
            if index < len(values):
                yield Published('cifar_resnet%d_v2_%s' % (6 * blocks + 2, unit),
                                '%s, b = %d' % (title, blocks), COARSE, ACCURACY, values[index],
                                _FIGURE_UNCERTAINTY, "read off the paper's CIFAR-100 figure")


IMAGENET, CIFAR100 = tuple(_imagenet()), tuple(_cifar100())
NETWORKS = tuple(dict.fromkeys(number.network for number in IMAGENET + CIFAR100))


# --------------------------------------------------------------------- what may be held to them

_DATA = ('training_images', 'test_images', 'num_epochs')
_CIFAR_DATA, _CIFAR_RECIPE = ('cifar100_labels', *_DATA), (
    'images a step', 'lr', 'lr_decay', 'lr_decay_epoch', 'lr_decay_period', 'momentum', 'wd', 'drop_rate',
    'dtype', 'resume_from')
_CIFAR = dict(recipes.CIFAR['cifar100_atac'], training_images=50000, test_images=10000, drop_rate=0,
              dtype='float32', resume_from=None, **{'images a step': 128})
_IMAGENET_RECIPE = (
    'images a step', 'lr', 'lr_mode', 'warmup_epochs', 'warmup_lr', 'momentum', 'wd', 'no_wd', 'last_gamma',
    'label_smoothing', 'mixup', 'teacher', 'use_gn', 'syncbn', 'crop_ratio', 'num_classes', 'resume_params',
    'resume_states', 'resume_epoch')
_IMAGENET_RUN = dict(recipes.IMAGENET['imagenet_atac'], dataset='imagenet', training_images=1281167,
                     test_images=50000, mixup=False, teacher=None, use_gn=False, syncbn=False,
                     resume_params=None, resume_states=None, resume_epoch=0, reduction=16,
                     **{'images a step': 256})


def images_to_train(data):
    """(epochs, images of one) of the published run on ImageNet or on CIFAR-100."""
    wanted = _IMAGENET_RUN if data == 'ImageNet' else _CIFAR
    return wanted['num_epochs'], wanted['training_images']


def not_comparable(network, settings):
    """In few words each, why a run can't be held to the published numbers; an empty tuple if it can.

    network: its name; settings: all that the run's result depends on, its numbers of images included.
    ImageNet's float16 may be float32.
    """
    names = {number.network for number in IMAGENET + CIFAR100}
    imagenet = settings['dataset'] == 'imagenet'
    wanted, recipe = (_IMAGENET_RUN, _IMAGENET_RECIPE) if imagenet else (_CIFAR, _CIFAR_RECIPE)
    if settings['dataset'] != wanted['dataset']:
        return _differing(settings, wanted, ('dataset', 'num_epochs'))
    return (_differing(settings, wanted, _DATA if imagenet else _CIFAR_DATA)
            or (() if network in names else ('no published number for %s' % network,))
            or _differing(settings, wanted, _shape(network, imagenet) + recipe))


def built_as_published(network, settings):
    """Whether a run's network has the published size of images, reduction ratio and placement."""
    imagenet = settings['dataset'] == 'imagenet'
    return not _differing(settings, _IMAGENET_RUN if imagenet else _CIFAR, _shape(network, imagenet))


def _shape(network: str, imagenet: bool) -> Tuple[str, ...]:
    """The settings of a run that say how its network is built, as far as they matter to this one."""
    unit = re.split('_v[12]b?_', network)[-1]
    if imagenet:
        return {'atac': ('input_size', 'act_layers', 'r'), 'se': ('input_size', 'reduction'),
                'ge': ('input_size', 'reduction')}.get(unit, ('input_size',))
    if unit.startswith('atac'):
        return 'act_layers', 'r', 'useReLU'
    return () if unit == 'relu' else ('act_layers',)


def _differing(settings, wanted, names):
    return tuple('%s %s instead of %s' % (name, settings.get(name), wanted[name])
                 for name in names if settings.get(name) != wanted[name])


# ------------------------------------------------------------------------------- the verdict

WIDE = 10  # times the published uncertainty: published units and depths differ by as little as that

RULE = """\
reproduced: our mean is no farther from the published number than that one's uncertainty and half the width of
our 95 % interval (Student's t, n runs) together. undecided: neither farther, but that interval is wider than
{} published uncertainties, so needs more runs. differs: farther. One run has no interval. How much published
numbers vary from run to run is not published.""".format(WIDE)


class Verdict(NamedTuple):
    """words; difference: of our mean from the published number; tolerance: what still counts as none."""

    words: str
    difference: float
    tolerance: float


def judge(published, values):
    """The `Verdict` by RULE on our ``values`` of one published number; scipy is needed for two and more."""
    difference, half = statistics.mean(values) - published.value, half_interval(values)
    tolerance = published.uncertainty + half
    digits = 4 if published.measure == ACCURACY else 2
    shown = '%+.*f' % (digits, round(difference, digits) + 0.0)  # which is no -0
    if abs(difference) > tolerance * (1 + 1e-9):
        words = 'differs by %s' % shown
    elif half > WIDE * published.uncertainty:
        words = 'undecided: %s, but the interval is ±%.*f' % (shown, digits, half)
    else:
        words = 'reproduced (%s)' % shown
    return Verdict(words, difference, tolerance)


def half_interval(values):
    """Half the width of the 95 % interval of the mean of ``values``; 0 for one value."""
    if len(values) == 1:
        return 0.0
    from scipy import stats
    return float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
