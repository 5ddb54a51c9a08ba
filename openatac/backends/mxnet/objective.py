"""What a batch teaches, in MXNet."""
from __future__ import annotations

from typing import Optional

import mxnet as mx
from mxnet import gluon

from openatac.backends.base import Objective


class MxnetObjective(Objective):
    """`Objective` on NDArrays; its teacher is a HybridBlock."""

    def __post_init__(self) -> None:
        self._loss = self._make_loss()
        self._loss.hybridize()

    def _make_loss(self) -> gluon.loss.Loss:
        if self.teacher is None:
            return gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=not self.is_soft)
        from gluoncv.loss import DistillationSoftmaxCrossEntropyLoss
        return DistillationSoftmaxCrossEntropyLoss(
            temperature=self.temperature, hard_weight=self.hard_weight, sparse_label=not self.is_soft)

    def inputs(self, images: mx.nd.NDArray, share: float) -> mx.nd.NDArray:
        """Lambda x + (1 - lambda) x reversed, for images (B, ...)."""
        return images if share == 1 else share * images + (1 - share) * images[::-1]

    def targets(self, labels: mx.nd.NDArray, share: float) -> mx.nd.NDArray:
        """Labels (B,), or their distribution over the classes (B, classes)."""
        if not self.is_soft:
            return labels
        assert self.classes is not None
        spread = self.smoothing / self.classes

        def distribution(some: mx.nd.NDArray) -> mx.nd.NDArray:
            return some.one_hot(self.classes, on_value=1 - self.smoothing + spread, off_value=spread)

        targets = distribution(labels)
        return targets if share == 1 else share * targets + (1 - share) * distribution(labels[::-1])

    def teaching(self, images: mx.nd.NDArray) -> Optional[mx.nd.NDArray]:
        """The teacher's softened distribution for ``images``, or None without a teacher."""
        if self.teacher is None:
            return None
        return mx.nd.softmax(self.teacher(images).astype('float32', copy=False) / self.temperature)

    def loss(self, output: mx.nd.NDArray, targets: mx.nd.NDArray,
             teaching: Optional[mx.nd.NDArray] = None) -> mx.nd.NDArray:
        """(B,) losses of the logits ``output`` (B, classes)."""
        return self._loss(output, targets) if teaching is None else self._loss(output, targets, teaching)

    def measure(self, output: mx.nd.NDArray, labels: mx.nd.NDArray,
                targets: mx.nd.NDArray) -> mx.nd.NDArray:
        """The sum over the batch of its `metric`, (1,): right answers, or distances from the targets."""
        if self.metric == 'accuracy':
            return (output.argmax(axis=1) == labels).sum()
        return (mx.nd.softmax(output) - targets).square().mean().sqrt() * len(labels)
