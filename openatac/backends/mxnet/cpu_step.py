"""Training steps of gated networks on the CPU, with oneDNN's operators only (see `step_graph`)."""
from __future__ import annotations

import os
from typing import Any, Optional

import mxnet as mx
from mxnet.gluon.block import HybridBlock

from openatac.backends.mxnet.cpu_graph import exchange
from openatac.backends.mxnet.step_graph import step_graph
from openatac.console.streams import silenced_stderr
from openatac.runtime.mxnet_settings import fusion_backend


class CpuStep:
    """Computes the logits of a batch and leaves the gradients in the network's parameters.

    net : HybridBlock with values, in float32
    graph, names : from `step_graph`
    classes : int
    """

    @classmethod
    def of(cls, net: HybridBlock, image_shape: tuple[int, ...]) -> Optional[CpuStep]:
        """Return the step of ``net`` for images (B, *image_shape); None without a graph or oneDNN."""
        if not _has_onednn():
            return None
        symbol = exchange(net(mx.sym.var('data', dtype='float32')), image_shape)
        trained = {name for name, parameter in net.collect_params().items() if parameter.grad_req != 'null'}
        found = step_graph(symbol, image_shape, trained)
        if found is None:
            return None
        _, (logits,), _ = symbol.infer_shape(data=(1, *image_shape))
        return cls(net, *found, classes=logits[1])

    def __init__(self, net: HybridBlock, graph: mx.sym.Symbol, names: list[str], classes: int):
        self.parameters, self.graph, self.names, self.classes = net.collect_params(), graph, names, classes
        self._bound: dict[Any, Any] = {}

    def __call__(self, images: mx.nd.NDArray, targets: mx.nd.NDArray) -> mx.nd.NDArray:
        """Return the logits (B, classes), in an array that the next step reuses.

        images : float32 NDArray (B, C, H, W)
        targets : NDArray of labels (B,) or of distributions (B, classes); the loss is the sum of the cross
            entropies with them
        """
        if targets.ndim == 1:
            targets = targets.one_hot(self.classes)
        key = images.context, images.shape
        if key not in self._bound:
            self._bound[key] = self._bind(images, targets)
        executor, places, trained = self._bound[key]
        logits, *gradients, _ = executor.forward(is_train=True, data=images, target=targets)
        mx.nd.amp_multicast(*gradients, num_outputs=len(places), out=places)  # copies all in one call
        for values in trained:
            values._fresh_grad = True  # gluon.Trainer asks for that
        return logits

    def _bind(self, images: mx.nd.NDArray, targets: mx.nd.NDArray) -> Any:
        """Return (executor, the parameters' gradient arrays, the parameters' arrays)."""
        context = images.context
        arrays = {'data': images.copy(), 'target': targets.copy()}
        for name, parameter in self.parameters.items():
            arrays[name] = parameter.data(context)
        # MXNet treats a graph without gradients of its own as inference and would fuse its operators. With
        # fusion off, it prints so at each binding.
        with fusion_backend('NONE'), silenced_stderr():
            executor = self.graph.bind(
                context, {name: arrays[name] for name in self.graph.list_arguments()}, grad_req='null',
                aux_states={name: arrays[name] for name in self.graph.list_auxiliary_states()})
        trained = [self.parameters[name] for name in self.names]
        return executor, [each.grad(context) for each in trained], [each.data(context) for each in trained]


def _has_onednn() -> bool:
    # Without it, MXNet's own operators take different inputs for the same gradients.
    return (mx.runtime.Features().is_enabled('MKLDNN')
            and os.environ.get('MXNET_MKLDNN_ENABLED', '1') == '1')
