"""Training steps of gated networks on the CPU, by oneDNN's operators alone (see `step_graph`)."""
import contextlib
import os

import mxnet as mx

from openatac import runtime
from openatac.training.cpu_graph import exchange
from openatac.training.step_graph import step_graph


class CpuStep:
    """Computes the logits of a batch and leaves the gradients in the network's parameters.

    net : HybridBlock with values, in float32
    graph, names : of `step_graph`
    classes : int
    """

    @classmethod
    def of(cls, net, image_shape):
        """The step of ``net`` for images (B, *image_shape), or None if it has no such graph."""
        symbol = exchange(net(mx.sym.var('data', dtype='float32')), image_shape)
        trained = {name for name, parameter in net.collect_params().items() if parameter.grad_req != 'null'}
        # The image's gradient is wanted for MXNet's sake (see `GluonEngine._forward`).
        found = step_graph(symbol, image_shape, trained | {'data'})
        if found is None:
            return None
        _, (logits,), _ = symbol.infer_shape(data=(1, *image_shape))
        return cls(net, *found, classes=logits[1])

    def __init__(self, net, graph, names, classes):
        self.parameters, self.graph, self.names, self.classes = net.collect_params(), graph, names, classes
        self._executors = {}

    def __call__(self, images, targets):
        """Logits (B, classes), an array that the next step reuses.

        images : float32 NDArray (B, C, H, W)
        targets : NDArray of labels (B,) or of distributions (B, classes), with which the loss is the sum of the
            cross entropies
        """
        context = images.context
        if targets.ndim == 1:
            targets = targets.one_hot(self.classes)
        executor = self._executors.get((context, images.shape))
        if executor is None:
            executor = self._executors[context, images.shape] = self._bind(context, images, targets)
        logits, *gradients = executor.forward(is_train=True, data=images, target=targets)
        for name, gradient in zip(self.names, gradients):
            if name in self.parameters:
                self.parameters[name].grad(context)[:] = gradient
                self.parameters[name].data(context)._fresh_grad = True  # gluon.Trainer asks for that
        return logits

    def _bind(self, context, images, targets):
        arrays = {'data': images.copy(), 'target': targets.copy()}
        for name, parameter in self.parameters.items():
            arrays[name] = parameter.data(context)
        # MXNet takes what has no gradients of its own for inference, and would fuse its operators. That it does
        # not, it says at each binding.
        with runtime.fusing_by('NONE'), _silence():
            return self.graph.bind(context, {name: arrays[name] for name in self.graph.list_arguments()},
                                   aux_states={name: arrays[name]
                                               for name in self.graph.list_auxiliary_states()},
                                   grad_req='null')


@contextlib.contextmanager
def _silence():
    """While open, nothing of what MXNet's library says reaches standard error."""
    standard_error = os.dup(2)
    with open(os.devnull, 'w') as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
