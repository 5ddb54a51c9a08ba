"""Turns image files into inputs of an exported network, according to its manifest."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

import numpy as np

from openatac.data.photos.bad_images import BadImage
from openatac.data.photos.codec import EXTENSIONS, is_image_name, resize
from openatac.errors import OpenatacError
from openatac.export.manifest import Manifest
from openatac.files.reading import IMAGE_LIMIT, read_input, read_limited
from openatac.limits import MIN_CROP_RATIO

STDIN = '-'
LONGEST = 100


# ---------------------------------------------------------------------------------------- files

def find_images(paths: Iterable[str]) -> Iterator[str]:
    """Yield the paths of image files: files and `STDIN` as they are, and the images below folders, sorted.

    Raises
    ------
    OpenatacError
        For a folder that has no images or cannot be read.
    """
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        found = sorted(_images_below(path))
        if not found:
            raise OpenatacError(f'{path} has no images: their names must end in {", ".join(EXTENSIONS)}')
        yield from found


def _images_below(folder: str) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise OpenatacError(f'cannot open the folder {error.filename} ({error.strerror})')

    for place, _, names in os.walk(folder, onerror=fail):
        for name in names:
            if is_image_name(name):
                yield os.path.join(place, name)


def read_file(path: str) -> bytes:
    """Return the bytes of an image file, or of standard input; BadImage if it cannot be read."""
    try:
        if path != STDIN:
            return read_input(path, IMAGE_LIMIT)
        if sys.stdin is None:
            raise BadImage('standard input is closed')
        return read_limited(sys.stdin.buffer, IMAGE_LIMIT, path)
    except OSError as error:
        raise BadImage(error.strerror) from None


# --------------------------------------------------------------------------------------- inputs

class InputTransform:
    """Turns pixels into inputs, float32 (3, H, W), according to a manifest.

    With a crop ratio, an image is resized, bilinearly as in training, until it covers (H, W) / crop_ratio,
    and its centre is cut out. Without one, it is resized to (H, W), whatever its shape; each new pixel is a
    mean over the area that it covers (Pillow's BILINEAR), which leaves an image of that size unchanged.

    Parameters
    ----------
    manifest : Manifest

    Raises
    ------
    OpenatacError
        For a network that does not take 3 channels, or for a wrong crop ratio.
    """

    def __init__(self, manifest: Manifest):
        channels, self.height, self.width = manifest.image_shape
        if channels != 3:
            raise OpenatacError(f'the network takes images of {channels} channels, and image files have 3')
        self.crop_ratio = manifest.crop_ratio
        if self.crop_ratio and not MIN_CROP_RATIO <= self.crop_ratio <= 1:
            raise OpenatacError(f'the manifest has a crop ratio of {self.crop_ratio}, which must be 0 or '
                                f'from {MIN_CROP_RATIO} to 1: export again')
        self.mean, self.std = (np.array(values, 'float32').reshape(3, 1, 1)
                               for values in (manifest.mean, manifest.std))

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return the input for uint8 (H, W, 3); BadImage for an image that is far too narrow."""
        height, width = pixels.shape[:2]
        if max(height, width) > LONGEST * min(height, width):  # it would be resized to gigabytes
            raise BadImage(f'it has {width} x {height} pixels: one side is more than {LONGEST} times the '
                           'other')
        image = self._cropped(pixels) if self.crop_ratio else self._squeezed(pixels)
        return (image.transpose(2, 0, 1).astype('float32') - self.mean) / self.std

    def show(self, image: np.ndarray) -> np.ndarray:
        """Return the pixels, uint8 (H, W, 3), of an input (3, H, W)."""
        return np.rint(image * self.std + self.mean).clip(0, 255).astype('uint8').transpose(1, 2, 0)

    def _cropped(self, pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        tall, wide = (int(np.ceil(side / self.crop_ratio)) for side in (self.height, self.width))
        if height * self.width > width * self.height:
            pixels = resize(pixels, wide, wide * height // width)
        else:
            pixels = resize(pixels, tall * width // height, tall)
        top, left = (pixels.shape[0] - self.height) // 2, (pixels.shape[1] - self.width) // 2
        return pixels[top:top + self.height, left:left + self.width]

    def _squeezed(self, pixels: np.ndarray) -> np.ndarray:
        from PIL import Image
        size = self.width, self.height
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
