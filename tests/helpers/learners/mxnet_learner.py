"""A small network in MXNet's learner."""
import mxnet as mx

from openatac.backends.mxnet import backend
from openatac.backends.mxnet.backend import normalise
from openatac.backends.mxnet.learner import MxnetLearner
from openatac.models.cifar_resnet import ResNet20V2ATAC

OPTIMIZER = {'learning_rate': 0.1, 'momentum': 0.9, 'wd': 1e-4}


def learner(contexts=None, **network):
    mx.random.seed(3)
    net = ResNet20V2ATAC(layers=[1] * 3, **network)
    net.initialize(mx.init.MSRAPrelu(), ctx=contexts or mx.cpu())
    return MxnetLearner(net, contexts or [mx.cpu()], OPTIMIZER, (3, 32, 32), seed=3, normalise=normalise)


def use_two_devices(monkeypatch):
    """Make runs with MXNet use two CPU devices, as if they were two GPUs."""
    monkeypatch.setattr(backend, 'choose_contexts', lambda *_: ([mx.cpu(0), mx.cpu(1)], 'two devices'))
