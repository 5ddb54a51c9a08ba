"""The training objective, which each backend computes on its own arrays."""
from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, TypedDict


class ObjectiveSettings(TypedDict, total=False):
    """The parameters of `Objective`."""

    classes: int
    smoothing: float
    mixup: float
    mixup_iterations: int
    teacher: Any
    temperature: float
    hard_weight: float


@dataclass
class Objective(abc.ABC):
    """Softmax cross entropy as the training objective, with label smoothing, mixup and distillation.

    These are combined as in the published ImageNet script.

    Parameters
    ----------
    classes : int
        Needed for smoothing and mixup.
    smoothing : float
        The share of a label's weight that is spread over all classes.
    mixup : float
        Alpha of the beta distribution of lambda, or 0 for no mixup. Each batch is mixed with its own reverse.
    mixup_iterations : int
        The iteration at which mixup ends.
    teacher : network of the backend, optional
        A network whose softened outputs are a second target.
    temperature : float
        Divides the logits before the softmax, for the teacher and the network.
    hard_weight : float
        The weight of the labels' loss; the teacher's loss gets the rest.

    References
    ----------
    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016 (smoothing);
    Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018;
    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015
    """

    classes: int = 0
    smoothing: float = 0.0
    mixup: float = 0.0
    mixup_iterations: int = 0
    teacher: Any = None
    temperature: float = 20.0
    hard_weight: float = 0.5

    @property
    def metric_name(self) -> str:
        """The metric that is measured besides the loss: 'accuracy', or 'rmse' with mixup."""
        return 'rmse' if self.mixup else 'accuracy'

    @property
    def is_soft(self) -> bool:
        """Whether the targets are distributions over the classes."""
        return bool(self.smoothing or self.mixup)

    def inputs(self, images: Any, lam: float) -> Any:
        """Return lam x + (1 - lam) x reversed, for images (B, ...)."""
        return images if lam == 1 else lam * images + (1 - lam) * self.reversed(images)

    def targets(self, labels: Any, lam: float) -> Any:
        """Return labels (B,), or their distribution over the classes (B, classes), mixed like `inputs`."""
        return self.inputs(self.distribution(labels), lam) if self.is_soft else labels

    @abc.abstractmethod
    def reversed(self, batch: Any) -> Any:
        """Return a batch (B, ...) in reverse order."""

    @abc.abstractmethod
    def distribution(self, labels: Any) -> Any:
        """Return the smoothed distributions (B, classes) of labels (B,)."""

    @abc.abstractmethod
    def soft_targets(self, images: Any) -> Any:
        """Return the teacher's softened distributions (B, classes) for ``images``; None without a teacher."""

    @abc.abstractmethod
    def loss(self, output: Any, targets: Any, soft_targets: Any = None) -> Any:
        """Return the losses (B,) of the logits ``output`` (B, classes)."""

    @abc.abstractmethod
    def summed_metric(self, output: Any, labels: Any, targets: Any) -> Any:
        """Return the metric summed over the batch: correct answers, or distances from the targets."""

    def draw_mixup_lambda(self, seed: int, iteration: int) -> float:
        """Draw an iteration's lambda ~ Beta(mixup, mixup), the weight of each image in its mixture.

        It depends only on (seed, iteration), so a learner that resumes from a checkpoint, even another
        backend's, mixes as if the run had never stopped.
        """
        if not self.mixup or iteration >= self.mixup_iterations:
            return 1.0
        import numpy as np
        return float(np.random.RandomState([seed, iteration]).beta(self.mixup, self.mixup))
