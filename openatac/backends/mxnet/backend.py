"""The MXNet backend: a Gluon network on the devices of its run."""
from __future__ import annotations

import logging
from typing import Any

import mxnet as mx

from openatac.backends.base import Backend
from openatac.backends.compute import Compute
from openatac.backends.learner import OptimizerSettings
from openatac.backends.mxnet.contexts import choose_contexts
from openatac.backends.mxnet.learner import MxnetLearner
from openatac.backends.mxnet.objective import MxnetObjective
from openatac.backends.mxnet.teacher import load_teacher
from openatac.backends.objective import ObjectiveSettings
from openatac.backends.process_group import ProcessGroup, SingleProcess
from openatac.backends.teacher import Teacher
from openatac.data.small import transforms
from openatac.data.small.batches import EvaluationSmallImageBatches, TrainingSmallImageBatches
from openatac.data.small.image_set import ImageSet
from openatac.errors import DeviceError
from openatac.models.weights import initialize_parameters, load_parameters
from openatac.zoo.weights.pretrained import Pretrained

log = logging.getLogger('openatac')


class MxnetBackend(Backend):
    """MXNet on the CPU or on GPUs; see `openatac.backends.base.open_backend` for the parameters."""

    def __init__(self, net: Any, compute: Compute, image_shape: tuple[int, int, int], seed: int, gpus: str,
                 fall_back: bool, process_group: ProcessGroup | None = None) -> None:
        self.net = net
        self.compute = compute
        self.image_shape = image_shape
        self.seed = seed
        self.process_group = process_group or SingleProcess()
        self.contexts, line = choose_contexts(gpus, fall_back)
        self.device_count = len(self.contexts)
        self._has_gpu = self.contexts[0].device_type == 'gpu'
        if compute.dtype == 'float16' and not self._has_gpu:
            raise DeviceError('--dtype float16 needs a GPU, since MXNet cannot multiply float16 matrices on '
                              'a CPU: use --dtype float32')
        log.info('%s', line)

    # Pixels go to a GPU as uint8, a quarter of the bytes of the float32 that `normalise` computes from them.

    def training_batches(self, images: ImageSet, batch_size: int, seed: int) -> TrainingSmallImageBatches:
        return TrainingSmallImageBatches(images, batch_size, seed, self._has_gpu, self.process_group.share)

    def evaluation_batches(self, images: ImageSet, batch_size: int) -> EvaluationSmallImageBatches:
        return EvaluationSmallImageBatches(images, batch_size, self._has_gpu, self.process_group.share)

    def initialize(self, params: str | Pretrained | None = None) -> None:
        initialize_parameters(self.net, self.seed, self.contexts, params)

    def load(self, params: str) -> None:
        load_parameters(self.net, params, self.contexts)

    def load_teacher(self, teacher: Teacher) -> Any:
        return load_teacher(teacher, self.contexts, self.image_shape, self.compute.dtype)

    def learner(self, optimizer: OptimizerSettings, objective: ObjectiveSettings, no_wd: bool = False,
                top5: bool = False) -> MxnetLearner:
        return MxnetLearner(
            self.net, self.contexts, optimizer, self.image_shape, compute=self.compute, seed=self.seed,
            objective=MxnetObjective(**objective), top5=top5, no_wd=no_wd, process_group=self.process_group,
            normalise=normalise)


def normalise(pixels: mx.nd.NDArray) -> mx.nd.NDArray:
    """Apply `transforms.normalise` to uint8 pixels (B, 3, H, W), on their device."""
    mean, std = (mx.nd.array(values[None], pixels.context)
                 for values in (transforms.MEAN_0_TO_1, transforms.STD_0_TO_1))
    return (pixels.astype('float32') / 255 - mean) / std
