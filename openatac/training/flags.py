"""What both scripts share of their command lines: checked numbers, recipes, errors as sentences."""
import argparse
import math

from openatac.errors import OpenatacError
from openatac.training.distributed import end

SMALLEST, LARGEST = 1.2e-38, 3.4e38  # of what MXNet's optimizers take, which is float32


def number(kind, low=None, high=None, above=None, below=None):
    """An argparse type: a finite ``kind`` (int or float) within bounds; a sentence otherwise."""
    bounds = [(low, 'at least %s', lambda v, b: v >= b), (above, 'above %s', lambda v, b: v > b),
              (high, 'at most %s', lambda v, b: v <= b), (below, 'below %s', lambda v, b: v < b)]
    bounds = [(bound, words % bound, holds) for bound, words, holds in bounds if bound is not None]
    name = 'a whole number' if kind is int else 'a number'
    right = ' '.join([name, ' and '.join(words for _, words, _ in bounds)]).strip()

    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError('%r is not %s' % (text, right)) from None
        if value != value or value in (float('inf'), float('-inf')) or not all(
                holds(value, bound) for bound, _, holds in bounds):
            raise argparse.ArgumentTypeError('%s is not %s' % (text, right))
        if kind is float and value and not SMALLEST < abs(value) < LARGEST:
            raise argparse.ArgumentTypeError('%s is beyond the range of float32' % text)
        return value

    return parse


def add_reports(group):
    """--export, --tensorboard, --project and --name: what a run gives to others."""
    group.add_argument('--export', metavar='PATH',
                       help='at the end write the best network to PATH-symbol.json and PATH-0000.params')
    group.add_argument('--tensorboard', metavar='DIR', help='write scalars for TensorBoard')
    group.add_argument('--project', help='Weights & Biases project')
    group.add_argument('--name', help='Weights & Biases run')


def parse_with_recipe(parser, recipes, argv=None):
    """Parse ``argv``; the settings of ``--recipe``, a key of ``recipes``, take the place of the defaults."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument('--recipe')
    early.add_argument('--model', default='atac')
    known = early.parse_known_args(argv)[0]
    if known.recipe is not None:
        if known.recipe not in recipes:
            parser.error('argument --recipe: there is no recipe %r; choose from %s'
                         % (known.recipe, ', '.join(recipes)))
        settings = dict(recipes[known.recipe])
        if known.model != 'atac':  # a network's name says its depth and unit
            settings.update(blocks=None, act_type=None)
        parser.set_defaults(**settings)
    return parser.parse_args(argv)


def check_rates(lr, factor, decays):
    """Raise ValueError if a learning rate decayed so many times is none that a float32 can hold."""
    last = math.log10(lr) + decays * math.log10(factor)
    if not math.log10(SMALLEST) < last < math.log10(LARGEST):
        raise ValueError('argument --lr-decay: %d times %g takes --lr %g beyond the range of float32; decay '
                         'less often, or by a factor nearer to 1' % (decays, factor, lr))


def run(main):
    """Call ``main()`` and end the process: a failure is one line and exit code 1, no traceback."""
    try:
        main()
    except (OpenatacError, ImportError) as error:
        if isinstance(error, ImportError) and error.name not in ('mxnet', 'gluoncv', 'torch'):
            raise
        end(str(error), getattr(error, 'exit_code', 1))
    except KeyboardInterrupt:
        end('interrupted', 130)
