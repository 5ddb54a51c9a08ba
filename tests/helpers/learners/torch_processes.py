"""Train small networks in PyTorch's learner, in one process or several.

Run as a script with FOLDER and cases, it trains each case and writes FOLDER/CASE-RANK.npz.
"""
import os
import signal
import subprocess
import sys

import numpy as np
import torch
from torch import nn

from openatac.backends.compute import Compute
from openatac.backends.loss_scale import LossScale
from openatac.backends.torch.learner import TorchLearner
from openatac.distributed import torchrun
from openatac.distributed.member_group import end_run
from openatac.errors import OpenatacError
from openatac.pytorch import BatchNorm
from tests.helpers.processes.child_environment import child_environment

BATCH, STEPS, RATE = 12, 6, 0.05  # images of a step over all processes
LAUNCH = '''
import sys
from openatac.distributed.launch.start import run_processes
from openatac.distributed.launch.torch_processes import start_workers
sys.exit(run_processes(lambda group: start_workers(group, sys.argv[2:], int(sys.argv[1]))))
'''


def network(norm):
    torch.manual_seed(1)
    norms = {'group': nn.GroupNorm(4, 8), 'batch': BatchNorm(8, biased_variance=True),
             'foreign': nn.BatchNorm2d(8)}
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), norms[norm], nn.ReLU(),
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))


def learner(group=None, norm='group', **settings):
    return TorchLearner(network(norm), 'cpu', {'learning_rate': RATE, 'momentum': 0.9, 'wd': 1e-3}, seed=3,
                        process_group=group, compute=Compute(**settings))


def share(step, group=None):
    """Return this process's share of the images and labels of a step."""
    random = np.random.RandomState(step)
    images, labels = random.randn(BATCH, 3, 8, 8).astype('float32'), random.randint(0, 4, BATCH)
    if group is None:
        return images, labels
    count = BATCH // group.size
    part = slice(group.rank * count, (group.rank + 1) * count)
    return images[part], labels[part]


def train(trained, steps=range(STEPS), group=None):
    for step in steps:
        trained.train_batch(*share(step, group), learning_rate=RATE)
    return trained


# ----------------------------------------------------------------- the cases; each returns arrays

SETTINGS = {'group': {}, 'bfloat16': {'dtype': 'bfloat16'}, 'batch': {'norm': 'batch'},
            'synchronised': {'norm': 'batch', 'syncbn': True},
            'foreign': {'norm': 'foreign', 'syncbn': True}, 'compiled': {'compile': True}}


def results(case, group=None):
    """Return the state after training, and the metrics of training and evaluation."""
    trained = train(learner(group, **SETTINGS[case]), group=group)
    arrays = dict(trained.state()[0], training=trained.read_all_metrics()[:3],
                  evaluation=trained.evaluate([share(99, group)])[:3])
    with trained.mean_statistics():
        arrays.update(('saved/' + name, tensor.clone()) for name, tensor in
                      trained.module.state_dict().items())
    return {name: np.asarray(array) for name, array in arrays.items()}


def resumed(group):
    """Return the state after all steps, once uninterrupted and once resumed halfway by a second learner."""
    whole = train(learner(group, norm='batch'), group=group).state()[0]
    first = train(learner(group, norm='batch'), range(STEPS // 2), group).state()
    second = learner(group, norm='batch')
    second.load_state(*first)
    parts = train(second, range(STEPS // 2, STEPS), group).state()[0]
    return {f'{which}/{name}': array for which, arrays in (('whole', whole), ('parts', parts))
            for name, array in arrays.items()}


def overflow(group):
    """Return the loss scale and the weights around a step whose gradients overflow in worker 1 alone."""
    scaled = learner(group)
    scaled.loss_scale = LossScale(1024)
    train(scaled, range(2), group)
    before = scaled.checksum()
    images, labels = share(2, group)
    scaled.train_batch(images * (np.inf if group.rank == 1 else 1), labels, RATE)
    kept = scaled.checksum() == before
    train(scaled, range(3, 5), group)
    return {'kept': kept, 'scale': scaled.loss_scale.scale, 'weights': scaled.checksum()}


def killed(group):
    """Kill worker 0 while the others wait for its gradients."""
    trained = train(learner(group), range(1), group)
    if group.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    train(trained, group=group)


def fails(group):
    """Raise an error in worker 0 while the others wait for its gradients."""
    if group.rank == 0:
        raise OpenatacError('the loss became nan')
    train(learner(group), group=group)


# -------------------------------------------------------------------------------------- processes

def start(count, *command, **environment):
    """Start a command in ``count`` processes with `start_workers`."""
    return subprocess.Popen(
        [sys.executable, '-c', LAUNCH, str(count), *map(str, command)], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(**environment))


def main(folder, *cases):
    torch.set_num_threads(1)
    group = torchrun.join_run()
    own = {'resumed': resumed, 'overflow': overflow, 'killed': killed, 'fails': fails}
    for case in cases:
        arrays = own[case](group) if case in own else results(case, group)
        np.savez(os.path.join(folder, f'{case}-{group.rank}.npz'), **arrays)
    group.close()


if __name__ == '__main__':
    try:
        main(*sys.argv[1:])
    except OpenatacError as error:
        end_run(str(error))
