"""The PyTorch backend: a network on the device of its run."""
from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable
from typing import Any

import torch

from openatac.backends.base import Backend
from openatac.backends.compute import Compute
from openatac.backends.devices import choose_gpus
from openatac.backends.learner import OptimizerSettings
from openatac.backends.objective import ObjectiveSettings
from openatac.backends.process_group import ProcessGroup, SingleProcess
from openatac.backends.teacher import Teacher
from openatac.backends.torch.compilation import memory_layout
from openatac.backends.torch.device_batches import DeviceEvaluationBatches, DeviceTrainingBatches
from openatac.backends.torch.learner import TorchLearner, reporting_out_of_memory
from openatac.backends.torch.objective import TorchObjective
from openatac.conversion.networks import to_torch
from openatac.data.small.image_set import ImageSet
from openatac.errors import DeviceError, OpenatacError, UsageError
from openatac.pytorch.networks_by_name import get_model
from openatac.pytorch.weights import load_parameters, load_pretrained
from openatac.system.installed import has_mxnet
from openatac.system.memory import keep_freed_memory
from openatac.system.threads import set_threads, thread_count
from openatac.zoo.weights.pretrained import Pretrained

log = logging.getLogger('openatac')


class TorchBackend(Backend):
    """PyTorch on the CPU or on one GPU per process; see `openatac.backends.base.open_backend`.

    The network is a module that already has its initial values, or a Gluon network, which is converted.
    """

    def __init__(self, net: Any, compute: Compute, image_shape: tuple[int, int, int], seed: int, gpus: str,
                 fall_back: bool, process_group: ProcessGroup | None = None) -> None:
        self.net = net
        self.compute = compute
        self.image_shape = image_shape
        self.seed = seed
        self.process_group = process_group or SingleProcess()
        self.module: Any = None
        self.device, line = _device(gpus, fall_back)
        if compute.dtype == 'float16' and self.device == 'cpu':
            raise DeviceError('--dtype float16 needs a GPU: use --dtype float32 or bfloat16')
        log.info('%s', line)

    @reporting_out_of_memory()
    def training_batches(self, images: ImageSet, batch_size: int, seed: int) -> DeviceTrainingBatches:
        return DeviceTrainingBatches(images, batch_size, seed, self.device, self._layout,
                                     self.process_group.share)

    @reporting_out_of_memory()
    def evaluation_batches(self, images: ImageSet, batch_size: int) -> DeviceEvaluationBatches:
        return DeviceEvaluationBatches(images, batch_size, self.device, self._layout,
                                       self.process_group.share)

    @property
    def _layout(self) -> torch.memory_format:
        return memory_layout(self.compute, self.device)

    def initialize(self, params: str | Pretrained | None = None) -> None:
        if isinstance(self.net, torch.nn.Module):
            self.module = copy.deepcopy(self.net)
            if isinstance(params, Pretrained):
                load_pretrained(self.module, params)
            elif params:
                load_parameters(self.module, params)
                log.info('starting from the parameters in %s', params)
        else:
            from openatac.models.weights import initialize_parameters
            self._convert(lambda contexts: initialize_parameters(self.net, self.seed, contexts, params))

    def load(self, params: str) -> None:
        if isinstance(self.net, torch.nn.Module):
            self.module = copy.deepcopy(self.net)
            load_parameters(self.module, params)
        else:
            from openatac.models.weights import load_parameters as load_gluon_parameters
            self._convert(lambda contexts: load_gluon_parameters(self.net, params, contexts))

    def _convert(self, give_values: Callable[[list], Any]) -> None:
        """Build the module from the Gluon network after calling ``give_values`` with a list of contexts."""
        import mxnet as mx

        from openatac.models.weights import draw_deferred_values
        give_values([mx.cpu()])
        draw_deferred_values(self.net, self.image_shape)
        self.module = to_torch(self.net)

    def load_teacher(self, teacher: Teacher) -> Any:
        """Load the teacher's network: any that `MxnetBackend` can load, or without MXNet one from our zoo."""
        if has_mxnet():
            import mxnet as mx

            from openatac.backends.mxnet.teacher import load_teacher
            return to_torch(load_teacher(teacher, [mx.cpu()], self.image_shape, 'float32')).to(self.device)
        teacher = teacher.with_bundled_file()
        params = teacher.required_file()
        try:
            net = get_model(teacher.network, teacher.required_classes)
        except UsageError as error:
            raise OpenatacError(f'--teacher: {error}') from None
        with teacher.loading():
            load_parameters(net, params)
        return net.to(self.device)

    def learner(self, optimizer: OptimizerSettings, objective: ObjectiveSettings, no_wd: bool = False,
                top5: bool = False) -> TorchLearner:
        if self.module is None:
            raise RuntimeError('the network has no values yet: call initialize() or load() before learner()')
        return TorchLearner(
            self.module, self.device, optimizer, compute=self.compute, seed=self.seed,
            objective=TorchObjective(**objective), top5=top5, no_wd=no_wd, process_group=self.process_group)


def _device(gpus: str, fall_back: bool) -> tuple[str, str]:
    """Return (device, a line that names it); DeviceError if a GPU is missing and the CPU is no fallback.

    Each process that torchrun starts gets one of the GPUs, even if the flags name none.
    """
    set_threads()
    torch.set_num_threads(thread_count().threads)  # PyTorch read the variable when it was imported
    processes, index = (int(os.environ.get(name, default)) for name, default in (
        ('LOCAL_WORLD_SIZE', 1), ('LOCAL_RANK', 0)))
    if not gpus and 'LOCAL_RANK' in os.environ and torch.cuda.is_available():
        gpus = ','.join(map(str, range(processes)))
    wanted, line = choose_gpus(gpus, fall_back, 'PyTorch', torch.cuda.device_count, 'PyTorch sees no GPU')
    if not wanted:
        keep_freed_memory()
        return 'cpu', line
    if len(wanted) < processes:
        raise DeviceError(f'{processes} processes on this machine need a GPU each, but the flags list only '
                          f'GPU {gpus}: list more, or start fewer')
    gpu = wanted[index]
    torch.cuda.set_device(gpu)
    name = torch.cuda.get_device_name(gpu)
    return f'cuda:{gpu}', f'running on GPU {gpu} ({name}) with PyTorch {torch.__version__}'
