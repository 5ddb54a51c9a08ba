"""Estimate the time and price of the published ImageNet run on other devices, before paying for them."""
from __future__ import annotations

from typing import NamedTuple

from openatac.errors import UsageError
from openatac.study.plan.step_time import FORWARD, PlannedRun, Step, estimate_step
from openatac.study.published.numbers import IMAGENET_TRAINING_IMAGES, IMAGENET_VALIDATION_IMAGES
from openatac.training.recipes import IMAGENET

_RECIPE = IMAGENET['imagenet_atac']
PUBLISHED_EPOCHS, PUBLISHED_LR = _RECIPE['num_epochs'], _RECIPE['lr']
PUBLISHED_BATCH = _RECIPE['batch_size'] * _RECIPE['num_gpus']
LARGEST_LINEAR_BATCH = 8192  # the linear rule is known to keep the accuracy up to here


class Estimate(NamedTuple):
    """An estimated run.

    Attributes
    ----------
    run : PlannedRun
    step : Step
    epochs, steps_per_epoch : int
    training_hours, validation_hours : float
        Elapsed time.
    price : float or None
        The price of one device for an hour.
    """

    run: PlannedRun
    step: Step
    epochs: int
    steps_per_epoch: int
    training_hours: float
    validation_hours: float
    price: float | None

    @property
    def hours(self) -> float:
        """The elapsed time of training and validation."""
        return self.training_hours + self.validation_hours

    @property
    def device_hours(self) -> float:
        """Hours of all devices together, without servers."""
        return self.hours * self.run.gpus

    @property
    def cost(self) -> float | None:
        """The cost in the currency of the price."""
        return None if self.price is None else self.price * self.device_hours

    @property
    def efficiency(self) -> float:
        """Speed relative to the speed without communication."""
        return self.step.computing / self.step.seconds

    @property
    def images_per_second(self) -> float:
        """Training speed of all devices together."""
        return self.run.global_batch / self.step.seconds


def estimate(run: PlannedRun, epochs: int = PUBLISHED_EPOCHS, images: int = IMAGENET_TRAINING_IMAGES,
             validation_images: int = IMAGENET_VALIDATION_IMAGES, price: float | None = None) -> Estimate:
    """Estimate a run, by default with the epochs and images of the published one.

    An epoch has images // global batch steps, as in the published schedule. After each epoch,
    ``validation_images`` pass forward through all devices at three times the training speed.

    Parameters
    ----------
    run : PlannedRun
    epochs, images, validation_images : int
    price : float, optional
        The price of one device for an hour.

    Raises
    ------
    UsageError
        For a run that is not possible.
    """
    one_step = estimate_step(run)
    steps = images // run.global_batch
    if not steps:
        raise UsageError(f'--images {images} is less than one step takes, {run.gpus} devices x '
                         f'--batch-size {run.batch_size}')
    training = epochs * steps * one_step.seconds / 3600
    validation = epochs * validation_images * FORWARD / (run.gpus * run.images_per_second) / 3600
    return Estimate(run, one_step, epochs, steps, training, validation, price)


def trainable_parameters(name: str) -> int:
    """Count an ImageNet network's trainable parameters, with the published r and act_layers.

    Raises UsageError for an unknown name, or a network that is not for ImageNet.
    """
    from openatac.study.costs.named_costs import costs_by_name_or_file
    from openatac.zoo.names import host_of
    host = host_of(name)
    if host.data != 'imagenet':
        raise UsageError(f'{name} is not a network for ImageNet: give another, or give --parameters')
    return costs_by_name_or_file(name, host.input_shape).trainable


def linear_rate(global_batch: int) -> float:
    """Scale the learning rate with the batch: Goyal et al. 2017, arXiv 1706.02677, section 2.1."""
    return PUBLISHED_LR * global_batch / PUBLISHED_BATCH
