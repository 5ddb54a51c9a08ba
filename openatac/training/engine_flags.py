"""The flags that choose what computes, and where its network comes from; the same for both scripts."""
import importlib.util

from openatac.arguments import prefix
from openatac.errors import NO_PYTORCH
from openatac.runtime import import_hook


def add_engine(parser):
    """--engine; --tf32, --compile and --initial, which are PyTorch's alone; --write-initial."""
    group = parser.add_argument_group('engine')
    group.add_argument('--engine', choices=('mxnet', 'torch'), default='mxnet',
                       help='what computes: torch runs the same graph in PyTorch, also on GPUs that MXNet '
                       'has no code for (default: %(default)s)')
    group.add_argument('--tf32', action='store_true', help='torch: multiply in TF32, faster and less exact')
    group.add_argument('--compile', action='store_true',
                       help='torch: fuse the operators by torch.compile, on GPUs with CUDA graphs')
    group.add_argument('--initial', metavar='PREFIX',
                       help='torch: the network in the files of --write-initial; no MXNet is needed')
    group.add_argument('--write-initial', metavar='PREFIX', type=prefix,
                       help='write the network with its initial values for --seed and stop')


def check_engine(args, gpus):
    """Raise ValueError, in a sentence, for flags that the engine does not have; ``gpus``: their number."""
    if args.initial and (args.summary or args.write_initial):
        raise ValueError('argument --initial: --summary and --write-initial take the network of the flags; '
                         'leave it out')
    if args.engine == 'mxnet':
        wrong = [flag for flag in ('tf32', 'compile', 'initial') if getattr(args, flag)]
        if wrong:
            raise ValueError('argument --%s: it is for --engine torch; leave it out' % wrong[0])
        if args.dtype == 'bfloat16':
            raise ValueError('argument --dtype: bfloat16 is for --engine torch; MXNet has float32 and, on '
                             'GPUs, float16')
        return
    if gpus > 1:
        raise ValueError('argument --engine: torch trains on one GPU, and %d are asked for' % gpus)
    for flag, only in (('mode', 'hybrid'), ('syncbn', False), ('kvstore', 'device')):
        value = getattr(args, flag, only)
        if value != only:
            raise ValueError('argument --%s: %s is for --engine mxnet; leave it out'
                             % (flag, 'it' if value is True else value))


def require_mxnet(args):
    """Raise ModuleNotFoundError, in a sentence, if what the flags ask for needs MXNet and it is missing."""
    if args.initial and not args.export:
        return
    try:
        import_hook.require_mxnet()
    except ModuleNotFoundError as error:
        if args.engine == 'mxnet' or args.initial:
            raise
        raise ModuleNotFoundError('%s; or give the network by --initial, in files that --write-initial wrote '
                                  'where MXNet is' % error, name=error.name) from None


def find_network(args, parser, recipes, argv, build):
    """(network, its name): what ``build(args)`` returns or, with --initial, that in its files.

    These then set the flags that they were made of, and those of the command line or its recipe must be the
    same. Raises ValueError if they are not, OpenatacError if the files cannot be read, and
    ModuleNotFoundError if the network is to run in PyTorch and that is missing.
    """
    found = _read_initial(args, parser, recipes, argv) if args.initial else build(args)
    only_network = args.summary or args.write_initial
    if args.engine == 'torch' and not only_network and importlib.util.find_spec('torch') is None:
        raise ModuleNotFoundError(NO_PYTORCH, name='torch')
    return found


def _read_initial(args, parser, recipes, argv):
    from openatac.training.initial import Initial
    initial = Initial(args.initial)
    words = {word.split('=')[0] for word in argv}
    given = {action.dest for action in parser._actions if words & set(action.option_strings)}
    initial.adopt(args, given | set(recipes.get(args.recipe, ())))
    return initial, initial.model
