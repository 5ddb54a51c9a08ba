"""A training step, from images to gradients: derived by MXNet, or on the CPU as one graph."""
from __future__ import annotations

import os
from typing import Any

import mxnet as mx
from mxnet import autograd
from mxnet.gluon.block import HybridBlock

from openatac.backends.mxnet.cpu_graph import faster_network, faster_symbol
from openatac.backends.mxnet.objective import MxnetObjective
from openatac.backends.mxnet.step_graph import step_graph
from openatac.console.streams import silenced_stderr
from openatac.graph.nodes import INPUT
from openatac.models.fine_tuning import keeps_statistics
from openatac.system.mxnet.settings import fusion_backend

Shard = tuple[mx.nd.NDArray, mx.nd.NDArray]  # one device's images and labels
Result = tuple[mx.nd.NDArray, mx.nd.NDArray, mx.nd.NDArray]  # logits, targets, losses


def training_step(net: HybridBlock, contexts: list[mx.Context], image_shape: tuple[int, ...],
                  objective: MxnetObjective, dtype: str, hybrid: bool) -> CpuStep | AutogradStep:
    """Return the fastest step of ``net``, initialised on ``contexts``, for images (B, *image_shape).

    On the CPU a hybridized network runs as a `CpuStep` if possible, otherwise with the operators of
    `cpu_graph`.
    """
    updates_statistics = not keeps_statistics(net)
    if hybrid and contexts[0].device_type == 'cpu':
        step = CpuStep.of(net, image_shape, objective) if objective.teacher is None else None
        if step is not None:
            return step
        net = faster_network(net, image_shape)
        net.hybridize(static_alloc=True)
    return AutogradStep(net, objective, dtype, updates_statistics)


class AutogradStep:
    """A step whose gradients MXNet derives.

    Parameters
    ----------
    net : HybridBlock
        An initialised network.
    objective : MxnetObjective
    dtype : str
        The data type of the network's inputs.
    updates_statistics : bool
        Whether a BatchNorm has running statistics to update.
    """

    def __init__(self, net: HybridBlock, objective: MxnetObjective, dtype: str,
                 updates_statistics: bool) -> None:
        self.net = net
        self.objective = objective
        self.dtype = dtype
        self.updates_statistics = updates_statistics

    def run(self, shards: list[Shard], lam: float, scale: float | None = None) -> list[Result]:
        """Return the results of the shards; store the gradients in the parameters.

        Parameters
        ----------
        shards : list of (images, labels)
            One for each device.
        lam : float
            The share of each image in its mixture.
        scale : float, optional
            A factor on the gradients.
        """
        results = [self._forward(x, y, lam) for x, y in shards]
        losses = [loss for _, _, loss in results]
        autograd.backward(losses, None if scale is None else [
            mx.nd.full(loss.shape, scale, loss.context) for loss in losses])
        return results

    def _forward(self, x: mx.nd.NDArray, y: mx.nd.NDArray, lam: float) -> Result:
        x = self.objective.inputs(x, lam).astype(self.dtype, copy=False)
        targets = self.objective.targets(y, lam)
        soft_targets = self.objective.soft_targets(x)
        if x.context.device_type == 'cpu' and self.updates_statistics:
            # On the CPU, MXNet's BatchNorm updates its running statistics in its backward pass, and the first
            # BatchNorm, on the image, runs one only if the image requires a gradient. On a GPU, where the
            # paper's networks were trained, the forward pass updates them.
            x.attach_grad()
        with autograd.record():
            output = self.net(x).astype('float32', copy=False)
            return output, targets, self.objective.loss(output, targets, soft_targets)


class CpuStep:
    """A gated network's step as one graph of oneDNN's operators.

    Parameters
    ----------
    net : HybridBlock
        An initialised network, in float32.
    graph, names
        As `step_graph` returns them.
    classes : int
    objective : MxnetObjective
    """

    @classmethod
    def of(cls, net: HybridBlock, image_shape: tuple[int, ...], objective: MxnetObjective) -> CpuStep | None:
        """Return the step of ``net`` for images (B, *image_shape); None if there is no graph or no oneDNN."""
        if not _has_onednn():
            return None
        symbol = faster_symbol(net(mx.sym.var(INPUT, dtype='float32')), image_shape)
        trained = {name for name, parameter in net.collect_params().items() if parameter.grad_req != 'null'}
        graph_and_names = step_graph(symbol, image_shape, trained, not keeps_statistics(net))
        if graph_and_names is None:
            return None
        _, (logits,), _ = symbol.infer_shape(**{INPUT: (1, *image_shape)})
        return cls(net, *graph_and_names, logits[1], objective)

    def __init__(self, net: HybridBlock, graph: mx.sym.Symbol, names: list[str], classes: int,
                 objective: MxnetObjective) -> None:
        self.parameters = net.collect_params()
        self.graph = graph
        self.names = names
        self.classes = classes
        self.objective = objective
        self._bound: dict[Any, Any] = {}

    def run(self, shards: list[Shard], lam: float, scale: float | None = None) -> list[Result]:
        """Like `AutogradStep.run`; a CPU step is in float32 and needs no ``scale``."""
        results = []
        for x, y in shards:
            targets = self.objective.targets(y, lam)
            output = self(self.objective.inputs(x, lam), targets)
            results.append((output, targets, self.objective.loss(output, targets)))
        return results

    def __call__(self, images: mx.nd.NDArray, targets: mx.nd.NDArray) -> mx.nd.NDArray:
        """Return the logits (B, classes), in an array that the next step reuses; store the gradients.

        Parameters
        ----------
        images : float32 NDArray (B, C, H, W)
        targets : NDArray
            Labels (B,) or distributions (B, classes); the loss is the sum of the cross entropies against
            them.
        """
        if targets.ndim == 1:
            targets = targets.one_hot(self.classes)
        key = images.context, images.shape
        if key not in self._bound:
            self._bound[key] = self._bind(images, targets)
        executor, out, trained = self._bound[key]
        logits, *gradients = executor.forward(
            is_train=True, **{INPUT: images, 'target': targets})[:len(out) + 1]
        mx.nd.amp_multicast(*gradients, num_outputs=len(out), out=out)  # copies all in one call
        for values in trained:
            values._fresh_grad = True  # gluon.Trainer checks this flag
        return logits

    def _bind(self, images: mx.nd.NDArray, targets: mx.nd.NDArray) -> Any:
        """Return (executor, the parameters' gradient arrays, the parameters' arrays)."""
        context = images.context
        arrays = {INPUT: images.copy(), 'target': targets.copy()}
        for name, parameter in self.parameters.items():
            arrays[name] = parameter.data(context)
        # MXNet treats a graph bound without gradients as inference and would fuse its operators. With fusion
        # off, it prints a line about that at each binding.
        with fusion_backend('NONE'), silenced_stderr():
            executor = self.graph.bind(
                context, {name: arrays[name] for name in self.graph.list_arguments()}, grad_req='null',
                aux_states={name: arrays[name] for name in self.graph.list_auxiliary_states()})
        trained = [self.parameters[name] for name in self.names]
        return (executor, [parameter.grad(context) for parameter in trained],
                [parameter.data(context) for parameter in trained])


def _has_onednn() -> bool:
    # Without it, MXNet's own operators take different inputs for the same gradients.
    return (mx.runtime.Features().is_enabled('MKLDNN')
            and os.environ.get('MXNET_MKLDNN_ENABLED', '1') == '1')
