"""A PyTorch module in training, on the CPU or on one GPU per process, without MXNet."""
from __future__ import annotations

import collections
import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import torch

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
from openatac.backends.process_group import ProcessGroup, SingleProcess
from openatac.backends.state_names import MASTER, METRICS, MOMENTUM, indexed, is_statistic, parameter_array
from openatac.backends.torch.arrays import copy_into, to_numpy
from openatac.backends.torch.compilation import compile_function, memory_layout
from openatac.backends.torch.data_parallel import average_gradients
from openatac.backends.torch.local_values import LocalValues
from openatac.backends.torch.nag import NAG
from openatac.backends.torch.objective import TorchObjective
from openatac.backends.torch.shared_statistics import SharedStatistics
from openatac.errors import DeviceError
from openatac.files.mxnet_arrays import write_params
from openatac.pytorch.fine_tuning import rate_factors

PRECISIONS = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


@contextlib.contextmanager
def reporting_out_of_memory() -> Iterator[None]:
    """Turn a GPU's out-of-memory error into a DeviceError."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise DeviceError('the GPU has too little memory for this batch: use a smaller '
                          '--batch-size') from None


class TorchLearner(Learner):
    """Trains and evaluates a network with MXNet's NAG, step by step like `MxnetLearner`, with the same state.

    Results repeat bit for bit on the CPU, and up to rounding on a GPU, whose kernels add in arbitrary order.

    Parameters
    ----------
    module : Module
        A module in float32 whose BatchNorms keep biased variances; it is moved to ``device``.
    device : str
        'cpu', or a GPU such as 'cuda:0'.
    optimizer : OptimizerSettings
    compute : Compute, optional
        Its ``dtype`` is 'float32', or 'bfloat16' or 'float16' for convolutions and matrix products; the
        weights, their updates, the statistics and the loss stay in float32. With ``tf32``, a GPU may round
        the factors of float32 products to 10 bits, which is faster. With ``compile``, training runs as fused
        kernels, and on a GPU as CUDA graphs; the first step then takes a minute. With ``syncbn``, BatchNorm
        normalises over the images of all processes.
    seed : int
    objective : TorchObjective, optional
        Default: plain classification.
    top5 : bool
        Whether evaluation also counts top-5 hits.
    no_wd : bool
        Whether to exempt biases, gammas and betas from weight decay.
    process_group : ProcessGroup, optional
        The processes that train together. Default: only this one.

    Raises
    ------
    DeviceError
        On creation or in any step, if the device runs out of memory or there is no compiler.
    """

    @reporting_out_of_memory()
    def __init__(self, module: torch.nn.Module, device: str, optimizer: OptimizerSettings, *,
                 compute: Compute | None = None, seed: int = 0, objective: TorchObjective | None = None,
                 top5: bool = False, no_wd: bool = False, process_group: ProcessGroup | None = None) -> None:
        compute = compute or Compute()
        self.device = torch.device(device)
        self.dtype = compute.dtype
        self.seed = seed
        self.objective = objective or TorchObjective()
        self.loss_scale = LossScale.of(compute)
        self.top5 = top5
        self.process_group = process_group or SingleProcess()
        shared = compute.syncbn and self.process_group.size > 1
        self._statistics = SharedStatistics if shared else contextlib.nullcontext
        self.layout = memory_layout(compute, self.device.type)
        if self.device.type == 'cuda':
            self._set_up_gpu(compute)
        self.module = module.to(self.device, memory_format=self.layout).train()  # type: ignore[call-overload]
        self.parameters = dict(self.module.named_parameters())
        self.optimizer = self._make_optimizer(optimizer, no_wd)
        self._run_forward = (compile_function(self._forward, self.device) if compute.compile else
                             self._forward)
        self._forward_is_ready = self.process_group.size == 1  # else it must first average gradients
        self._running: collections.deque[Any] = collections.deque()
        self.iteration = self.image_count = 0
        self.reset_metrics()

    def _set_up_gpu(self, compute: Compute) -> None:
        # PyTorch's default lets cuDNN use TF32: three digits, where the published runs had seven.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = compute.tf32
        # Times cuDNN's algorithms for each shape at its first batch and keeps the fastest, as MXNet does.
        torch.backends.cudnn.benchmark = True

    def _make_optimizer(self, optimizer: OptimizerSettings, no_wd: bool) -> NAG:
        rates = rate_factors(self.module)
        groups = collections.defaultdict(list)
        for name, parameter in self.parameters.items():
            decay = 0.0 if no_wd and not decays(name) else 1.0
            groups[decay, rates.get(name, 1.0)].append(parameter)
        return NAG([{'params': parameters, 'wd_mult': decay, 'lr_mult': rate}
                    for (decay, rate), parameters in groups.items()],
                   optimizer['learning_rate'], optimizer['momentum'], optimizer['wd'])

    @property
    def devices(self) -> Devices:
        return Devices('gpu' if self.device.type == 'cuda' else 'cpu', processes=self.process_group.size)

    @property
    def versions(self) -> dict[str, str]:
        versions = {'torch': str(torch.__version__)}
        if self.device.type == 'cuda':
            versions.update(cuda=str(torch.version.cuda), cudnn=str(torch.backends.cudnn.version()))
        return versions

    # -------------------------------------------------------------------------------- training

    @reporting_out_of_memory()
    def train_batch(self, images: Any, labels: Any, learning_rate: float) -> None:
        self.optimizer.learning_rate.fill_(learning_rate)
        self.optimizer.zero_grad()
        x, y = self._on_device(images, labels)
        lam = self.objective.draw_mixup_lambda(self.seed, self.iteration)
        x = self.objective.inputs(x, lam).contiguous(memory_format=self.layout)
        targets = self.objective.targets(y, lam)
        with self._precision():
            soft_targets = self.objective.soft_targets(x)
        with self.process_group.exchanging():
            self._step(x, y, targets, soft_targets)
        self.iteration += 1
        self.image_count += len(y)
        self._limit_queue()

    def _step(self, x: torch.Tensor, y: torch.Tensor, *targets: Any) -> None:
        if not self._forward_is_ready:
            self._run_forward = average_gradients(self.module, self._run_forward, (x, y, *targets))
            self._forward_is_ready = True
        torch.manual_seed(self._step_seed())
        loss, sums = self._run_forward(x, y, *targets)
        self._sums += sums
        self._update(loss, len(y))

    def _forward(self, x: torch.Tensor, y: torch.Tensor, targets: torch.Tensor,
                 soft_targets: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (summed loss, [the same, summed metric]); the second without gradient."""
        with self._precision(), self._statistics():
            output = self.module(x)
        output = output.float()
        loss = self.objective.loss(output, targets, soft_targets).sum()
        metric = self.objective.summed_metric(output.detach(), y, targets)
        return loss, torch.stack([loss.detach(), metric.to(loss.dtype)])

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, PRECISIONS[self.dtype], enabled=self.dtype != 'float32')

    def _update(self, loss: torch.Tensor, count: int) -> None:
        """Take an optimizer step for the mean loss over ``count`` images, if its gradients are finite."""
        self.optimizer.rescale = 1 / count
        if self.loss_scale is None:
            loss.backward()
            self.optimizer.step()
            return
        scale = self.loss_scale.scale
        (loss * scale).backward()
        self.optimizer.rescale /= scale
        if self.loss_scale.update(_all_finite([parameter.grad for parameter in self.parameters.values()
                                               if parameter.grad is not None])):
            self.optimizer.step()

    def _on_device(self, images: Any, labels: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Convert NumPy or PyTorch arrays to (B, C, H, W) in float32 and (B,) in int64."""
        return self._to_device(images).to(torch.float32), self._to_device(labels).to(torch.int64)

    def _to_device(self, array: Any) -> torch.Tensor:
        array = torch.as_tensor(array)
        if self.device.type == 'cuda' and array.device.type == 'cpu':
            # From pageable memory, a copy would wait for all of the GPU's pending work.
            array = array.pin_memory()
        return array.to(self.device, non_blocking=True)

    def _limit_queue(self) -> None:
        # CUDA would queue hundreds of steps, with their batches in pinned memory; two steps ahead keep it
        # busy.
        if self.device.type == 'cuda':
            self._running.append(torch.cuda.current_stream(self.device).record_event())
            if len(self._running) > 2:
                self._running.popleft().synchronize()

    def read_metrics(self) -> Metrics:
        return Metrics.of(self._sums.tolist(), self.image_count)

    def read_all_metrics(self) -> Metrics:
        return self._over_all_processes(self._sums.tolist(), self.image_count)

    def reset_metrics(self) -> None:
        self._sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        self.image_count = 0

    # ------------------------------------------------------------------------------ evaluation

    @reporting_out_of_memory()
    def evaluate(self, batches: Iterable[Any], keep: KeepOutputs | None = None) -> Metrics:
        sums = torch.zeros(3 if self.top5 else 2, dtype=torch.float64, device=self.device)
        count = 0
        self.module.eval()
        try:
            with self.mean_statistics(), torch.inference_mode():
                for x, y in itertools.starmap(self._on_device, batches):
                    with self._precision():
                        output = self.module(x.contiguous(memory_format=self.layout)).float()
                    sums += self._losses_and_hits(output, y)
                    count += len(y)
                    if keep is not None:
                        keep(to_numpy(output), to_numpy(y))
                    self._limit_queue()
        finally:
            self.module.train()
        return self._over_all_processes(sums.tolist(), count)

    def _losses_and_hits(self, output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return [summed loss, top-1 hits and, with top5, top-5 hits]."""
        counts = [torch.nn.functional.cross_entropy(output, y, reduction='sum'),
                  (output.argmax(1) == y).sum()]
        if self.top5:
            best = output.topk(min(5, output.shape[1])).indices
            counts.append((best == y[:, None]).sum())
        return torch.stack([count.double() for count in counts])

    @contextlib.contextmanager
    def mean_statistics(self) -> Iterator[None]:
        with self._local().mean():
            yield

    def _local(self) -> LocalValues:
        statistics = {name: array for name, array in self._tensors().items() if is_statistic(name)}
        return LocalValues({**statistics, METRICS: self._sums}, self.process_group)

    def _common_tensors(self) -> dict[str, torch.Tensor]:
        """Return {name in a checkpoint: tensor} of the values that are the same in all processes."""
        return {name: array for name, array in self._tensors().items() if not is_statistic(name)}

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {parameter_array(name): array for name, array in self.module.state_dict().items()}

    def wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)

    def device_memory(self) -> float:
        if self.device.type != 'cuda':
            return 0.0
        free, total = torch.cuda.mem_get_info(self.device)
        return (total - free) / 2 ** 20

    # ----------------------------------------------------------------------------------- state

    def state(self) -> tuple[Arrays, LearnerNumbers]:
        arrays = {indexed(name): to_numpy(array) for name, array in self._common_tensors().items()}
        arrays.update(self._local().state())
        return self._with_common_state(arrays)

    def load_state(self, arrays: Arrays, numbers: LearnerNumbers) -> None:
        for name, array in self._common_tensors().items():
            copy_into(array, arrays[indexed(name)])
        self._local().load_state(arrays)
        self._load_common_state(arrays, numbers)

    def optimizer_states(self) -> Arrays:
        # As in MxnetLearner: the momentum, and for float16 also the weights in float32.
        return {name: to_numpy(tensor) for name, tensor in self._optimizer_tensors().items()}

    def load_optimizer_states(self, saved: Arrays) -> None:
        tensors = self._optimizer_tensors()
        check_shapes(saved, tensors)
        for name, tensor in tensors.items():
            copy_into(tensor, saved[name])

    def _optimizer_tensors(self) -> dict[str, torch.Tensor]:
        tensors = {}
        for name, parameter in self.parameters.items():
            tensors[indexed(name, MOMENTUM)] = self.optimizer.state[parameter]['momentum']
            if self.dtype == 'float16':
                tensors[indexed(name, MASTER)] = parameter.detach()
        return tensors

    def checksum(self) -> int:
        return crc32_of(to_numpy(parameter) for parameter in self.parameters.values())

    def save_parameters(self, path: str) -> None:
        write_params(path, {name: to_numpy(tensor) for name, tensor in self.module.state_dict().items()})


def _all_finite(gradients: list[torch.Tensor]) -> bool:
    """Return whether all tensors of a list are finite; wait for them."""
    return bool(torch.stack(torch._foreach_norm(gradients)).isfinite().all())
