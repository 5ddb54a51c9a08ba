"""Small runs of train_imagenet.py on made-up photographs."""
import os

import mxnet as mx

import train_imagenet
from tests.helpers.processes.scripts import run_in_process

SMALL = ('--r', 2, '--num-classes', 2, '--input-size', 32, '--batch-size', 4, '--seed', 1, '-j', 0,
         '--lr', 0.02)
RECIPE = ('--last-gamma', '--no-wd', '--label-smoothing', '--lr-mode', 'cosine', '--warmup-epochs', 1,
          '--num-epochs', 2)


def flags(folder, photos, *more):
    return ('--data-dir', photos, *SMALL, '--save-dir', folder, '--logging-file', folder + '.log', *more)


def train(folder, photos, *more):
    """Train in this process, and return the folder."""
    folder = str(folder)
    assert run_in_process(*flags(folder, photos, *more), script=train_imagenet) == 0
    return folder


def parameters(folder, name='last.params'):
    return {key: value.asnumpy() for key, value in mx.nd.load(os.path.join(folder, name)).items()}


def record_flags(records, **other):
    names = {'rec_train': 'train.rec', 'rec_val': 'val.rec', **other}
    return ['--use-rec'] + [word for flag, name in names.items()
                            for word in ('--' + flag.replace('_', '-'), os.path.join(records, name))]
