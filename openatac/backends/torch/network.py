"""A network's graph in PyTorch on the device that its run has, and what `TorchEngine` is made of."""
import argparse
import logging

from openatac.backends.loss_scale import LossScale
from openatac.backends.torch.batches import DeviceEvaluationBatches, DeviceTrainingBatches
from openatac.backends.torch.engine import TorchEngine, enough_memory
from openatac.backends.torch.graph import to_torch
from openatac.backends.torch.objective import TorchObjective
from openatac.backends.torch.pytorch import torch
from openatac.errors import DeviceError
from openatac.models.params_file import read_params
from openatac.runtime.devices import choose_gpus
from openatac.runtime.import_hook import require_mxnet
from openatac.runtime.threads import set_threads
from openatac.training.initial import Initial

log = logging.getLogger('openatac')


class TorchNetwork:
    """The same for PyTorch as `openatac.backends.mxnet.network.GluonNetwork` is for MXNet, on one device.

    net : HybridBlock, not initialised, whose graph is run; or an `Initial`, which needs no MXNet
    args, image_shape, gpus, fall_back, count : see there
    """

    count = 1

    def __init__(self, net, args, image_shape, gpus, fall_back):
        self.net, self.args, self.image_shape, self.module = net, args, image_shape, None
        self.device, line = _device(gpus, fall_back)
        if args.dtype == 'float16' and self.device == 'cpu':
            raise DeviceError('--dtype float16 needs a GPU: use --dtype float32 or bfloat16')
        log.info('%s', line)

    @enough_memory()
    def TrainingBatches(self, images, batch_size, seed):
        return DeviceTrainingBatches(images, batch_size, seed, self.device, self.args.compile)

    @enough_memory()
    def EvaluationBatches(self, images, batch_size):
        return DeviceEvaluationBatches(images, batch_size, self.device, self.args.compile)

    def draw(self, params=None):
        """Give the network its initial values for --seed, or those of the file ``params``."""
        if isinstance(self.net, Initial):
            self.module = to_torch(self.net.symbol)  # with those of ``params``, if it was written with them
        else:
            from openatac.models.parameters import initialise
            self._take_over(lambda contexts: initialise(self.net, self.args.seed, contexts, params))

    def load(self, params):
        """Give the network the values of the file ``params``."""
        if isinstance(self.net, Initial):
            self.module = to_torch(self.net.symbol, {name: array.astype('float32')
                                                     for name, array in read_params(params).items()})
        else:
            from openatac.models.parameters import load_parameters
            self._take_over(lambda contexts: load_parameters(self.net, params, contexts))

    def _take_over(self, give_values):
        """Make the module of the Gluon network, after ``give_values`` of a list of contexts."""
        import mxnet as mx
        give_values([mx.cpu()])
        self.net(mx.nd.zeros((1, *self.image_shape)))  # draws the values that wait for a shape
        self.module = to_torch(self.net)

    def teacher(self):
        """The network of --teacher, to be one of `engine`'s ``objective``; it needs MXNet."""
        require_mxnet()
        import mxnet as mx

        from openatac.backends.mxnet.teacher import load_teacher
        args = argparse.Namespace(**dict(vars(self.args), dtype='float32'))  # MXNet's CPU has no other
        return to_torch(load_teacher(args, [mx.cpu()], self.image_shape)).to(self.device)

    def engine(self, optimizer, objective, no_wd=False, top5=False, cluster=None):
        """The engine; see `GluonNetwork.engine`."""
        args = self.args
        without = [name for name, _ in self.module.named_parameters()
                   if no_wd and name.endswith(('beta', 'gamma', 'bias'))]
        return TorchEngine(
            self.module, self.device, optimizer, args.dtype, args.seed, TorchObjective(**objective),
            LossScale.of(args), top5, dict.fromkeys(without, 0.0), args.tf32, args.compile)


def _device(gpus, fall_back):
    """(device, a line that says so); DeviceError for a GPU that is not there, unless the CPU takes over."""
    set_threads()
    wanted, line = choose_gpus(gpus, fall_back, 'PyTorch', torch.cuda.device_count,
                               'PyTorch sees no GPU')
    if not wanted:
        return 'cpu', line
    return 'cuda:%d' % wanted[0], 'running on GPU %d (%s) with PyTorch %s' % (
        wanted[0], torch.cuda.get_device_name(wanted[0]), torch.__version__)
