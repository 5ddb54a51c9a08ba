"""Made-up images, image files and data sets."""
import io
import os

import numpy as np
from PIL import Image

CIFAR10 = [f'data_batch_{k}.bin' for k in range(1, 6)], 'test_batch.bin', (10,)
CIFAR100 = ['train.bin'], 'test.bin', (20, 100)


# ------------------------------------------------------------------ pixels, uint8 (H, W, C)

def smooth(height=32, width=32, seed=0):
    """Return random colours that change smoothly, as in a photograph."""
    small = np.random.RandomState(seed).randint(0, 256, (4, 4, 3)).astype('uint8')
    return np.asarray(Image.fromarray(small).resize((width, height), Image.BICUBIC))


def blocks(height, width, channels=3, seed=0):
    """Return random colours in squares of 8 pixels, which JPEG preserves; (H, W) for one channel."""
    small = np.random.RandomState(seed).randint(0, 256, (height // 8 + 1, width // 8 + 1, channels), np.uint8)
    return np.repeat(np.repeat(small, 8, 0), 8, 1)[:height, :width].squeeze()


def plain(colour, height=20, width=24):
    """Return an image of one colour, given as one number or three."""
    return np.full((height, width, 3), colour, np.uint8)


# ------------------------------------------------------------------------------------ files

def encoded(image, form='JPEG', mode=None, **options):
    """Return the file bytes of an image (an array or Pillow's), converted to Pillow's ``mode`` if given."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    if mode:
        image = image.convert(mode, palette=Image.Palette.ADAPTIVE)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def write_image(path, image, **options):
    """Write an array as an image file; return its path as text."""
    Image.fromarray(image).save(path, **options)
    return str(path)


# -------------------------------------------------------------------------------- data sets

# An image's brightness depends on its class.

def write_cifar(folder, form=CIFAR10, images=60, seed=0):
    """Write CIFAR's binary files with ``images`` images each; return the folder's path as text."""
    random = np.random.RandomState(seed)
    train, test, classes = form
    os.makedirs(folder, exist_ok=True)
    for name in [*train, test]:
        labels = np.stack([random.randint(0, count, images) for count in classes], axis=1)
        pixels = random.randint(0, 128, (images, 3072)) + labels[:, -1:] * (120 // classes[-1])
        np.concatenate([labels, pixels], axis=1).astype(np.uint8).tofile(os.path.join(folder, name))
    return str(folder)


def write_photos(root, classes=2, images=6, side=40, seed=0):
    """Write photographs into a folder for each class under ``root``, as in ImageNet; return it as text."""
    random = np.random.RandomState(seed)
    for label in range(classes):
        folder = os.path.join(root, f'class{label}')
        os.makedirs(folder, exist_ok=True)
        for index in range(images):
            pixels = random.randint(0, 100, (side, side + 7, 3)) + label * 150 // max(1, classes - 1)
            Image.fromarray(pixels.astype('uint8')).save(os.path.join(folder, f'{index:03}.jpg'))
    return str(root)


def write_data_dir(root, classes=2, training=12, validation=6):
    """Write photographs into train/ and val/, with the given totals; return the path as text."""
    write_photos(os.path.join(root, 'train'), classes, training // classes)
    write_photos(os.path.join(root, 'val'), classes, validation // classes, seed=1)
    return str(root)
