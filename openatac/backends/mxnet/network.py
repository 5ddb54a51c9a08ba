"""A Gluon network on the devices that its run has, and what `GluonEngine` is made of."""
import logging

from openatac.backends.loss_scale import LossScale
from openatac.backends.mxnet.engine import GluonEngine, check_precision
from openatac.backends.mxnet.objective import Objective
from openatac.backends.mxnet.teacher import load_teacher
from openatac.data.batches import EvaluationBatches, TrainingBatches
from openatac.models.parameters import initialise, load_parameters
from openatac.runtime.devices import choose_contexts

log = logging.getLogger('openatac')


class GluonNetwork:
    """The same for MXNet as `openatac.backends.torch.network.TorchNetwork` is for PyTorch.

    net : HybridBlock, not initialised
    args : the flags
    image_shape : (C, H, W)
    gpus : str, such as '0,1'; '' means the CPU, which also takes over if ``fall_back`` and MXNet sees no GPU

    count : how many devices a batch is split over

    Raises DeviceError if the devices, or their precision, are not there.
    """

    def __init__(self, net, args, image_shape, gpus, fall_back):
        self.net, self.args, self.image_shape = net, args, image_shape
        self.contexts, line = choose_contexts(gpus, fall_back)
        check_precision(args.dtype, self.contexts)
        log.info('%s', line)
        self.count = len(self.contexts)

    # A GPU gets pixels as uint8, a quarter of the bytes of what it makes of them.

    def TrainingBatches(self, images, batch_size, seed):
        return TrainingBatches(images, batch_size, seed, raw=self._has_gpu())

    def EvaluationBatches(self, images, batch_size):
        return EvaluationBatches(images, batch_size, raw=self._has_gpu())

    def _has_gpu(self):
        return self.contexts[0].device_type == 'gpu'

    def draw(self, params=None):
        """Give the network its initial values for --seed, or those of the file ``params``."""
        initialise(self.net, self.args.seed, self.contexts, params)

    def load(self, params):
        """Give the network the values of the file ``params``."""
        load_parameters(self.net, params, self.contexts)

    def teacher(self):
        """The network of --teacher, to be one of `engine`'s ``objective``."""
        return load_teacher(self.args, self.contexts, self.image_shape)

    def engine(self, optimizer, objective, no_wd=False, top5=False, cluster=None):
        """The engine that trains and evaluates it.

        optimizer : {name: value} of NAG's learning_rate, momentum and wd
        objective : {name: value} of `Objective`'s arguments
        no_wd : whether biases, gammas and betas have no weight decay
        """
        if no_wd:
            for parameter in self.net.collect_params('.*beta|.*gamma|.*bias').values():
                parameter.wd_mult = 0.0
        args = self.args
        return GluonEngine(
            self.net, self.contexts, 'nag', optimizer, self.image_shape, args.dtype, args.mode == 'hybrid',
            args.seed, Objective(**objective), LossScale.of(args), top5, cluster)
