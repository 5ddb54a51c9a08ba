"""The parameters of a network: their initial values, and their structural names."""
import mxnet as mx


def initialised(net, seed=None, side=32):
    """Initialise a network, and run it once so that all of its parameters have shapes; return it."""
    if seed is not None:
        mx.random.seed(seed)
    net.initialize(mx.init.MSRAPrelu())
    net(mx.nd.zeros((1, 3, side, side)))
    return net


def parameters_of(net):
    """Return {structural name: parameter}, as in a .params file; Gluon has no public function for it."""
    return net._collect_params_with_prefix()
