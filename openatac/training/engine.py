"""A network on its devices: training steps, evaluation, and the state that makes them repeatable.

`openatac.training.loop` drives an engine and knows nothing of how it computes.
"""
import collections
from typing import NamedTuple

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon


class Metrics(NamedTuple):
    """Means over ``images`` images."""

    loss: float
    accuracy: float
    images: int


class GluonEngine:
    """Trains and evaluates a Gluon network by synchronous data parallelism.

    net : HybridBlock, initialised on ``contexts``; values that wait for a shape are drawn here
    contexts : list of mxnet.Context; a batch is split over them
    optimizer, optimizer_params : as for gluon.Trainer
    image_shape : (C, H, W) of the images
    dtype : 'float32', or 'float16' with float32 master weights
    hybrid : whether the network runs as a graph with memory planned once
    seed : int; what chance decides in a step (dropout) depends on it and the iteration alone
    """

    def __init__(self, net, contexts, optimizer, optimizer_params, image_shape, dtype='float32',
                 hybrid=True, seed=0):
        self.net, self.contexts, self.dtype, self.seed = net, contexts, dtype, seed
        net.cast(dtype)
        if hybrid:
            # Not static_shape: it keeps oneDNN's copies of all intermediate arrays, 1.8 GB instead of
            # 1.1 for a ResNet-20 with ATAC at batch 128.
            net.hybridize(static_alloc=True)
        self.parameters = net._collect_params_with_prefix()
        # Draws the deferred initial values while chance is still the caller's: the first step seeds
        # it anew. In evaluation mode it changes no statistics.
        for ctx in contexts:
            net(mx.nd.zeros((1,) + tuple(image_shape), ctx, dtype))
        self._restore_layouts()
        # In structural order, which unlike the default, the order of names, never depends on how
        # many networks the process has made. States must be ours to save, so no kvstore has them.
        self.trainer = gluon.Trainer(
            list(self.parameters.values()), optimizer,
            dict(optimizer_params, multi_precision=dtype == 'float16'), update_on_kvstore=False)
        self.loss = gluon.loss.SoftmaxCrossEntropyLoss()
        self.loss.hybridize()
        self._running = collections.deque()
        self.iteration = self.images = 0
        self._sums = None
        self.reset_metrics()

    # ------------------------------------------------------------------------ training

    def train_batch(self, images, labels, rate):
        """One optimizer step on NumPy arrays (B, C, H, W) and (B,). Does not wait for its end."""
        mx.random.seed((self.seed * 1000003 + self.iteration) % 2 ** 31)
        self.trainer.set_learning_rate(rate)
        losses = []
        shards = self._split(images, labels)
        for x, _ in shards:
            if x.context.device_type == 'cpu':
                # MXNet's CPU BatchNorm updates its running statistics in its backward pass, which
                # the first one, on the image, has only if the image wants a gradient. On a GPU,
                # where the paper's networks were trained, they are updated in the forward pass.
                x.attach_grad()
        with autograd.record():
            for x, y in shards:
                output = self.net(x).astype('float32', copy=False)
                losses.append((output, self.loss(output, y)))
        autograd.backward([loss for _, loss in losses])
        for sums, (output, loss), (_, y) in zip(self._sums, losses, shards):
            sums += _loss_and_right(output, loss, y)
        self.trainer.step(len(labels))
        self.iteration += 1
        self.images += len(labels)
        self._stay_near(self._sums[0].copy())

    def _stay_near(self, result):
        # MXNet queues work without end; two steps ahead keep the device busy and memory flat.
        self._running.append(result)
        if len(self._running) > 2:
            self._running.popleft().wait_to_read()

    def read_metrics(self):
        """Means since `reset_metrics`; waits for the device."""
        return _means(self._sums, self.images)

    def reset_metrics(self):
        """Start the means anew."""
        self._sums, self.images = [mx.nd.zeros(2, ctx) for ctx in self.contexts], 0

    # ---------------------------------------------------------------------- evaluation

    def evaluate(self, batches):
        """Metrics over all ``batches`` of (images, labels), with the running statistics."""
        sums, images = [mx.nd.zeros(2, ctx) for ctx in self.contexts], 0
        for x_all, y_all in batches:
            for total, (x, y) in zip(sums, self._split(x_all, y_all)):
                output = self.net(x).astype('float32', copy=False)
                total += _loss_and_right(output, self.loss(output, y), y)
            images += len(y_all)
            self._stay_near(sums[0].copy())
        self._restore_layouts()
        return _means(sums, images)

    def _restore_layouts(self):
        # On the CPU an inference pass reorders the weights in place for oneDNN, and the next
        # training pass orders them back, each at a time of its own choosing; MXNet's NAG rounds
        # differently for a reordered weight (it then takes the momentum's weight decay from the
        # old weight, not from the new one). In the plain layout to begin with, training computes
        # the same bits whether or not anything was evaluated before.
        mx.nd.waitall()
        for parameter in self.parameters.values():
            for data in parameter.list_data():
                if data.ndim != 4 or data.context.device_type != 'cpu':
                    continue  # only convolutions reorder
                # Not through NumPy: see `keep_threads_awake` in openatac.runtime.
                plain = data * 1
                data[:] = 0  # drops the layout, which a copy alone would keep
                data[:] = plain

    def _split(self, images, labels):
        contexts = self.contexts[:len(labels)]  # a short last batch may leave a device idle
        return list(zip(
            [x.astype(self.dtype, copy=False)
             for x in gluon.utils.split_and_load(images, contexts, even_split=False)],
            gluon.utils.split_and_load(labels.astype('float32'), contexts, even_split=False)))

    # --------------------------------------------------------------------------- state

    def state(self):
        """({name: NDArray}, {name: number}): all that the next steps depend on."""
        mx.nd.waitall()  # a pending write of running statistics is not always waited for
        arrays = {}
        for name, parameter in self.parameters.items():
            for device, data in enumerate(parameter.list_data()):
                # weights are equal on all devices, running statistics are each device's own
                if device == 0 or parameter.grad_req == 'null':
                    arrays['parameter/%s/%d' % (name, device)] = data
        for name, states in self._optimizer_states():
            for index, array in enumerate(states):
                arrays['optimizer/%s/%d' % (name, index)] = array
        for device, sums in enumerate(self._sums):
            arrays['metrics/%d' % device] = sums
        return arrays, {'iteration': self.iteration, 'images': self.images}

    def load_state(self, arrays, numbers):
        """Go back to what `state` returned."""
        if not self.trainer._kv_initialized:
            # else the first step would copy the first device's values to all others
            self.trainer._init_kvstore()
            self.trainer._init_params()
        for name, parameter in self.parameters.items():
            for device, data in enumerate(parameter.list_data()):
                own = 'parameter/%s/%d' % (name, device)
                data[:] = arrays[own if own in arrays else 'parameter/%s/0' % name]
        for updater in range(len(self.contexts)):
            for name, states in self._optimizer_states(updater):
                for index, array in enumerate(states):
                    array[:] = arrays['optimizer/%s/%d' % (name, index)]
        for device, sums in enumerate(self._sums):
            sums[:] = arrays['metrics/%d' % device]
        self.iteration, self.images = numbers['iteration'], numbers['images']
        optimizer = self.trainer._optimizer
        optimizer.begin_num_update = optimizer.num_update = self.iteration

    def _optimizer_states(self, device=0):
        """Yield (parameter's name, its optimizer arrays on one device), made if not there yet."""
        updater, optimizer = self.trainer._updaters[device], self.trainer._optimizer
        for index, (name, parameter) in enumerate(self.parameters.items()):
            if parameter.grad_req == 'null':
                continue
            if index not in updater.states:
                updater.states[index] = optimizer.create_state_multi_precision(
                    index, parameter.list_data()[device])
                updater.states_synced[index] = True
            yield name, _flat(updater.states[index])


def _means(sums, images):
    """Metrics from the devices' sums over ``images`` images; waits for the devices."""
    loss, right = np.sum([each.asnumpy() for each in sums], axis=0, dtype='float64')
    count = max(images, 1)
    return Metrics(float(loss) / count, float(right) / count, images)


def _loss_and_right(output, loss, labels):
    """[sum of losses, number of right answers] as a device array."""
    right = (output.argmax(axis=1) == labels).sum()
    return mx.nd.concat(loss.sum(), right, dim=0)


def _flat(state):
    if state is None:
        return []
    if isinstance(state, (tuple, list)):
        return [array for part in state for array in _flat(part)]
    return [state]
