"""A network with its initial values in files, from a machine with MXNet to one without.

    train_cifar.py --recipe cifar10_atac --seed 1 --write-initial start/atac                  (with MXNet)
    train_cifar.py --recipe cifar10_atac --seed 1 --engine torch --gpus 0 --initial start/atac  (without)

The graph is in ``PREFIX-symbol.json`` and the values in ``PREFIX-0000.params``, under structural names;
``PREFIX-flags.json``, written last, tells of which flags they were made.
"""
import contextlib
import json
import logging
import os
from typing import NamedTuple

from openatac.errors import OpenatacError
from openatac.files.schema import read_json
from openatac.files.writing import write_text, writing
from openatac.training.run_files import Settings

log = logging.getLogger('openatac')
FLAGS, SYMBOL = '-flags.json', '-symbol.json'


class _Written(NamedTuple):
    model: str
    flags: Settings


class Initial:
    """The files that `write_initial` wrote under the prefix ``path``.

    symbol : the path of the graph
    model : the network's name

    Raises OpenatacError if they are not there or damaged.
    """

    def __init__(self, path):
        self.path, self.symbol = path, path + SYMBOL
        try:
            self.model, self.flags = read_json(path + FLAGS, _Written)
            if not set(self.flags) <= set(Settings.__annotations__):
                raise ValueError('flags that make no network')
        except OSError as error:
            raise OpenatacError('--initial: %s cannot be read (%s): write it by the same command with '
                                '--write-initial, where MXNet is' % (path + FLAGS, error.strerror)) from None
        except ValueError as error:
            raise OpenatacError('--initial: %s is damaged (%s): write it again with --write-initial'
                                % (path + FLAGS, error)) from None

    def adopt(self, args, given):
        """Set the flags of ``args`` that the network was made of; those ``given`` must be the same.

        Raises ValueError if they are not.
        """
        if not set(self.flags) <= set(vars(args)) | {'host'}:  # which is no flag, but follows from --model
            raise ValueError('argument --initial: the network in %s was made by the other script' % self.path)
        for flag, value in self.flags.items():
            if flag in given and getattr(args, flag) not in (None, value):
                raise ValueError('argument --initial: the network in %s was made with --%s %s, and this is %s'
                                 % (self.path, flag.replace('_', '-'), value, getattr(args, flag)))
            setattr(args, flag, value)


def write_initial(net, args, flags, model, image_shape, params=None):
    """Write the network with its values for ``args.seed``, or those of the file ``params``.

    net : HybridBlock, not initialised; made of ``flags``, names in ``args``
    Raises OpenatacError if the files cannot be written.
    """
    import mxnet as mx

    from openatac.graph.structural import export_graph
    from openatac.models.parameters import initialise
    path = args.write_initial
    initialise(net, args.seed, [mx.cpu()], params)
    net(mx.nd.zeros((1,) + tuple(image_shape)))
    with writing('--write-initial: %s' % path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.remove(path + FLAGS)  # which would tell of files that are about to be others
        export_graph(net, path)
        write_text(path + FLAGS, json.dumps({
            'model': model, 'flags': {flag: getattr(args, flag) for flag in flags}}, indent=1) + '\n')
    log.info('the network and its initial values are in %s, %s-0000.params and %s',
             path + SYMBOL, path, path + FLAGS)
