"""Made-up photographs in folders, as ImageNet's are."""
import os

import numpy as np
from PIL import Image


def write_photos(root, classes=2, images=6, side=40, seed=0):
    """A folder for each class under ``root``; its brightness tells an image's class. The path as text."""
    rng = np.random.RandomState(seed)
    for label in range(classes):
        folder = os.path.join(root, f'class{label}')
        os.makedirs(folder, exist_ok=True)
        for index in range(images):
            pixels = rng.randint(0, 100, (side, side + 7, 3)) + label * 150 // max(1, classes - 1)
            Image.fromarray(pixels.astype('uint8')).save(os.path.join(folder, f'{index:03}.jpg'))
    return str(root)


def write_data_dir(root, classes=2, training=12, validation=6):
    """train/ and val/ with that many images in all; the path as text."""
    write_photos(os.path.join(root, 'train'), classes, training // classes)
    write_photos(os.path.join(root, 'val'), classes, validation // classes, seed=1)
    return str(root)
