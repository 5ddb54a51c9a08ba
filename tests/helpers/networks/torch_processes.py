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

from openatac.backends.loss_scale import LossScale
from openatac.backends.torch.learner import TorchLearner
from openatac.distributed import torchrun
from openatac.distributed.cluster import end_run
from openatac.errors import OpenatacError
from openatac.pytorch import BatchNorm
from tests.helpers.processes.child_environment import child_environment

BATCH, STEPS, RATE = 12, 6, 0.05  # images of a step over all processes
LAUNCH = '''
import sys
from openatac.distributed import launch, torchrun
sys.exit(launch.run(lambda group: torchrun.start_here(group, sys.argv[2:], int(sys.argv[1]))))
'''


def network(norm):
    torch.manual_seed(1)
    norms = {'group': nn.GroupNorm(4, 8), 'batch': BatchNorm(8, biased_variance=True)}
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), norms[norm], nn.ReLU(),
        nn.Conv2d(8, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))


def learner(cluster=None, norm='group', **settings):
    return TorchLearner(network(norm), 'cpu', {'learning_rate': RATE, 'momentum': 0.9, 'wd': 1e-3}, seed=3,
                        cluster=cluster, **settings)


def share(step, cluster=None):
    """Return this process's share of the images and labels of a step."""
    random = np.random.RandomState(step)
    images, labels = random.randn(BATCH, 3, 8, 8).astype('float32'), random.randint(0, 4, BATCH)
    if cluster is None:
        return images, labels
    count = BATCH // cluster.size
    part = slice(cluster.rank * count, (cluster.rank + 1) * count)
    return images[part], labels[part]


def train(trained, steps=range(STEPS), cluster=None):
    for step in steps:
        trained.train_batch(*share(step, cluster), rate=RATE)
    return trained


# ----------------------------------------------------------------- the cases; each returns arrays

SETTINGS = {'group': {}, 'bfloat16': {'dtype': 'bfloat16'}, 'batch': {'norm': 'batch'},
            'synchronised': {'norm': 'batch', 'syncbn': True}, 'compiled': {'compiled': True}}


def results(case, cluster=None):
    """Return the state after training, and the metrics of training and evaluation."""
    trained = train(learner(cluster, **SETTINGS[case]), cluster=cluster)
    arrays = dict(trained.state()[0], training=trained.read_all_metrics()[:3],
                  evaluation=trained.evaluate([share(99, cluster)])[:3])
    with trained.mean_statistics():
        arrays.update(('saved/' + name, tensor.clone()) for name, tensor in
                      trained.module.state_dict().items())
    return {name: np.asarray(array) for name, array in arrays.items()}


def resumed(cluster):
    """Return the state after all steps, once uninterrupted and once resumed halfway by a second learner."""
    whole = train(learner(cluster, norm='batch'), cluster=cluster).state()[0]
    first = train(learner(cluster, norm='batch'), range(STEPS // 2), cluster).state()
    second = learner(cluster, norm='batch')
    second.load_state(*first)
    parts = train(second, range(STEPS // 2, STEPS), cluster).state()[0]
    return {f'{which}/{name}': array for which, arrays in (('whole', whole), ('parts', parts))
            for name, array in arrays.items()}


def overflow(cluster):
    """Return the loss scale and the weights around a step whose gradients overflow in worker 1 alone."""
    scaled = train(learner(cluster, loss_scale=LossScale(1024)), range(2), cluster)
    before = scaled.checksum()
    images, labels = share(2, cluster)
    scaled.train_batch(images * (np.inf if cluster.rank == 1 else 1), labels, RATE)
    kept = scaled.checksum() == before
    train(scaled, range(3, 5), cluster)
    return {'kept': kept, 'scale': scaled.loss_scale.scale, 'weights': scaled.checksum()}


def killed(cluster):
    """Kill worker 0 while the others wait for its gradients."""
    trained = train(learner(cluster), range(1), cluster)
    if cluster.rank == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    train(trained, cluster=cluster)


def fails(cluster):
    """Raise an error in worker 0 while the others wait for its gradients."""
    if cluster.rank == 0:
        raise OpenatacError('the loss became nan')
    train(learner(cluster), cluster=cluster)


# -------------------------------------------------------------------------------------- processes

def start(count, *command, **environment):
    """Start a command in ``count`` processes with `torchrun.start_here`."""
    return subprocess.Popen(
        [sys.executable, '-c', LAUNCH, str(count), *map(str, command)], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(**environment))


def main(folder, *cases):
    torch.set_num_threads(1)
    cluster = torchrun.join_run()
    own = {'resumed': resumed, 'overflow': overflow, 'killed': killed, 'fails': fails}
    for case in cases:
        arrays = own[case](cluster) if case in own else results(case, cluster)
        np.savez(os.path.join(folder, f'{case}-{cluster.rank}.npz'), **arrays)
    cluster.close()


if __name__ == '__main__':
    try:
        main(*sys.argv[1:])
    except OpenatacError as error:
        end_run(str(error))
