"""Train on a folder of images and classify one: python examples/own_images.py.

The images are made up, horizontal and vertical stripes in stripes/. For your own, change --data-dir and leave
out the two lines that write images.
"""
import os
import subprocess
import sys

import numpy as np
from PIL import Image

import openatac

FLAGS = ('--dataset folder --data-dir stripes --image-size 16 --blocks 1 --useReLU --batch-size 16 '
         '--num-epochs 6 --lr 0.05 --lr-decay-epoch 4 --save-dir mine')


def write_images(folder, count, rng):
    """Write images of two classes, in a folder for each."""
    for label in ('horizontal', 'vertical'):
        os.makedirs(f'{folder}/{label}', exist_ok=True)
        for index in range(count):
            stripes = np.sin(np.arange(40) * rng.uniform(0.5, 1.5) + rng.uniform(0, 6)) * 80 + 128
            pixels = np.broadcast_to(stripes[:, None], (40, 40)) + rng.normal(0, 20, (40, 40))
            pixels = pixels if label == 'horizontal' else pixels.T
            Image.fromarray(pixels.clip(0, 255).astype('uint8')).save(f'{folder}/{label}/{index}.png')


rng = np.random.default_rng(0)
write_images('stripes/train', 64, rng)
write_images('stripes/test', 16, rng)
subprocess.run([sys.executable, '-m', 'openatac', 'train-cifar', *FLAGS.split()], check=True)

predictor = openatac.load('mine')
for path in ('stripes/test/horizontal/0.png', 'stripes/test/vertical/0.png'):
    best = predictor(path)[0]
    print(f'{path}: {best.label}, {best.score:.3f}')
