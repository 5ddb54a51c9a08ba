"""Metrics of a network on labelled images: accuracy, confusion and calibration."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from openatac.errors import OpenatacError

CALIBRATION_BINS = 15  # as in Guo et al.


def check_outputs(outputs: np.ndarray, of: str = 'of the network') -> None:
    """Raise OpenatacError if an output is infinite or not a number; ``of`` is the rest of the subject."""
    if not np.isfinite(outputs).all():
        raise OpenatacError(f'the outputs {of} are infinite or NaN: use parameters of a run that did not '
                            'diverge')


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Return probabilities, float64 (B, classes), of outputs (B, classes)."""
    powers = np.exp(outputs.astype('float64') - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


class Bin(NamedTuple):
    """The images whose top class has a score above ``low`` and up to ``high``.

    ``score`` and ``accuracy`` are means over these images, 0 if there are none.
    """

    low: float
    high: float
    images: int
    score: float
    accuracy: float


class Outcomes:
    """The outcome of an evaluation for each image, collected batch by batch.

    Attributes
    ----------
    labels, predicted : int64 (N,)
        The true class of each image, and the class with the highest score.
    scores : float64 (N,)
        The probabilities of the predicted classes.
    losses : float64 (N,)
        The cross entropies.
    ranks : int64 (N,)
        The number of classes with a higher score than the true class.
    """

    def __init__(self) -> None:
        self.labels, self.predicted, self.ranks = (np.empty(0, 'int64') for _ in range(3))
        self.scores = np.empty(0)
        self.losses = np.empty(0)

    def add(self, outputs: np.ndarray, labels: np.ndarray) -> None:
        """Add a batch: outputs (B, classes), before the softmax, and labels (B,).

        Raises
        ------
        OpenatacError
            If an output is infinite or not a number.
        """
        check_outputs(outputs)
        labels, rows = labels.astype('int64'), np.arange(len(labels))
        predicted = outputs.argmax(axis=1)
        probabilities = softmax(outputs)
        own = outputs[rows, labels]
        # Not the logarithm of a probability, which can round to zero.
        losses = outputs.max(axis=1) - own - np.log(probabilities[rows, predicted])
        for name, values in (('labels', labels), ('predicted', predicted), ('losses', losses),
                             ('scores', probabilities[rows, predicted]),
                             ('ranks', (outputs > own[:, None]).sum(axis=1))):
            setattr(self, name, np.concatenate([getattr(self, name), values]))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> np.ndarray:
        """Whether each image is classified correctly, bool (N,)."""
        return self.predicted == self.labels

    def summary(self) -> str:
        """Return the accuracies, the loss and the number of images, formatted for a log line."""
        return (f'accuracy={self.correct.mean():f} top5={(self.ranks < 5).mean():f} '
                f'loss={self.losses.mean():f} on {len(self)} images')

    def confusion(self, classes: int) -> np.ndarray:
        """Return the number of images of each true class (rows) per predicted class (columns)."""
        matrix = np.zeros((classes, classes), 'int64')
        np.add.at(matrix, (self.labels, self.predicted), 1)
        return matrix

    def calibration(self) -> list[Bin]:
        """Return `CALIBRATION_BINS` bins of equal width, by the score of the top class."""
        index = np.clip(np.ceil(self.scores * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
        bins = []
        for number in range(CALIBRATION_BINS):
            here = index == number
            count = max(1, here.sum())
            bins.append(Bin(number / CALIBRATION_BINS, (number + 1) / CALIBRATION_BINS, int(here.sum()),
                            float(self.scores[here].sum() / count), float(self.correct[here].sum() / count)))
        return bins

    def calibration_error(self) -> float:
        """Return the expected calibration error: the mean over images of abs(accuracy - score) of their bin.

        References
        ----------
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3;
        Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
        """
        return sum(each.images * abs(each.accuracy - each.score) for each in self.calibration()) / len(self)
