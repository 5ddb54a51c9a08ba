"""A Gluon network in training on its devices."""
from __future__ import annotations

import collections
import contextlib
import errno
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.gluon.block import HybridBlock
from mxnet.ndarray import NDArray

from openatac.backends.compute import Compute
from openatac.backends.devices import Devices
from openatac.backends.learner import (
    Arrays,
    KeepOutputs,
    Learner,
    LearnerNumbers,
    Metrics,
    OptimizerSettings,
    check_shapes,
    crc32_of,
    decays,
)
from openatac.backends.loss_scale import LossScale
from openatac.backends.mxnet.local_values import LocalValues
from openatac.backends.mxnet.objective import MxnetObjective
from openatac.backends.mxnet.training_step import training_step
from openatac.backends.process_group import ProcessGroup, SingleProcess
from openatac.backends.state_names import METRICS, indexed, is_statistic, parameter_array
from openatac.models.weights import save_parameters, wait_for_layouts


class MxnetLearner(Learner):
    """Trains and evaluates a Gluon network with synchronous data parallelism.

    Parameters
    ----------
    net : HybridBlock
        Initialised on ``contexts``; deferred initial values are drawn here.
    contexts : list of Context
        The devices that share a batch.
    optimizer : OptimizerSettings
    image_shape : (C, H, W)
    compute : Compute, optional
        Its ``dtype`` is 'float32', or 'float16' with float32 master weights. In the mode 'hybrid', the
        network runs as a graph whose memory is planned once.
    seed : int
    objective : MxnetObjective, optional
        Default: plain classification.
    top5 : bool
        Whether evaluation also counts top-5 hits.
    no_wd : bool
        Whether to exempt biases, gammas and betas from weight decay.
    process_group : ProcessGroup, optional
        The processes that train together. Default: only this one.
    normalise : callable, optional
        Maps uint8 pixels (B, C, H, W) to the network's inputs, on their device; for batches of uint8.
    """

    def __init__(self, net: HybridBlock, contexts: list[mx.Context], optimizer: OptimizerSettings,
                 image_shape: tuple[int, ...], *, compute: Compute | None = None, seed: int = 0,
                 objective: MxnetObjective | None = None, top5: bool = False, no_wd: bool = False,
                 process_group: ProcessGroup | None = None,
                 normalise: Callable[[NDArray], NDArray] | None = None) -> None:
        compute = compute or Compute()
        hybrid = compute.mode == 'hybrid'
        self.net = net
        self.contexts = contexts
        self.dtype = compute.dtype
        self.seed = seed
        self.objective = objective or MxnetObjective()
        self.loss_scale = LossScale.of(compute)
        self.process_group = process_group or SingleProcess()
        self.top5 = top5
        self.normalise = normalise
        net.cast(self.dtype)
        if hybrid:
            # No static_shape on CPUs: it keeps oneDNN's copies of all intermediate arrays, 1.8 GB instead of
            # 1.1 for a ResNet-20 with ATAC at batch 128. GPUs keep MXNet's defaults: cuDNN's fastest
            # algorithm for each shape, and fused pointwise operators.
            net.hybridize(static_alloc=True, static_shape=contexts[0].device_type == 'gpu')
        self.parameters = net._collect_params_with_prefix()
        if no_wd:
            for name, parameter in self.parameters.items():
                if not decays(name):
                    parameter.wd_mult = 0.0
        self._trained = {name: parameter for name, parameter in self.parameters.items()
                         if parameter.grad_req != 'null'}
        # Trained or frozen parameters: the same on all devices, unlike running statistics.
        self._weights = {name: parameter for name, parameter in self.parameters.items()
                         if not is_statistic(name)}
        self._draw_initial_values(image_shape)
        self._step = training_step(net, contexts, image_shape, self.objective, self.dtype, hybrid)
        self.trainer = self._make_trainer(optimizer)
        self.loss = gluon.loss.SoftmaxCrossEntropyLoss()
        self.loss.hybridize()
        self._running: collections.deque[NDArray] = collections.deque()
        self.iteration = self.image_count = 0
        self._prepared = False
        self._sums: list[NDArray] = []
        self.reset_metrics()

    def _draw_initial_values(self, image_shape: tuple[int, ...]) -> None:
        """Draw deferred initial values from the caller's random state; the first step reseeds it."""
        for ctx in self.contexts:  # in evaluation mode, so that no statistics change
            self.net(mx.nd.zeros((1, *image_shape), ctx, self.dtype))
        self._restore_layouts()

    def _make_trainer(self, optimizer: OptimizerSettings) -> gluon.Trainer:
        # In structural order: the default, the order of names, depends on how many networks the process has
        # built. We save the optimizer states, so no kvstore may hold them, except in asynchronous training,
        # which needs it.
        return gluon.Trainer(
            list(self.parameters.values()), 'nag',
            {**optimizer, 'multi_precision': self.dtype == 'float16'},
            kvstore=self.process_group.kvstore, update_on_kvstore=self.process_group.is_asynchronous)

    @property
    def devices(self) -> Devices:
        return Devices(self.contexts[0].device_type, len(self.contexts), self.process_group.size)

    @property
    def versions(self) -> dict[str, str]:
        return {'mxnet': mx.__version__}

    # -------------------------------------------------------------------------------- training

    def train_batch(self, images: np.ndarray, labels: np.ndarray, learning_rate: float) -> None:
        mx.random.seed(self._step_seed())
        self.trainer.set_learning_rate(learning_rate)
        if not self._prepared:
            self.process_group.prepare(self.trainer, len(labels) * self.process_group.size)
            self._prepared = True
        if self.process_group.is_asynchronous:
            self.process_group.set_learning_rate(learning_rate)  # here the servers update
        lam = self.objective.draw_mixup_lambda(self.seed, self.iteration)
        shards = self._split(images, labels)
        scale = self.loss_scale.scale if self.loss_scale else None
        results = self._step.run(shards, lam, scale)
        for sums, (output, targets, loss), (_, y) in zip(self._sums, results, shards):
            sums += mx.nd.concat(loss.sum(), self.objective.summed_metric(output, y, targets), dim=0)
        self._update(len(labels) * self.process_group.size)
        self.iteration += 1
        self.image_count += len(labels)
        self._limit_queue(self._sums[0].copy())

    def _update(self, count: int) -> None:
        """Take an optimizer step with the gradients summed over ``count`` images, if they are finite."""
        if self.loss_scale is None:
            self.trainer.step(count)
            return
        scale = self.loss_scale.scale
        self.trainer.allreduce_grads()
        gradients = [parameter.list_grad()[0] for parameter in self._trained.values()]
        if self.loss_scale.update(_all_finite(gradients)):
            self.trainer.update(count * scale)

    def _limit_queue(self, result: NDArray) -> None:
        # MXNet queues work without limit; two steps ahead keep the device busy and memory flat.
        self._running.append(result)
        if len(self._running) > 2:
            self._running.popleft().wait_to_read()

    def read_metrics(self) -> Metrics:
        return Metrics.of(_totals(self._sums), self.image_count)

    def read_all_metrics(self) -> Metrics:
        return self._over_all_processes(_totals(self._sums), self.image_count)

    def reset_metrics(self) -> None:
        self._sums = [mx.nd.zeros(2, ctx) for ctx in self.contexts]
        self.image_count = 0

    # ------------------------------------------------------------------------------ evaluation

    def evaluate(self, batches: Iterable[Any], keep: KeepOutputs | None = None) -> Metrics:
        # Evaluates the network that would be saved now: see `mean_statistics`.
        sums = [mx.nd.zeros(3 if self.top5 else 2, ctx) for ctx in self.contexts]
        count = 0
        mx.nd.waitall()  # MXNet itself does not wait for a pending write of running statistics
        with self.mean_statistics():
            for x_all, y_all in batches:
                outputs = []
                for total, (x, y) in zip(sums, self._split(x_all, y_all)):
                    output = self.net(x.astype(self.dtype, copy=False)).astype('float32', copy=False)
                    total += self._losses_and_hits(output, y)
                    outputs.append(output)
                count += len(y_all)
                if keep is not None:
                    keep(np.concatenate([output.asnumpy() for output in outputs]), y_all)
                self._limit_queue(sums[0].copy())
            self._restore_layouts()
        return self._over_all_processes(_totals(sums), count)

    def _losses_and_hits(self, output: NDArray, y: NDArray) -> NDArray:
        """Return [summed loss, top-1 hits and, with top5, top-5 hits]."""
        counts = [self.loss(output, y).sum(), (output.argmax(axis=1) == y).sum()]
        if self.top5:
            best = output.topk(k=min(5, output.shape[1]))
            counts.append((best == y.expand_dims(1)).sum())
        return mx.nd.concat(*counts, dim=0)

    @contextlib.contextmanager
    def mean_statistics(self) -> Iterator[None]:
        with self._local().mean():
            yield

    def _local(self) -> LocalValues:
        statistics = {parameter_array(name): parameter.list_data()
                      for name, parameter in self.parameters.items() if name not in self._weights}
        return LocalValues({**statistics, METRICS: self._sums}, self.process_group)

    def _restore_layouts(self) -> None:
        # On the CPU an inference pass reorders the weights in place for oneDNN, and the next training pass
        # restores their order, both at unpredictable times. MXNet's NAG rounds differently for a reordered
        # weight: it then takes the momentum's weight decay from the old weight, not from the new one.
        # Starting from the plain layout, training computes the same bits whether or not anything was
        # evaluated before.
        mx.nd.waitall()
        for data in itertools.chain(*(parameter.list_data() for parameter in self.parameters.values())):
            if data.ndim == 4 and data.context.device_type == 'cpu':  # only convolutions reorder
                # Not through NumPy: see MXNET_CPU_PARALLEL_SIZE in openatac.system.mxnet.settings.
                plain = data * 1
                data[:] = 0  # drops the layout, which a plain copy would keep
                data[:] = plain

    def _split(self, images: np.ndarray, labels: np.ndarray) -> list[tuple[NDArray, NDArray]]:
        contexts = self.contexts[:len(labels)]  # a short last batch may leave a device idle
        # from_numpy, as split_and_load would copy the batch several times
        raw = images.dtype == np.uint8
        arrays = (mx.nd.from_numpy(np.ascontiguousarray(array, dtype))
                  for array, dtype in ((images, 'uint8' if raw else 'float32'), (labels, 'float32')))
        xs, ys = (gluon.utils.split_and_load(array, contexts, even_split=False) for array in arrays)
        return list(zip(map(self.normalise, xs) if raw else xs, ys))  # type: ignore[arg-type]

    def wait(self) -> None:
        mx.nd.waitall()

    def device_memory(self) -> float:
        if self.contexts[0].device_type == 'cpu':
            return 0.0
        memory = [mx.context.gpu_memory_info(context.device_id) for context in self.contexts]
        return max(total - free for free, total in memory) / 2 ** 20

    # ----------------------------------------------------------------------------------- state

    def state(self) -> tuple[Arrays, LearnerNumbers]:
        local = self._local().state()
        wait_for_layouts()
        arrays = {indexed(parameter_array(name)): parameter.list_data()[0].asnumpy()
                  for name, parameter in self._weights.items()}
        return self._with_common_state({**arrays, **local})

    def load_state(self, arrays: Arrays, numbers: LearnerNumbers) -> None:
        for name, parameter in self._weights.items():
            for data in parameter.list_data():
                data[:] = arrays[indexed(parameter_array(name))]
        if not self.trainer._kv_initialized and not self.process_group.is_asynchronous:
            # otherwise the first step would copy the first device's values to all others
            self.trainer._init_kvstore()
            self.trainer._init_params()
        self._local().load_state(arrays)
        self._load_common_state(arrays, numbers)
        optimizer = self.trainer._optimizer
        optimizer.begin_num_update = optimizer.num_update = self.iteration

    def checksum(self) -> int:
        wait_for_layouts()
        return crc32_of(parameter.list_data()[0].asnumpy() for parameter in self._trained.values())

    def save_parameters(self, path: str) -> None:
        try:
            save_parameters(self.net, path)
        except mx.MXNetError:
            raise OSError(errno.EIO, 'MXNet could not write it: is the disk full?', path) from None

    def optimizer_states(self) -> Arrays:
        return {name: array.asnumpy() for name, array in self._optimizer_arrays().items()}

    def load_optimizer_states(self, saved: Arrays) -> None:
        check_shapes(saved, self._optimizer_arrays())
        for device in range(len(self.contexts)):
            for name, array in self._optimizer_arrays(device).items():
                array[:] = saved[name]

    def _optimizer_arrays(self, device: int = 0) -> dict[str, NDArray]:
        """Return {indexed name of a parameter: its optimizer array on one device}, created if needed."""
        arrays = {}
        updater = self.trainer._updaters[device]
        optimizer = self.trainer._optimizer
        for index, (name, parameter) in enumerate(self.parameters.items()):
            if name not in self._trained:
                continue
            if index not in updater.states:
                updater.states[index] = optimizer.create_state_multi_precision(
                    index, parameter.list_data()[device])
                updater.states_synced[index] = True
            for number, array in enumerate(_flat(updater.states[index])):
                arrays[indexed(name, number)] = array
        return arrays


def _all_finite(gradients: list[NDArray], chunk: int = 200) -> bool:
    """Return whether all NDArrays of a list are finite; wait for them."""
    verdict = mx.nd.ones(1, gradients[0].context)
    for start in range(0, len(gradients), chunk):
        part = gradients[start:start + chunk]
        mx.nd.multi_all_finite(*part, num_arrays=len(part), init_output=False, out=verdict)
    return bool(verdict.asscalar())


def _totals(sums: list[NDArray]) -> list[float]:
    """Add up the devices' sums; wait for the devices."""
    return np.sum([array.asnumpy() for array in sums], axis=0, dtype='float64').tolist()


def _flat(state: Any) -> list[NDArray]:
    if state is None:
        return []
    if isinstance(state, (tuple, list)):
        return [array for part in state for array in _flat(part)]
    return [state]
