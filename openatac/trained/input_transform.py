"""Turn images into inputs for an exported network, according to its manifest."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from openatac.data.batch_sizes import INFERENCE_BATCH, batched
from openatac.data.images.resizing import resize_exactly
from openatac.data.images.source import BadImageError
from openatac.data.photos.transforms import crop_centre
from openatac.data.sampling import evenly_spread
from openatac.errors import DataError, OpenatacError
from openatac.limits import MIN_CROP_RATIO
from openatac.trained.manifest import Manifest

if TYPE_CHECKING:
    from openatac.trained.input_images import InputImages

MAX_ASPECT = 100  # the longer side of an image over the shorter
log = logging.getLogger('openatac')


class InputTransform:
    """Turns pixels into inputs, float32 (3, H, W), according to a manifest.

    With a crop ratio, `openatac.data.photos.transforms.crop_centre` cuts out the centre, as in validation.
    Without one, `openatac.data.images.resizing.resize_exactly` resizes the whole image to (H, W).

    Parameters
    ----------
    manifest : Manifest

    Raises
    ------
    OpenatacError
        For a network whose input does not have 3 channels, or for a wrong crop ratio.
    """

    def __init__(self, manifest: Manifest) -> None:
        channels, self.height, self.width = manifest.image_shape
        if channels != 3:
            raise OpenatacError(f'the network takes images of {channels} channels, but image files have 3')
        self.crop_ratio = manifest.crop_ratio
        if self.crop_ratio and not MIN_CROP_RATIO <= self.crop_ratio <= 1:
            raise OpenatacError(f'the manifest has a crop ratio of {self.crop_ratio}, which must be 0 or '
                                f'from {MIN_CROP_RATIO} to 1: export again')
        self.mean, self.std = (np.array(values, 'float32').reshape(3, 1, 1)
                               for values in (manifest.mean, manifest.std))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the input for uint8 (H, W, 3); raise BadImageError for an extremely narrow image."""
        height, width = pixels.shape[:2]
        if max(height, width) > MAX_ASPECT * min(height, width):  # it would be resized to gigabytes
            raise BadImageError(f'it has {width} x {height} pixels: one side is more than {MAX_ASPECT} '
                                'times the other')
        image = (crop_centre(pixels, self.height, self.width, self.crop_ratio) if self.crop_ratio else
                 resize_exactly(pixels, self.height, self.width))
        return (image.transpose(2, 0, 1).astype('float32') - self.mean) / self.std

    def to_pixels(self, image: np.ndarray) -> np.ndarray:
        """Convert an input (3, H, W) back to pixels, uint8 (H, W, 3)."""
        return np.rint(image * self.std + self.mean).clip(0, 255).astype('uint8').transpose(1, 2, 0)


def sample_inputs(images: InputImages, manifest: Manifest, count: int) -> np.ndarray:
    """Return inputs (N, C, H, W), float32, from up to ``count`` images, evenly spread.

    Unusable images are left out with a warning. Raises DataError if none is left.
    """
    inputs = [image for _, image, _ in _sample(images, manifest, count)]
    if not inputs:
        raise DataError('none of the images can be read: choose others')
    return np.stack(inputs)


def sample_batches(images: InputImages, manifest: Manifest, count: int
                   ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (inputs (B, C, H, W), labels (B,)) from up to ``count`` images, evenly spread."""
    return ((inputs, labels) for _, inputs, labels in named_batches(images, manifest, count))


def named_batches(images: InputImages, manifest: Manifest, count: int
                  ) -> Iterator[tuple[list[str], np.ndarray, np.ndarray]]:
    """Yield the batches of `sample_batches` with image names: (list of B names, inputs, labels)."""
    for batch in batched(_sample(images, manifest, count), INFERENCE_BATCH):
        indices, inputs, labels = zip(*batch)
        yield [images.name(index) for index in indices], np.stack(inputs), np.array(labels)


def _sample(images: InputImages, manifest: Manifest, count: int
            ) -> Iterator[tuple[int, np.ndarray, int | None]]:
    """Yield (index, input, label); leave out unusable images with a warning."""
    transform = InputTransform(manifest)
    for index in evenly_spread(len(images), count):
        try:
            pixels, label = images.read(index)
            yield index, transform(pixels), label
        except BadImageError as error:
            log.warning('left out %s: %s', images.name(index), error)
