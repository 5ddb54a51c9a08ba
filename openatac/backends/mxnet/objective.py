"""What a batch teaches: its targets, its loss and how well the network did.

Label smoothing (Szegedy et al., 2016), mixup (Zhang et al., 2018) and distillation (Hinton et al.,
2015) as the published ImageNet script combines them.
"""
import mxnet as mx
from mxnet import gluon

from openatac.backends.base import mixup_share


class Objective:
    """Softmax cross entropy with the label, or with what is made of it.

    classes : int; needed for smoothing and mixup
    smoothing : share of a label's weight that is spread over all classes
    mixup : alpha of the beta distribution by which a batch is mixed with itself reversed, 0 for none
    mixup_iterations : int; no batch is mixed from this iteration on
    teacher : HybridBlock, or None; its softened answers are learned too
    temperature, hard_weight : of the distillation: its softness, and the share of the labels

    metric: what `measure` gives, 'accuracy', or with mixup 'rmse'
    """

    def __init__(self, classes=None, smoothing=0.0, mixup=0.0, mixup_iterations=0, teacher=None,
                 temperature=20.0, hard_weight=0.5):
        self.classes, self.smoothing = classes, smoothing
        self.mixup, self.mixup_iterations = mixup, mixup_iterations
        self.teacher, self.temperature = teacher, temperature
        self.metric = 'rmse' if mixup else 'accuracy'
        self._soft = bool(smoothing or mixup)
        self._loss = self._make_loss(hard_weight)
        self._loss.hybridize()

    def _make_loss(self, hard_weight):
        if self.teacher is None:
            return gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=not self._soft)
        from gluoncv.loss import DistillationSoftmaxCrossEntropyLoss
        return DistillationSoftmaxCrossEntropyLoss(
            temperature=self.temperature, hard_weight=hard_weight, sparse_label=not self._soft)

    def mixing(self, seed, iteration):
        """The share of each image that stays its own in that iteration, lambda, in [0, 1]."""
        if not self.mixup or iteration >= self.mixup_iterations:
            return 1.0
        return mixup_share(self.mixup, seed, iteration)

    def inputs(self, images, share):
        """lambda x + (1 - lambda) x reversed, for images (B, ...)."""
        return images if share == 1 else share * images + (1 - share) * images[::-1]

    def targets(self, labels, share):
        """Labels (B,), or their distribution over the classes (B, classes)."""
        if not self._soft:
            return labels
        spread = self.smoothing / self.classes

        def distribution(some):
            return some.one_hot(self.classes, on_value=1 - self.smoothing + spread, off_value=spread)

        targets = distribution(labels)
        return targets if share == 1 else share * targets + (1 - share) * distribution(labels[::-1])

    def teaching(self, images):
        """The teacher's softened distribution for ``images``, or None without a teacher."""
        if self.teacher is None:
            return None
        return mx.nd.softmax(self.teacher(images).astype('float32', copy=False) / self.temperature)

    def loss(self, output, targets, teaching=None):
        """(B,) losses of the logits ``output`` (B, classes)."""
        return self._loss(output, targets) if teaching is None else self._loss(output, targets, teaching)

    def measure(self, output, labels, targets):
        """The sum over the batch of its `metric`, (1,): right answers, or distances from the targets."""
        if self.metric == 'accuracy':
            return (output.argmax(axis=1) == labels).sum()
        return (mx.nd.softmax(output) - targets).square().mean().sqrt() * len(labels)
