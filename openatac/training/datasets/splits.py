"""The images of a run, divided for training, for choosing the best epoch, and for the test."""
from __future__ import annotations

import logging
from typing import Any, NamedTuple

from openatac.data.sampling import split_by_class
from openatac.training.sections.shared import Training

log = logging.getLogger('openatac')


class ImageSets(NamedTuple):
    """The images of a run; ``evaluation``, on which the best epoch is chosen, is ``test`` by default."""

    training: Any
    evaluation: Any
    test: Any

    @property
    def are_held_out(self) -> bool:
        """Whether the images for evaluation are held out of the training images."""
        return self.evaluation is not self.test

    def counts(self) -> dict[str, int]:
        """Return {name in summary.json: how many images}."""
        held_out = {'validation_images': len(self.evaluation)} if self.are_held_out else {}
        return {'training_images': len(self.training), **held_out, 'test_images': len(self.test)}


def split_images(images: Any, test: Any, training: Training) -> ImageSets:
    """Divide the training ``images`` as --val-split asks; DataError if they are too few."""
    if not training.val_split:
        return ImageSets(images, test, test)
    parts = split_by_class(images.labels, training.val_split, training.val_seed)
    log.info('%d of the training images are held out for choosing the best epoch; the test images are used '
             'once, at the end', len(parts[1]))
    return ImageSets(images.select(parts[0]), images.select(parts[1]), test)
