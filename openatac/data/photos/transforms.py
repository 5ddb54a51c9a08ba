"""The published ImageNet transforms for one image, as in MXNet's ImageRecordIter.

Training: a random part of the image (area, aspect ratio) resized to the network's input, mirrored or not;
brightness, contrast and saturation changed in random order; noise along the principal components of
ImageNet's colours (Krizhevsky et al., 2012, section 4.1). Evaluation: the short side resized, the centre cut
out. Both are then normalised by channel.

The values match MXNet's image_aug_default.cc except for rounding: MXNet rounds to whole grey levels after
each colour change, and this code never rounds. One detail looks wrong but is part of the published recipe:
MXNet's grey swaps the weights of red and blue.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from openatac.argument_checks import check_number, check_whole
from openatac.data.images.resizing import resize
from openatac.data.photos.colours import change_colours
from openatac.image_size import Size, sides
from openatac.limits import MAX_SIDE, MIN_CROP_RATIO

# Per channel, of pixels from 0 to 255.
MEAN_0_TO_255 = np.array([123.68, 116.779, 103.939], 'float32').reshape(3, 1, 1)
STD_0_TO_255 = np.array([58.393, 57.12, 57.375], 'float32').reshape(3, 1, 1)
AREA = 0.08, 1
ASPECT = 3 / 4, 4 / 3
TRIES = 10  # attempts to find a part that fits into the image
# Eigenvectors of the colours, one per column, times their eigenvalues.
PCA_COLOURS = np.array([[-0.5675, 0.7192, 0.4009],
                        [-0.5808, -0.0045, -0.8140],
                        [-0.5836, -0.6948, 0.4203]]) * [55.46, 4.794, 1.148]


class Jitter(NamedTuple):
    """Ranges of the colour changes: factors from 1 - x to 1 + x, and the standard deviation of the noise."""

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    pca_noise: float = 0.1


PUBLISHED_JITTER = Jitter()


class Augmentation(NamedTuple):
    """The random choices for one image.

    Attributes
    ----------
    crop : (left, top, width, height) or None
        The part of the image to use; None for its centre, if no fitting part was found.
    mirrored : bool
    factors : (3,)
        The factors of brightness, contrast and saturation.
    order : (3,)
        The order in which these are applied, as indices.
    noise : (3,)
        Grey levels added to red, green, blue.
    """

    crop: tuple[int, int, int, int] | None
    mirrored: bool
    factors: tuple[float, ...]
    order: tuple[int, ...]
    noise: np.ndarray


class TrainingTransform:
    """Turns images into training inputs, with choices that depend only on (seed, epoch, index)."""

    def __init__(self, size: Size, seed: int, jitter: Jitter = PUBLISHED_JITTER) -> None:
        self.height, self.width = sides(size)
        self.seed = seed
        self.jitter = jitter
        self._rng = np.random.RandomState()  # creating it takes ten times as long as seeding it

    def draw(self, epoch: int, index: int, height: int, width: int) -> Augmentation:
        """Draw the choices for image ``index`` of the data set, height x width pixels, in ``epoch``."""
        self._rng.seed([self.seed, epoch, index])
        crop = _draw_crop(self._rng, height, width)
        mirrored = self._rng.random_sample() < 0.5
        factors = 1 + self._rng.uniform(-1, 1, 3) * self.jitter[:3]
        noise = (PCA_COLOURS * self._rng.standard_normal(3)).sum(axis=1) * self.jitter.pca_noise
        return Augmentation(crop, mirrored, tuple(factors.tolist()),
                            tuple(self._rng.permutation(3).tolist()), noise)

    def __call__(self, image: np.ndarray, epoch: int, index: int, out: np.ndarray) -> None:
        """Write the input for a uint8 (H, W, 3) image into ``out``, float32 (3, height, width)."""
        chosen = self.draw(epoch, index, *image.shape[:2])
        if chosen.crop is None:
            image = centre(image, self.height, self.width)
        else:
            left, top, width, height = chosen.crop
            image = resize(image[top:top + height, left:left + width], self.height, self.width)
        if chosen.mirrored:
            image = image[:, ::-1]
        out[...] = image.transpose(2, 0, 1)
        change_colours(out, chosen.factors, chosen.order, chosen.noise)
        normalise_in_place(out)


class EvaluationTransform:
    """Turns images into evaluation inputs, with `crop_centre` and `normalise_in_place`."""

    def __init__(self, size: Size, crop_ratio: float) -> None:
        self.height, self.width = sides(size)
        for side in (self.height, self.width):
            check_whole('size', side, 1, MAX_SIDE)
        check_number('crop_ratio', crop_ratio, low=MIN_CROP_RATIO, high=1)
        self.crop_ratio = crop_ratio

    def __call__(self, image: np.ndarray, out: np.ndarray) -> None:
        """Write the input for a uint8 (H, W, 3) image into ``out``, float32 (3, height, width)."""
        out[...] = crop_centre(image, self.height, self.width, self.crop_ratio).transpose(2, 0, 1)
        normalise_in_place(out)


def _draw_crop(rng: np.random.RandomState, height: int, width: int) -> tuple[int, int, int, int] | None:
    """Return (left, top, width, height) of a random crop, or None if none fits in `TRIES` attempts."""
    for area, aspect, turn, top, left in rng.random_sample((TRIES, 5)).tolist():
        area = height * width * (AREA[0] + area * (AREA[1] - AREA[0]))
        aspect = ASPECT[0] + aspect * (ASPECT[1] - ASPECT[0])
        long = int(math.sqrt(area * aspect) + 0.5)
        short = int(math.sqrt(area / aspect) + 0.5)
        w, h = (short, long) if turn > 0.5 else (long, short)
        if 0 < w <= width and 0 < h <= height:
            return int(left * (width - w + 1)), int(top * (height - h + 1)), w, h
    return None


def crop_centre(image: np.ndarray, height: int, width: int, crop_ratio: float) -> np.ndarray:
    """Resize uint8 (H, W, 3) until it covers (height, width) / crop_ratio, and cut out its centre."""
    tall, wide = math.ceil(height / crop_ratio), math.ceil(width / crop_ratio)
    old_height, old_width = image.shape[:2]
    if old_height * width > old_width * height:
        image = resize(image, wide * old_height // old_width, wide)
    else:
        image = resize(image, tall, tall * old_width // old_height)
    return centre(image, height, width)


def centre(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cut out the central (height, width) pixels of an (H, W, 3) image, enlarged first if it is smaller."""
    tall, wide = image.shape[:2]
    if tall < height:  # in the published pipeline's precision, to round the same way
        wide, tall = int(np.float32(height) / np.float32(tall) * np.float32(wide)), height
        image = resize(image, tall, wide)
    if wide < width:
        wide, tall = width, int(np.float32(width) / np.float32(wide) * np.float32(tall))
        image = resize(image, tall, wide)
    top, left = (tall - height) // 2, (wide - width) // 2
    return image[top:top + height, left:left + width]


def normalise_in_place(planes: np.ndarray) -> None:
    """Subtract the mean from float32 (3, H, W) of 0 to 255 and divide by the deviation, in place."""
    planes -= MEAN_0_TO_255
    planes /= STD_0_TO_255
