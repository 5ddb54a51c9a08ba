"""The compute backends: one interface, implemented by MXNet and PyTorch."""
from openatac.backends.registered_backends import BACKENDS, BackendEntry
from openatac.backends.unsupported import check_mxnet, check_torch

BACKENDS.register('mxnet', BackendEntry('openatac.backends.mxnet.backend:MxnetBackend', check_mxnet))
BACKENDS.register('torch', BackendEntry('openatac.backends.torch.backend:TorchBackend', check_torch, 'torch'))
