"""A network trained on the handwritten digits, for tests that need a well-trained one.

At 8x8 pixels, the digits' own size, it learns nearly all of them within seconds on any instruction set;
the bounds in its tests leave a wide margin.
"""
from collections.abc import Iterable
from typing import NamedTuple

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from openatac import get_model
from openatac.data.small import transforms
from openatac.export.tracing import trace
from openatac.trained import input_images
from openatac.trained.input_transform import sample_batches
from openatac.trained.manifest import Manifest

MODEL = 'cifar_resnet8_v2_atac'
DIGITS = Manifest(MODEL, 10, (3, 8, 8), *(tuple(255 * float(value) for value in values.ravel())
                                          for values in (transforms.MEAN_0_TO_1, transforms.STD_0_TO_1)))
EPOCHS, BATCH, RATE = 8, 32, 0.05
KNOWS = 0.9  # the least accuracy on the test images; 0.95 to 0.97 was observed


class Network(NamedTuple):
    """A trained network.

    Parameters
    ----------
    net : HybridBlock
    symbol, params
        What it is exported as.
    images : float32 (200, 3, H, W)
    """

    net: gluon.HybridBlock
    symbol: mx.sym.Symbol
    params: dict
    images: np.ndarray


def train(name: str, images: np.ndarray, labels: np.ndarray, epochs: int = EPOCHS, **settings) -> Network:
    """Train the network ``name`` on ``images``, with a learning rate that falls to zero."""
    mx.random.seed(1)
    random = np.random.RandomState(1)
    net = get_model(name, **settings)
    net.initialize(mx.init.MSRAPrelu())
    net.hybridize(static_alloc=True)
    trainer = gluon.Trainer(net.collect_params(), 'nag', {'learning_rate': RATE, 'momentum': 0.9})
    loss = gluon.loss.SoftmaxCELoss()
    steps = [chosen for _ in range(epochs)
             for chosen in np.split(random.permutation(len(images))[:len(images) // BATCH * BATCH],
                                    len(images) // BATCH)]
    for step, chosen in enumerate(steps):
        trainer.set_learning_rate(RATE * (1 - step / len(steps)))
        with autograd.record():
            value = loss(net(mx.nd.array(images[chosen])), mx.nd.array(labels[chosen]))
        value.backward()
        trainer.step(BATCH)
    symbol, arrays = trace(net)
    return Network(net, symbol, {key[4:]: array for key, array in arrays.items()}, images[:200])


def digits(train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return all inputs (N, 3, 8, 8) and labels of one split of the digits, as an export makes them."""
    return tuple(map(np.concatenate, zip(*digit_batches(train))))


def digit_batches(train: bool) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    labelled = input_images.from_dataset('digits', None, train=train)
    return sample_batches(labelled, DIGITS, len(labelled))
