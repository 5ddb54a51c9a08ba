"""The training objective in MXNet."""
from __future__ import annotations

from dataclasses import dataclass

import mxnet as mx
from mxnet import gluon

from openatac.backends.objective import Objective


@dataclass
class MxnetObjective(Objective):
    """`Objective` on NDArrays; its teacher is a HybridBlock."""

    def __post_init__(self) -> None:
        if self.teacher is None:
            self._loss = gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=not self.is_soft)
        else:
            from gluoncv.loss import DistillationSoftmaxCrossEntropyLoss
            self._loss = DistillationSoftmaxCrossEntropyLoss(
                temperature=self.temperature, hard_weight=self.hard_weight, sparse_label=not self.is_soft)
        self._loss.hybridize()

    def reversed(self, batch: mx.nd.NDArray) -> mx.nd.NDArray:
        return batch[::-1]

    def distribution(self, labels: mx.nd.NDArray) -> mx.nd.NDArray:
        spread = self.smoothing / self.classes
        return labels.one_hot(self.classes, on_value=1 - self.smoothing + spread, off_value=spread)

    def soft_targets(self, images: mx.nd.NDArray) -> mx.nd.NDArray | None:
        if self.teacher is None:
            return None
        return mx.nd.softmax(self.teacher(images).astype('float32', copy=False) / self.temperature)

    def loss(self, output: mx.nd.NDArray, targets: mx.nd.NDArray,
             soft_targets: mx.nd.NDArray | None = None) -> mx.nd.NDArray:
        return self._loss(output, targets, *([] if soft_targets is None else [soft_targets]))

    def summed_metric(self, output: mx.nd.NDArray, labels: mx.nd.NDArray, targets: mx.nd.NDArray
                      ) -> mx.nd.NDArray:
        if self.metric_name == 'accuracy':
            return (output.argmax(axis=1) == labels).sum()
        return (mx.nd.softmax(output) - targets).square().mean().sqrt() * len(labels)
