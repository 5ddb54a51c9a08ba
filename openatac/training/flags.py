"""What both scripts share of their command lines: recipes, reports, the end as a sentence."""
import argparse
import math
import sys

from openatac.arguments import LARGEST, SMALLEST, prefix
from openatac.console import program
from openatac.distributed.workers import end


def add_reports(group):
    """--export, --tensorboard, --project and --name: what a run gives to others."""
    group.add_argument('--export', metavar='PATH', type=prefix,
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
    """Call ``main()`` and end the process, and with it those of its cluster; a failure is one line."""
    def work():
        main()  # what it returns is for those who call it as a function

    sys.exit(program.run(work, end))
