"""The images of a run, divided for training, for choosing the best epoch, and for the test."""
from __future__ import annotations

import logging
from typing import Any, NamedTuple, TypeVar, Union

from openatac.data.images.source import ImageCollection
from openatac.data.sampling import split_by_class
from openatac.data.small.image_set import ImageSet
from openatac.training.run_folder import ImageCounts, OptionalEntries
from openatac.training.sections.shared import Training

log = logging.getLogger('openatac')
Images = TypeVar('Images', bound=Union[ImageSet, ImageCollection])


class Splits(NamedTuple):
    """The images of a run; ``evaluation``, on which the best epoch is chosen, is ``test`` by default."""

    training: Any  # an `ImageSet` or `ImageSource`, as the others
    evaluation: Any
    test: Any

    @property
    def has_held_out_images(self) -> bool:
        """Whether the images for evaluation are held out of the training images."""
        return self.evaluation is not self.test

    def counts(self) -> ImageCounts:
        """Return {name in summary.json: how many images}."""
        held_out: OptionalEntries = (
            {'validation_images': len(self.evaluation)} if self.has_held_out_images else {})
        return {'training_images': len(self.training), **held_out, 'test_images': len(self.test)}


def split_images(images: Images, test: Images, training: Training) -> Splits:
    """Divide the training ``images`` as --val-split asks; DataError if they are too few."""
    if not training.val_split:
        return Splits(images, test, test)
    parts = split_by_class(images.labels, training.val_split, training.val_seed)
    log.info('%d of the training images are held out for choosing the best epoch; the test images are used '
             'once, at the end', len(parts[1]))
    return Splits(images.select(parts[0]), images.select(parts[1]), test)
